"""Run on two processes by test_sharding.py: what is averaged and saved is whole, though each process has its shard."""

import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from torch.distributed.fsdp import fully_shard

from asymtalker import AsymTalkerPipeline
from tests.tiny import tiny_pipeline
from train.loop import averaged_weights, load_local_average, local_average, save_pipeline


def trained(pipeline, shard):
    """The pipeline after a step of the optimiser and of the average."""
    transformer = pipeline.transformer
    if shard:
        for block in transformer.blocks:
            fully_shard(block)
        fully_shard(transformer)
    average = EMAModel(transformer.parameters(), decay=0.5)
    optimizer = torch.optim.SGD(transformer.parameters(), lr=0.1)
    torch.manual_seed(1)
    layout, channels = pipeline.layout, transformer.config.out_channels
    inputs = torch.randn(1, 2 * channels, layout.latent_frames, 4, 4)
    speech = torch.randn(1, layout.window_frames, 5, 4, 16)
    for _ in range(2):  # the first step of an average only copies
        transformer(inputs, torch.tensor([500.0]), speech, return_dict=False)[0].square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        average.step(transformer.parameters())
    return average


def main(folder):
    dist.init_process_group("gloo")
    sharded, plain = tiny_pipeline(), tiny_pipeline()
    averages = [trained(pipeline, shard) for pipeline, shard in ((sharded, True), (plain, False))]
    weights, expected = (
        averaged_weights(pipeline.transformer, pipeline.transformer, average)
        for pipeline, average in zip((sharded, plain), averages, strict=True)
    )
    assert any((value != plain.transformer.state_dict()[name]).any() for name, value in expected.items())
    torch.testing.assert_close(weights, expected, rtol=1e-5, atol=1e-6)

    saved = local_average(averages[0])
    assert sum(shard.numel() for shard in saved["shadow_params"]) < 0.6 * sum(v.numel() for v in expected.values())
    again = EMAModel(sharded.transformer.parameters(), decay=0.9)
    load_local_average(again, saved)
    assert again.decay == 0.5
    torch.testing.assert_close(averaged_weights(sharded.transformer, sharded.transformer, again), weights)

    if dist.get_rank() == 0:
        save_pipeline(sharded, weights, folder)
        loaded = AsymTalkerPipeline.from_pretrained(folder).transformer.state_dict()
        torch.testing.assert_close(loaded, expected, rtol=1e-5, atol=1e-6)
        (folder / "done").touch()
    dist.destroy_process_group()
