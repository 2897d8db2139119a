"""How much memory a stage takes on each process, found without any: tensors are on the meta device.

    python -m train.memory --config train/configs/pro/akd.yaml --checkpoint checkpoints/pro --processes 8

Counts weights, gradients, optimiser and averaged weights, and what the deepest forward pass keeps for its backward
pass. Autoencoder, speech encoder, the allocator's waste and communication come on top: leave a fifth free.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from asymtalker.models import AsymTalkerTransformer3DModel
from train.config import RunSettings

FLOAT32, ADAM, AVERAGE = 4, 8, 4
"""Bytes a parameter: of itself or its gradient, of Adam's moments, of the averaged weights."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each process.

    Attributes:
        frozen: weights of the network that is not trained, AKD's teacher, in float32.
        weights: of those that are, in float32.
        training: gradients, Adam's moments and averaged weights.
        activations: what a forward pass keeps for its backward pass, with the network's recomputed block if the
            activations are checkpointed.
    """

    frozen: int
    weights: int
    training: int
    activations: int

    @property
    def total(self) -> int:
        return self.frozen + self.weights + self.training + self.activations

    def sharded(self, processes: int) -> "Memory":
        """With trained weights and what belongs to them divided among processes (FSDP)."""
        return Memory(self.frozen, self.weights // processes, self.training // processes, self.activations)


class _FusedAttention(torch.autograd.Function):
    """Keeps what a fused kernel keeps. On the meta device torch would keep all attention weights."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def estimate(
    config: dict[str, Any], window: tuple[int, int, int], samples: int, *, distils: bool, checkpointed: bool
) -> Memory:
    """The memory of a stage without sharding.

    Args:
        config: of AsymTalkerTransformer3DModel.
        window: latent frames, height and width of a window.
        samples: of one pass on one process.
        distils: three networks, of which two are trained (AKD), not one.
        checkpointed: whether gradients are checkpointed.
    """
    with torch.device("meta"):
        model = AsymTalkerTransformer3DModel(**config).train()
        frames = 1 + model.config.temporal_ratio * (window[0] - 1)
        speech = torch.empty(samples, frames, 5, model.config.speech_layers, model.config.speech_dim)
        inputs = torch.empty(samples, model.config.in_channels, *window), torch.empty(samples), speech
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    trained = 2 if distils else 1
    if checkpointed:
        model.enable_gradient_checkpointing()
    kept = _kept_bytes(lambda: model(*inputs), model)
    if checkpointed:
        kept += _block_bytes(model, inputs[0])
    return Memory(
        frozen=parameters * FLOAT32 if distils else 0,
        weights=trained * parameters * FLOAT32,
        training=parameters * (trained * (FLOAT32 + ADAM) + AVERAGE),
        activations=kept,
    )


def _block_bytes(model: AsymTalkerTransformer3DModel, hidden: Tensor) -> int:
    """What the one block keeps that is being recomputed."""
    dim = model.config.num_attention_heads * model.config.attention_head_dim
    pt, ph, pw = model.config.patch_size
    frames, height, width = (size // patch for size, patch in zip(hidden.shape[2:], (pt, ph, pw), strict=True))
    with torch.device("meta"):
        tokens = torch.empty(len(hidden), frames * height * width, dim, dtype=torch.bfloat16, requires_grad=True)
        speech = torch.empty(len(hidden), frames, model.config.audio_tokens, dim, dtype=torch.bfloat16)
        modulation = torch.empty(len(hidden), 6, dim)
    rotary = model.rope(hidden)
    return _kept_bytes(lambda: model.blocks[0](tokens, speech, modulation, rotary), model)


def _kept_bytes(forward: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that a forward pass in bfloat16 keeps for its backward pass, beside the weights."""
    kept: dict[int, Tensor] = {}
    known = {parameter.untyped_storage()._cdata for parameter in model.parameters()}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor  # by storage: views of one are kept once
        return tensor

    attend = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda query, key, value, **_: _FusedAttention.apply(query, key, value)
    try:
        with (
            torch.autocast("cpu", torch.bfloat16),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            result = forward()
    finally:
        F.scaled_dot_product_attention = attend
    del result
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in known)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True, help="YAML file of the teacher's or AKD's settings")
    parser.add_argument("--checkpoint", type=Path, required=True, help="pipeline folder; only its settings are read")
    parser.add_argument("--processes", type=int, default=1, help="processes that share a batch")
    args = parser.parse_args(argv)
    settings = yaml.safe_load(args.config.read_text())
    config = json.loads((args.checkpoint / "transformer/config.json").read_text())
    window = json.loads((args.checkpoint / "model_index.json").read_text())["window_frames"]
    config = {key: value for key, value in config.items() if not key.startswith("_")}
    latent = 1 + (window - 1) // config.get("temporal_ratio", 4), *config["sample_size"]
    batch = {name: settings[name] for name in ("batch_size", "accumulation") if name in settings}
    try:
        share = RunSettings(output="", **batch).samples(args.processes)
    except ValueError as error:
        parser.error(str(error))
    checkpointed = settings.get("gradient_checkpointing", False)
    memory = estimate(config, latent, share, distils="teacher" in settings, checkpointed=checkpointed)
    print(f"{share} samples a pass and process, GB:")
    for name, part in (("replicated (DDP)", memory), ("sharded (FSDP)", memory.sharded(args.processes))):
        parts = ", ".join(f"{field} {value / 1e9:.1f}" for field, value in dataclasses.asdict(part).items())
        print(f"{name}: {part.total / 1e9:.1f} ({parts})")


if __name__ == "__main__":
    main()
