"""How the networks of a checkpoint run on this machine: device, number format, compilation, and where weights wait."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Literal, Self, get_args
from weakref import WeakKeyDictionary

import numpy as np
import PIL.Image
import torch
from diffusers import ModelMixin
from huggingface_hub.errors import HFValidationError, HTTPError
from torch import nn

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.pipeline import AsymTalkerPipeline

Float8 = Literal["none", "storage", "compute"]
Offload = Literal["none", "model", "group"]

PREFIX = "ASYMTALKER_"
"""Of the environment variables: ASYMTALKER_COMPILE, _FLOAT8, _OFFLOAD and _COMPILED."""
GRANULE = 16
"""Float8 matrix multiplication wants sides that are multiples of this."""
FLOAT8_CAPABILITY = (8, 9)
"""CUDA compute capability from which on tensor cores multiply float8."""
SMALL_NETWORK = 50_000_000
"""Parameters of a transformer below which a CPU loses more by converting to bfloat16 than it gains."""

_applied: WeakKeyDictionary[AsymTalkerPipeline, Runtime] = WeakKeyDictionary()


@dataclass(frozen=True)
class Runtime:
    """What is traded for speed or memory; by default nothing.

    Args:
        compile: compile the transformer's blocks and the autoencoder's decoder, for the checkpoint's own frame size.
            The start takes minutes longer.
        float8: "storage" keeps the weights of the transformer's linear layers in half the memory and computes as
            before (diffusers' layerwise casting); "compute" multiplies in float8 as well (torchao, on GPUs from
            Ada or Hopper on). Both change the video slightly.
        offload: "model" has the autoencoder on the GPU, and beside it only the network that is at work; "group" has
            the transformer's blocks come to the GPU one after the other, each while the one before it works.
        compiled: Hub id of blocks that were compiled ahead of time (`asymtalker.ahead_of_time`), for where GPUs are
            lent by the call (ZeroGPU).

    Raises:
        ValueError: there is no such choice, or the choices do not go together.
    """

    compile: bool = False
    float8: Float8 = "none"
    offload: Offload = "none"
    compiled: str | None = None

    def __post_init__(self) -> None:
        for name, choices in (("float8", get_args(Float8)), ("offload", get_args(Offload))):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}.")
        if self.compile and (self.offload != "none" or self.float8 == "storage"):
            raise ValueError("compile goes neither with offload nor with float8 storage: both move weights about.")
        if self.float8 == "compute" and self.offload == "group":
            raise ValueError("float8 compute does not go with offload group: choose offload model or float8 storage.")
        if self.compiled and (self.compile or self.float8 != "none" or self.offload != "none"):
            raise ValueError("blocks compiled ahead of time go with no other choice: they are fixed, weights and all.")

    @classmethod
    def from_environment(cls) -> Self:
        """The choices that the environment names.

        Raises:
            ValueError: see the class; the variable is named.
        """
        named = {field.name: os.environ.get(PREFIX + field.name.upper()) for field in fields(cls)}
        given: dict[str, Any] = {name: value for name, value in named.items() if value}
        if "compile" in given:
            given["compile"] = _read_switch(PREFIX + "COMPILE", given["compile"])
        try:
            return cls(**given)
        except ValueError as error:
            raise ValueError(f"{error} (Environment: {PREFIX}...)") from error

    def __str__(self) -> str:
        """What is on, such as "compile, float8 compute"; "" where nothing is."""
        choices = [f"{name} {value}" for name in ("float8", "offload") if (value := getattr(self, name)) != "none"]
        ahead = ["compiled ahead of time"] if self.compiled else []
        return ", ".join([*(["compile"] if self.compile else []), *ahead, *choices])


def _read_switch(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"{name} must be 0 or 1, not {value!r}.")
    return value == "1"


def pick_device() -> torch.device:
    """Where networks run: the GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_dtype(device: torch.device, transformer: ModelMixin) -> torch.dtype:
    """bfloat16 where the device multiplies it natively; elsewhere, and for small networks on a CPU, it would only be
    slower."""
    if device.type == "cuda":
        return torch.bfloat16
    native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    large = transformer.num_parameters() > SMALL_NETWORK
    return torch.bfloat16 if native and large else torch.float32


def check_runtime(runtime: Runtime, device: torch.device) -> None:
    """Raises ValueError, before anything is loaded, for what this machine cannot do."""
    if runtime.offload != "none" and device.type == "cpu":
        raise ValueError(
            f"offload {runtime.offload} keeps weights in the CPU's memory while a GPU works; there is no GPU here: "
            "leave it out, or use float8 storage to save memory."
        )
    if runtime.float8 == "compute":
        if find_spec("torchao") is None:
            raise ValueError("float8 compute needs torchao: pip install 'asymtalker[float8]' (or use float8 storage).")
        if device.type != "cuda" or torch.cuda.get_device_capability(device) < FLOAT8_CAPABILITY:
            raise ValueError("float8 compute needs a GPU of Ada's or Hopper's generation or newer: use float8 storage.")
    if runtime.compile and lends_gpus():
        raise ValueError(
            "compile does not outlast a call where GPUs are lent by the call (ZeroGPU): leave it out, or compile ahead "
            "of time (`python -m asymtalker compile`)."
        )
    if runtime.compiled and not lends_gpus():
        raise ValueError("Blocks compiled ahead of time are for ZeroGPU; elsewhere compile does it: leave them out.")


def apply_runtime(pipeline: AsymTalkerPipeline, runtime: Runtime, device: torch.device) -> AsymTalkerPipeline:
    """Puts a pipeline that was just loaded, on the CPU, where it is to run, as it is to run.

    Raises:
        ValueError: see `check_runtime`.
    """
    check_runtime(runtime, device)
    _applied[pipeline] = runtime
    if runtime.float8 == "storage":
        pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=pipeline.transformer.dtype)
    elif runtime.float8 == "compute":
        _quantize(pipeline.transformer)
    if runtime.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif runtime.offload == "group":
        others = [name for name, part in pipeline.components.items() if name != "transformer" and _is_network(part)]
        stream = device.type == "cuda"  # the next block is copied while this one works
        pipeline.enable_group_offload(device, num_blocks_per_group=1, use_stream=stream, exclude_modules=others)
    else:
        pipeline.to(device)
    if runtime.offload != "none" or runtime.float8 == "storage":
        pipeline.take_turns()  # else one stream would put weights away that another one is using
    if runtime.compile:
        _compile(pipeline)
    if runtime.compiled:
        _load_compiled(pipeline, runtime.compiled)
    return pipeline


def runtime_of(pipeline: AsymTalkerPipeline) -> Runtime:
    """What was applied to a pipeline."""
    return _applied.get(pipeline, Runtime())


def _is_network(component: object) -> bool:
    return isinstance(component, nn.Module)


def _quantize(transformer: nn.Module) -> None:
    """Has the linear layers of the blocks, where the work is, multiply in float8; the thin ends stay as they are."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    quantize_(transformer.blocks, config, lambda module, _: is_heavy(module))


def is_heavy(module: nn.Module) -> bool:
    """Whether a module is a linear layer that float8 can take."""
    return isinstance(module, nn.Linear) and module.in_features % GRANULE == module.out_features % GRANULE == 0


def _compile(pipeline: AsymTalkerPipeline) -> None:
    """Compiles what every chunk runs, for static shapes: one block serves all, and windows are all of one size.

    Of the autoencoder only the decoder: κ is five of a chunk's frames, and a causal encoder comes in many shapes.
    """
    pipeline.transformer.compile_repeated_blocks(dynamic=False)
    if (decoder := getattr(pipeline.vae, "decoder", None)) is not None:  # the patch autoencoder is just two matrices
        decoder.compile(dynamic=False)


def _load_compiled(pipeline: AsymTalkerPipeline, repo_id: str) -> None:
    """Has the transformer's blocks run as `asymtalker.ahead_of_time` compiled them.

    Raises:
        ValueError: the repository cannot be read, or lacks packages of this transformer's blocks.
    """
    import spaces

    try:
        spaces.aoti_blocks_load(pipeline.transformer, repo_id)
    except (OSError, HTTPError, HFValidationError) as error:
        raise ValueError(
            f"The blocks compiled ahead of time could not be loaded from {repo_id} ({error}). Upload there what "
            "`python -m asymtalker compile` writes, or leave ASYMTALKER_COMPILED out."
        ) from error


def leave_a_core() -> None:
    """Has PyTorch leave one of the CPU's cores to the thread that renders and writes. With all of them it would wait in
    every operation for the thread that shares a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores - 1)))


def lends_gpus() -> bool:
    """Whether GPUs are lent by the call (ZeroGPU): there is none at start, nor in this process."""
    return "SPACES_ZERO_GPU" in os.environ


def warm_up(pipeline: AsymTalkerPipeline) -> None:
    """Makes two chunks of silence, the first and a later one, so that no visitor waits for what happens only once.

    Kernels are compiled and loaded for the checkpoint's own frame size and steps.
    """
    silence = np.zeros((pipeline.layout.new_frames + 1) * SAMPLES_PER_FRAME, np.float32)
    for _ in pipeline.stream(PIL.Image.new("RGB", pipeline.frame_size, "gray"), silence):
        pass


def wants_warm_up(runtime: Runtime, device: torch.device) -> bool:
    """Whether the first chunk would take much longer than later ones."""
    return runtime.compile or (device.type == "cuda" and not lends_gpus())
