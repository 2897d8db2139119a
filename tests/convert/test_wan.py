"""From Wan 2.1 to where training starts."""

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file

from asymtalker import AsymTalkerPipeline
from asymtalker.__main__ import main
from asymtalker.convert import convert_wan
from asymtalker.convert.files import check_weights
from asymtalker.convert.wan import adapt_weights, write_original_vae
from asymtalker.models import AsymTalkerTransformer3DModel
from tests.convert.published import (
    LTX_CHANNELS,
    SIZE,
    WAN_CHANNELS,
    ltx_vae,
    original_names,
    wan_transformer,
    wan_vae,
)


@pytest.fixture(scope="module")
def pro(wan, wav2vec2, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "pro"
    arguments = ["--source", str(wan), "--speech-encoder", str(wav2vec2), "--size", str(SIZE)]
    assert main(["convert", "wan", *arguments, "--output", str(folder)]) == 0
    return folder


@torch.no_grad()
def test_it_starts_out_as_wan(pro):
    """With text tokens in the place of audio tokens and any reference: the output of diffusers' model."""
    wan, ours = wan_transformer(), AsymTalkerPipeline.from_pretrained(pro).transformer
    noisy, reference = torch.randn(2, 2, WAN_CHANNELS, 3, 8, 8)
    timestep, text = torch.tensor([937.5, 20.0]), torch.randn(2, 32, 12)
    tokens = wan.condition_embedder.text_embedder(text)
    ours.audio_proj.register_forward_hook(lambda *_: tokens[:, None].expand(-1, 3, -1, -1))
    speech = torch.zeros(2, 9, 5, ours.config.speech_layers, ours.config.speech_dim)
    actual = ours(torch.cat([noisy, reference], dim=1), timestep, speech).sample
    torch.testing.assert_close(actual, wan(noisy, timestep, text).sample)


def test_at_full_size_every_tensor_of_wan_has_its_place():
    with torch.device("meta"):
        wan = WanTransformer3DModel(num_attention_heads=12, attention_head_dim=128, ffn_dim=8960, num_layers=30)
        ours = AsymTalkerTransformer3DModel()
        weights = adapt_weights(wan.state_dict(), ours, new=[], seed=0)
    audio = {name: tensor for name, tensor in ours.state_dict().items() if name.startswith("audio_proj.")}
    check_weights(ours, weights | audio, "Wan 2.1")


def test_settings(pro):
    pipeline = AsymTalkerPipeline.from_pretrained(pro)
    assert (pipeline.layout.window_frames, pipeline.layout.continuity_frames) == (33, 5)
    assert pipeline.config.first_continuity_frames is None  # training's windows all carry as many
    assert (pipeline.config.num_inference_steps, pipeline.scheduler.config.shift) == (4, 5.0)
    assert pipeline.frame_size == (SIZE, SIZE)


def test_the_new_parameters_follow_from_the_seed(pro, wan, wav2vec2, tmp_path):
    weights = [load_file(pro / "transformer" / "diffusion_pytorch_model.safetensors")]
    for seed in (0, 1):
        convert_wan(tmp_path / str(seed), source=wan, speech_encoder=wav2vec2, size=SIZE, seed=seed)
        weights.append(load_file(tmp_path / str(seed) / "transformer" / "diffusion_pytorch_model.safetensors"))
    first, same, other = weights
    for name, tensor in first.items():
        torch.testing.assert_close(same[name], tensor, rtol=0, atol=0)
    changed = {name for name, tensor in first.items() if not torch.equal(other[name], tensor)}
    assert changed == {name for name in first if name.startswith("audio_proj.proj")}
    bound = first["audio_proj.proj2.weight"].shape[1] ** -0.5  # of torch's own initialisation
    assert 0.9 * bound < first["audio_proj.proj2.weight"].abs().max() <= bound


@torch.no_grad()
def test_lite_takes_the_blocks_of_wan(wan, wav2vec2, tmp_path):
    ltx_vae().save_pretrained(tmp_path / "ltx" / "vae")
    folder = tmp_path / "lite"
    convert_wan(folder, "lite", source=wan, vae=tmp_path / "ltx", speech_encoder=wav2vec2, size=SIZE)
    pipeline = AsymTalkerPipeline.from_pretrained(folder)
    ours, blocks = pipeline.transformer, wan_transformer().blocks.state_dict()
    for name, tensor in ours.blocks.state_dict().items():
        torch.testing.assert_close(tensor, blocks[name], rtol=0, atol=0)
    assert tuple(ours.patch_embedding.weight.shape[1:]) == (2 * LTX_CHANNELS, 1, 1, 1)
    assert ours.config.temporal_ratio == 8
    video = pipeline(torch.rand(1, 3, SIZE, SIZE), torch.randn(3200), num_inference_steps=1).frames
    assert video.shape == (5, SIZE, SIZE, 3)


@torch.no_grad()
def test_the_original_autoencoder(tmp_path):
    torch.save(original_names(wan_vae()), tmp_path / "Wan2.1_VAE.pth")
    write_original_vae(tmp_path / "Wan2.1_VAE.pth", tmp_path / "vae")
    converted, expected = AutoencoderKLWan.from_pretrained(tmp_path / "vae"), wan_vae().state_dict()
    for name, tensor in converted.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_the_original_names():
    """Of the public file: 194 tensors, numbered through in the order in which they are run."""
    with torch.device("meta"):
        names = {name: tuple(tensor.shape) for name, tensor in original_names(AutoencoderKLWan()).items()}
    assert len(names) == 194
    assert names["encoder.downsamples.3.shortcut.weight"] == (192, 96, 1, 1, 1)
    assert names["encoder.downsamples.5.time_conv.weight"] == (192, 192, 3, 1, 1)
    assert names["encoder.downsamples.10.residual.6.weight"] == (384, 384, 3, 3, 3)
    assert names["encoder.middle.1.to_qkv.weight"] == (1152, 384, 1, 1)
    assert names["decoder.upsamples.4.shortcut.weight"] == (384, 192, 1, 1, 1)
    assert names["decoder.upsamples.7.time_conv.weight"] == (768, 384, 3, 1, 1)
    assert names["decoder.upsamples.11.resample.1.weight"] == (96, 192, 3, 3)
    assert names["decoder.upsamples.14.residual.3.gamma"] == (96, 1, 1, 1)
    assert names["decoder.head.2.weight"] == (3, 96, 3, 3, 3)
