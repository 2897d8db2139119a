"""What a checkpoint takes, computed from shapes: memory and arithmetic, without running it and without its weights.

The pipeline's own loop runs on torch's meta device, where tensors have shapes but no values. What is counted is what
the networks ask for: weights, and the tensors that are alive at once in each stage. Workspaces of the libraries below,
the allocator's waste and the driver's own memory (about half a gigabyte) come on top: leave a fifth free.
"""

import importlib
import json
import resource
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from diffusers import ModelMixin, SchedulerMixin
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.pipeline import AsymTalkerPipeline
from asymtalker.runtime import Float8, Runtime, is_heavy, runtime_of
from asymtalker.stages import COLOR, CONTINUITY, DECODE, REFERENCE, SPEECH, STEP, observed

NETWORKS = {
    REFERENCE: "vae",
    SPEECH: "speech_encoder",
    STEP: "transformer",
    DECODE: "vae",
    COLOR: None,
    CONTINUITY: "vae",
}
"""The network that each stage runs."""
RENDERER = "renderer"
"""The component that no outline has: it works on a portrait's pixels, of which the meta device has none."""
GB = 1e9
HEADROOM = 1.2
"""Memory that is asked for, over what is computed."""


@dataclass
class StageFootprint:
    """One stage of a stream.

    Attributes:
        calls: in a chunk; of the reference, in a stream.
        flops: floating-point operations of one call (a multiplication and an addition are two).
        activations: bytes of all tensors alive at once, at the most, beside weights.
    """

    calls: int = 0
    flops: int = 0
    activations: int = 0


@dataclass(frozen=True)
class Footprint:
    """What a pipeline takes.

    Attributes:
        weights: bytes of each network, for each kind of float8.
        streamed: bytes of the transformer's weights that are on the GPU at once when its blocks come one by one.
        stages: by name.
        new_frames: frames that a chunk adds to the video.
    """

    weights: dict[Float8, dict[str, int]]
    streamed: dict[Float8, int]
    stages: dict[str, StageFootprint]
    new_frames: int

    def peak(self, runtime: Runtime) -> int:
        """Bytes on the device at the most: in its fullest stage, the weights that are there and all activations."""
        return max(self._resident(name, runtime) + stage.activations for name, stage in self.stages.items())

    def chunk_flops(self) -> int:
        """Floating-point operations for one chunk."""
        return sum(stage.flops * stage.calls for name, stage in self.stages.items() if name != REFERENCE)

    def _resident(self, stage: str, runtime: Runtime) -> int:
        weights = self.weights[runtime.float8]
        if runtime.offload == "model":  # a network leaves when its successor comes: the last, the autoencoder, stays
            return weights["vae"] + (weights[network] if (network := NETWORKS[stage]) not in ("vae", None) else 0)
        if runtime.offload == "group":
            return sum(weights.values()) - weights["transformer"] + self.streamed[runtime.float8]
        return sum(weights.values())


def outline(checkpoint: str | Path) -> AsymTalkerPipeline:
    """The pipeline of a checkpoint's folder on the meta device: all of its configuration, nothing of its weights.

    Raises:
        ValueError: a file is missing or broken.
    """
    folder = Path(checkpoint)
    try:
        index = json.loads((folder / "model_index.json").read_text())
        named = {name: value for name, value in index.items() if isinstance(value, list)}
        parts = {name: _outline_part(folder, name, *value) for name, value in named.items() if name != RENDERER}
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ValueError(f"{folder} is not the folder of a checkpoint: {error}") from error
    settings = {name: value for name, value in index.items() if name not in named and not name.startswith("_")}
    with torch.device("meta"):
        return AsymTalkerPipeline(**parts, **settings).to("meta")


def _outline_part(folder: Path, name: str, module: str, kind: str) -> ModelMixin | SchedulerMixin:
    cls = getattr(importlib.import_module(module), kind)
    config = cls.load_config(folder, subfolder=name)
    if not issubclass(cls, nn.Module):
        return cls.from_config(config)
    with torch.device("meta"):
        return cls.from_config(config)


def like(pipeline: AsymTalkerPipeline) -> AsymTalkerPipeline:
    """The outline of a pipeline that is loaded."""
    with torch.device("meta"):
        parts = {
            name: type(part).from_config(part.config) if isinstance(part, nn.Module) else part
            for name, part in pipeline.components.items()
            if name != RENDERER
        }
        settings = {name: value for name, value in pipeline.config.items() if name not in pipeline.components}
        settings = {name: value for name, value in settings.items() if not name.startswith("_")}
        return AsymTalkerPipeline(**parts, **settings).to("meta")


def as_loaded(model: nn.Module, dtype: torch.dtype) -> None:
    """Gives weights the formats that they have when they are loaded in `dtype`: some stay in float32."""
    kept = tuple(getattr(model, "_keep_in_fp32_modules", None) or ())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and not any(part in name.split(".") for part in kept):
            tensor.data = tensor.data.to(dtype)


def measure(
    pipeline: AsymTalkerPipeline, dtype: torch.dtype, size: tuple[int, int] | None = None, steps: int | None = None
) -> Footprint:
    """What an outlined pipeline takes; it cannot be used again.

    Args:
        pipeline: on the meta device.
        dtype: of weights and activations.
        size: (width, height) in pixels; None: the checkpoint's own.
        steps: None: the checkpoint's own.

    Raises:
        ValueError: the size or the steps are out of range.
    """
    networks = {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
    for part in networks.values():
        as_loaded(part, dtype)
    meter = Meter(networks.values())
    with torch.no_grad(), observed(meter.stage), meter, _FusedAttention():
        _make_chunk(pipeline, size or pipeline.frame_size, steps or pipeline.config.num_inference_steps)
    plain, transformer = {name: _bytes(part) for name, part in networks.items()}, pipeline.transformer
    weights, streamed = {"none": plain}, {"none": _streamed(transformer)}
    weights["compute"] = plain | {"transformer": plain["transformer"] - _saved_by_float8(transformer.blocks)}
    transformer.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=dtype)
    weights["storage"], streamed["storage"] = plain | {"transformer": _bytes(transformer)}, _streamed(transformer)
    return Footprint(weights, streamed, meter.stages, pipeline.layout.new_frames)


def _make_chunk(pipeline: AsymTalkerPipeline, size: tuple[int, int], steps: int) -> None:
    """Makes one chunk of nothing; all chunks are alike."""
    channels, settings = pipeline.vae.config.get("in_channels", 3), pipeline.config
    pipeline.check_inputs(steps, settings.guidance_scale, settings.color_match, size)
    state = pipeline.start_stream(
        torch.zeros(1, channels, size[1], size[0]),
        steps,
        guidance_scale=settings.guidance_scale,
        color_match=settings.color_match,
    )
    state.speech.append(torch.zeros(2 * pipeline.layout.window_frames * SAMPLES_PER_FRAME))
    pipeline.next_chunk(state)


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))


def _saved_by_float8(blocks: nn.Module) -> int:
    """Bytes by which weights that multiply in float8 are smaller; their scales are left out of account."""
    heavy = [layer.weight for layer in blocks.modules() if is_heavy(layer)]
    return sum(weight.numel() * (weight.element_size() - 1) for weight in heavy)


def _streamed(transformer: nn.Module) -> int:
    """Bytes there at once when blocks come one by one: the one at work, the next, and all that is no block."""
    blocks = [_bytes(block) for block in transformer.blocks]
    return _bytes(transformer) - sum(blocks) + sum(blocks[:2])


class Meter(TorchDispatchMode):
    """Counts operations, and the bytes of tensors that are alive beside the weights, stage by stage."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stages: dict[str, StageFootprint] = {}
        tensors = (tensor for part in networks for tensor in (*part.parameters(), *part.buffers()))
        self._seen = {tensor.untyped_storage()._cdata for tensor in tensors}
        self._alive = self._peak = 0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts what runs in this context for the stage."""
        footprint = self.stages.setdefault(name, StageFootprint())
        self._peak = self._alive
        with FlopCounterMode(display=False) as counter:
            yield
        footprint.calls += 1
        footprint.flops = counter.get_total_flops()
        footprint.activations = max(footprint.activations, self._peak)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.device.type == "meta":
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage._cdata, storage.nbytes()
        if place not in self._seen:  # views share one
            self._seen.add(place)
            self._alive += size
            self._peak = max(self._peak, self._alive)
            weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self._alive -= size


class _FusedAttention(TorchFunctionMode):
    """Has attention need what a fused kernel needs; on the meta device torch would make all attention weights."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is F.scaled_dot_product_attention:
            names = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            inputs = (names[name] for name in ("query", "key", "value"))
            return torch.ops.aten._scaled_dot_product_flash_attention(*inputs)[0]
        return func(*args, **(kwargs or {}))


def free_memory(device: torch.device) -> int:
    """Bytes that may be taken on a device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available


def peak_memory(device: torch.device) -> int:
    """Most bytes so far: of tensors on a GPU, otherwise of this process. See `forget_peak_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    high = [line.split() for line in lines if line.startswith("VmHWM:")]
    if high:
        return 1024 * int(high[0][1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def forget_peak_memory(device: torch.device) -> None:
    """Has `peak_memory` count from now on; of a process only Linux can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def check_room(pipeline: AsymTalkerPipeline, dtype: torch.dtype, runtime: Runtime, device: torch.device) -> None:
    """Raises ValueError, before anything is loaded, if the weights alone are more than there is room for.

    Args:
        pipeline: outlined.
        dtype: that it is going to be loaded in, by way of the CPU.
    """
    networks = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    needed = sum(parameters(part) for part in networks) * dtype.itemsize
    there = [torch.device("cpu"), *([device] if runtime == Runtime(compile=runtime.compile) else [])]
    for place in there:
        if (free := free_memory(place)) < needed:
            thrift = "Close other programs or add swap" if place.type == "cpu" else "Choose offload model or group"
            raise ValueError(
                f"Too little memory: the weights take {needed / GB:.1f} GB of {_place(place)} memory, {free / GB:.1f} "
                f"GB are free. {thrift}, or take a smaller checkpoint."
            )


def parameters(network: nn.Module) -> int:
    """Numbers that a network consists of."""
    return sum(parameter.numel() for parameter in network.parameters())


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is too little memory; the CPU's allocator has no class for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def explain_shortage(pipeline: AsymTalkerPipeline, size: tuple[int, int]) -> str:
    """How much memory a video needs, and which option needs less: said after there was too little."""
    device, runtime = pipeline._execution_device, runtime_of(pipeline)
    footprint = measure(like(pipeline), pipeline.transformer.dtype, size, steps=1)
    needs = {choice: HEADROOM * footprint.peak(choice) / GB for choice in _choices(runtime, device)}
    smaller = [f"{choice} {need:.1f} GB" for choice, need in needs.items() if need < needs[runtime]]
    advice = f"It would be with {'; with '.join(smaller)} (README, Photorealistic). " if smaller else ""
    return (
        f"Too little memory: {size[0]} × {size[1]} needs about {needs[runtime]:.1f} GB of {_place(device)} memory "
        f"(computed), {free_memory(device) / GB:.1f} GB are free. {advice}Smaller frames take less."
    )


def _choices(runtime: Runtime, device: torch.device) -> list[Runtime]:
    thrifty = [Runtime(float8="storage")]
    if device.type != "cpu":
        thrifty += [Runtime(offload="model"), Runtime(offload="group"), Runtime(float8="storage", offload="group")]
    return [runtime, *(choice for choice in thrifty if choice != runtime)]


def _place(device: torch.device) -> str:
    return "the CPU's" if device.type == "cpu" else "GPU"
