"""How fast a checkpoint runs here, stage by stage, in the loop that makes every video; and what it takes, computed."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.convert import outline_flashhead
from asymtalker.convert.parts import Variant
from asymtalker.footprint import (
    GB,
    HEADROOM,
    Footprint,
    as_loaded,
    check_room,
    forget_peak_memory,
    free_memory,
    measure,
    parameters,
    peak_memory,
)
from asymtalker.generation import (
    GenerateOptions,
    GenerateResult,
    checkpoint_name,
    load_pipeline,
    outline_checkpoint,
    stream_video,
)
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.pipeline import AsymTalkerPipeline
from asymtalker.runtime import Runtime, apply_runtime, check_runtime, pick_device, pick_dtype, runtime_of
from asymtalker.stages import REFERENCE, STAGES, WRITE, observed

WARM_UP_CHUNKS = 2
"""The first window, which starts from the portrait, and a later one."""
SIZE = 512
"""Of the published weights' frames, in pixels."""
SPREAD = (10, 90)
"""Percentiles given beside a median."""
RUNTIMES = (
    Runtime(),
    Runtime(float8="storage"),
    Runtime(float8="compute"),
    Runtime(offload="model"),
    Runtime(offload="group"),
    Runtime(float8="storage", offload="group"),
)
"""Whose memory is computed."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured.

    Args:
        checkpoint: see `load_pipeline`; None with `random`, or for the default one.
        random: architecture to run with random weights, which are as fast as trained ones; no download.
        size: width and height of the frames in pixels; None: the checkpoint's own.
        steps: denoising steps; None: the checkpoint's own.
        chunks: that are timed, after two that are not.
        image: portrait; None takes a plain picture.

    Raises:
        ValueError: an option is out of its range.
    """

    checkpoint: str | None = None
    random: Variant | None = None
    size: int | None = None
    steps: int | None = None
    chunks: int = 10
    image: Path | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.random is not None:
            raise ValueError("Choose a checkpoint or random weights, not both.")
        if not 2 <= self.chunks <= 1000:
            raise ValueError(f"chunks must be a whole number from 2 to 1000, not {self.chunks}.")
        self.generation()

    def generation(self) -> GenerateOptions:
        """The options of the videos that are timed."""
        return GenerateOptions(checkpoint=self.checkpoint, seed=0, steps=self.steps, crop=False, size=self.size)

    @property
    def name(self) -> str:
        """What is measured, in words."""
        return f"{self.random}, random weights" if self.random else checkpoint_name(self.checkpoint)


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: what was measured.
        value: median over chunks, or the one value there is.
        low, high: 10th and 90th percentile over chunks; the value itself where there is one.
        unit: of these.
        calls: in a chunk.
        setting: what it depends on.
    """

    name: str
    value: float
    low: float
    high: float
    unit: str
    calls: float
    setting: str


@dataclass(frozen=True)
class Benchmark:
    """All figures of a run, and what they were measured on.

    Attributes:
        setting: checkpoint, size, steps, networks, number format, options, hardware and threads.
    """

    setting: dict[str, str]
    figures: list[Figure]

    def write(self, path: Path) -> None:
        """Writes everything as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")


class StageTimer:
    """Times the stages of a stream as an observer: on a GPU by events, for which nothing waits before the end."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._seconds: dict[str, list[float]] = {}
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if self._cuda and name != WRITE:  # writing is the CPU's
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            yield
            end.record()
            self._events.append((name, start, end))
        else:
            began = time.perf_counter()
            yield
            self._seconds.setdefault(name, []).append(time.perf_counter() - began)

    def seconds(self) -> dict[str, list[float]]:
        """The seconds that each call of each stage took, by stage."""
        if self._events:
            torch.cuda.synchronize()
        for name, start, end in self._events:
            self._seconds.setdefault(name, []).append(start.elapsed_time(end) / 1000)
        self._events.clear()
        return self._seconds


def benchmark(options: BenchmarkOptions, runtime: Runtime | None = None) -> Benchmark:
    """Makes a video and times it.

    Args:
        runtime: None takes it from the environment, as `load_pipeline` does.

    Raises:
        ValueError: the checkpoint, or an option, cannot be used here.
        OSError: a file cannot be read or written.
    """
    runtime = runtime or Runtime.from_environment()
    pipeline = load_random(options, runtime) if options.random else load_pipeline(options.checkpoint, runtime)
    return time_pipeline(pipeline, options)


def time_pipeline(pipeline: AsymTalkerPipeline, options: BenchmarkOptions) -> Benchmark:
    """Times a pipeline that is loaded."""
    device = pipeline._execution_device
    _make_video(pipeline, replace(options, chunks=WARM_UP_CHUNKS))
    if device.type == "cuda":  # of a process, all since its start counts: it has to fit in as a whole
        forget_peak_memory(device)
    timer = StageTimer(device)
    with observed(timer):
        moments, result = _make_video(pipeline, options)
    setting = describe(pipeline, options)
    line = ", ".join(setting.values())
    stages = timer.seconds()
    figures = [
        _figure(name, 1000 * np.asarray(stages[name]), "ms", line, _calls(name, len(stages[name]), options.chunks))
        for name in STAGES
        if name in stages
    ]
    chunks = np.diff(moments)  # the first one's is the latency
    whole = [
        _figure("chunk", 1000 * chunks, "ms", line),
        _figure("speed", pipeline.layout.new_frames / chunks, "frames/s", line),
        _figure("first frame", np.asarray([1000 * result.first_frame]), "ms", line),
        _figure("peak memory", np.asarray([peak_memory(device) / GB]), "GB", line),
    ]
    return Benchmark(setting, figures + whole)


def _make_video(pipeline: AsymTalkerPipeline, options: BenchmarkOptions) -> tuple[list[float], GenerateResult]:
    """Makes a video of whole chunks; returns when each was there, in seconds, and the result."""
    image = read_portrait(options.image) if options.image else Image.linear_gradient("L").convert("RGB")
    samples = options.chunks * pipeline.layout.new_frames * SAMPLES_PER_FRAME
    speech = np.random.default_rng(0).normal(0, 0.05, samples).astype(np.float32)
    crop = crop_portrait(image, find_face=options.image is not None)
    with tempfile.TemporaryDirectory() as folder:
        *progress, result = stream_video(pipeline, crop, speech, Path(folder) / "video.mp4", options.generation())
    return [step.elapsed for step in progress], result


def _calls(name: str, calls: int, chunks: int) -> float:
    """In a chunk; the reference's, in a stream."""
    return calls if name == REFERENCE else calls / chunks


def _figure(name: str, values: np.ndarray, unit: str, setting: str, calls: float = 1) -> Figure:
    low, high = np.percentile(values, SPREAD)
    return Figure(name, float(np.median(values)), float(low), float(high), unit, calls, setting)


def describe(pipeline: AsymTalkerPipeline, options: BenchmarkOptions) -> dict[str, str]:
    """All that a figure depends on, in words."""
    width, height = (options.size, options.size) if options.size else pipeline.frame_size
    steps = options.steps or pipeline.config.num_inference_steps
    threads = torch.get_num_threads()
    return {
        "checkpoint": options.name,
        "size": f"{width} × {height}",
        "steps": f"{steps} step{'s' * (steps > 1)}",
        "window": f"{pipeline.layout.new_frames} new frames a chunk",
        "transformer": f"{parameters(pipeline.transformer) / 1e6:.0f} M parameters",
        "vae": type(pipeline.vae).__name__,
        "dtype": str(pipeline.transformer.dtype).removeprefix("torch."),
        "options": str(runtime_of(pipeline)) or "eager",
        "hardware": _hardware(pipeline._execution_device),
        "threads": f"{threads} thread{'s' * (threads > 1)}",
        "torch": f"torch {torch.__version__}",
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def load_random(options: BenchmarkOptions, runtime: Runtime) -> AsymTalkerPipeline:
    """A published architecture with random weights, where it runs best.

    Raises:
        ValueError: there is too little memory; it says how much is needed.
    """
    device = pick_device()
    outlined = outline_flashhead(options.random, options.size or SIZE)
    dtype = pick_dtype(device, outlined.transformer)
    check_runtime(runtime, device)
    _check_memory(options, runtime, device, dtype)
    pipeline = materialize(outlined, dtype)
    pipeline.set_progress_bar_config(disable=True)
    return apply_runtime(pipeline, runtime, device)


def _check_memory(options: BenchmarkOptions, runtime: Runtime, device: torch.device, dtype: torch.dtype) -> None:
    check_room(outline_flashhead(options.random), torch.float32, runtime, torch.device("cpu"))  # as it is made
    footprint = footprint_of(options, dtype)
    needed, free = HEADROOM * footprint.peak(runtime), free_memory(device)
    if needed > free:
        thrifty = min(RUNTIMES, key=footprint.peak)
        raise ValueError(
            f"{options.name} needs about {needed / GB:.1f} GB on {device} (computed), {free / GB:.1f} GB are free. "
            f"Choose a smaller size, or {thrifty}: {HEADROOM * footprint.peak(thrifty) / GB:.1f} GB."
        )


def materialize(outlined: AsymTalkerPipeline, dtype: torch.dtype) -> AsymTalkerPipeline:
    """A pipeline on the CPU like the one on the meta device, with the weights that torch starts with."""
    parts = dict(outlined.components)
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            parts[name] = type(part).from_config(part.config).eval()
            as_loaded(parts[name], dtype)
    settings = {name: value for name, value in outlined.config.items() if name not in parts and name[0] != "_"}
    return AsymTalkerPipeline(**parts, **settings)


def footprint_of(options: BenchmarkOptions, dtype: torch.dtype = torch.bfloat16) -> Footprint:
    """What a checkpoint takes, computed from its shapes.

    Raises:
        ValueError: there is no such checkpoint.
    """
    if options.random:
        return measure(outline_flashhead(options.random, options.size or SIZE), dtype, steps=options.steps)
    size = (options.size, options.size) if options.size else None
    return measure(outline_checkpoint(options.checkpoint), dtype, size, options.steps)


def render(result: Benchmark) -> str:
    """The figures as a table to read."""
    width = max(len(figure.name) for figure in result.figures) + 5
    lines = [f"{name:12}{value}" for name, value in result.setting.items()]
    lines += ["", f"{'':{width}}{'median':>12}{'10 to 90 %':>22}"]
    for figure in result.figures:
        calls = "" if figure.calls == 1 else f" ×{figure.calls:g}"
        spread = "" if figure.low == figure.high else f"{_number(figure.low)} to {_number(figure.high)}"
        lines.append(f"{figure.name + calls:{width}}{_number(figure.value):>12}{spread:>22} {figure.unit}")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def render_footprint(footprint: Footprint, name: str, tflops: float | None = None) -> str:
    """What was computed as a table to read.

    Args:
        tflops: the device's peak, from its data sheet: no run is faster than that allows.
    """
    weights = ", ".join(f"{part} {size / GB:.2f}" for part, size in footprint.weights["none"].items())
    lines = [f"{name}: computed from shapes in bfloat16, not measured", f"weights in GB: {weights}", ""]
    lines += [f"{'':16}{'calls':>6}{'TFLOP a call':>14}{'activations, GB':>17}"]
    for stage, figures in footprint.stages.items():
        lines.append(f"{stage:16}{figures.calls:>6}{figures.flops / 1e12:>14.2f}{figures.activations / GB:>17.2f}")
    lines += ["", f"{'peak, GB':32}{'with a fifth to spare':>22}"]
    for runtime in RUNTIMES:
        peak = footprint.peak(runtime) / GB
        lines.append(f"{str(runtime) or 'bfloat16':24}{peak:>8.1f}{HEADROOM * peak:>22.1f}")
    flops = footprint.chunk_flops() / 1e12
    lines += ["", f"{flops:.1f} TFLOP for {footprint.new_frames} frames"]
    if tflops:
        lines[-1] += f": at most {footprint.new_frames * tflops / flops:.0f} frames/s at {tflops:g} TFLOP/s"
    return "\n".join(lines)
