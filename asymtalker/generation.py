"""From a portrait and a recording or a text to a video file: what the command line and the page share."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import video_frame_count
from asymtalker.conditioning import ReferenceMode
from asymtalker.convert.files import fetch
from asymtalker.footprint import check_room, explain_shortage, is_shortage, outline
from asymtalker.media.film import SideWriter
from asymtalker.media.picture import PictureView, View
from asymtalker.media.portrait import PortraitCrop, crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.synthesis import SpokenText
from asymtalker.media.video import VideoWriter
from asymtalker.metrics import STRANGERS, Drift, DriftScore, IdentityDrift
from asymtalker.pipeline import MAX_STEPS, Chunk, StepsChoice
from asymtalker.renderer.hints import portrait_hints
from asymtalker.runtime import (
    Runtime,
    apply_runtime,
    check_runtime,
    leave_a_core,
    lends_gpus,
    pick_device,
    pick_dtype,
    wants_warm_up,
    warm_up,
)
from asymtalker.stages import WRITE, stage
from asymtalker.track import Speech, SpeechTrack

PRESETS = Path(__file__).parent / "presets"
DEFAULT_CHECKPOINT = "tiny"
CONFIGURATION_FILES = ["model_index.json", "*/*.json"]
CHECKPOINT_FILES = [*CONFIGURATION_FILES, "*/*.safetensors"]
"""What of a repository on the Hub is downloaded."""
SEEDS = 2**32
MAX_SIZE = 1024
DRIFT_INTERVAL = 1.0  # seconds
MEASURED_EVERY = 5  # frames from one that is measured to the next: all of them would take a tenth of a core
MAX_GUIDANCE = 20
MAX_SIDES = (128, 4096)
"""What `max_side` may be, in pixels."""

_loading = threading.Lock()


@dataclass(frozen=True)
class GenerateOptions:
    """How a video is to be made.

    Args:
        checkpoint: name of an embedded checkpoint, a folder, or a Hub id; None takes the default one.
        seed: 0 to 2³² − 1; None draws one.
        steps: denoising steps a chunk, 1 to 100; None takes as many as the checkpoint was trained for.
        crop: find the face and crop a square around it, rather than the middle of the image.
        face: of several faces the one that is animated, 1 for the largest; None takes the largest.
        color_match: how far each chunk's colours are pulled to the portrait's, 0 to 1; None: the checkpoint's own.
        guidance_scale: weight of the speech's guidance, 0 to 20; 1 is none; None: the checkpoint's own.
        reference_mode: "temporal" (the paper's reference) or "static" (its ablation).
        size: width and height of the network's frames in pixels, at most 1024; None: what it was trained at.
        label: write "AI-generated" into a corner of the picture. (The file's metadata says so either way.)
        max_seconds: speech longer than this is refused; None sets no limit.
        view: what the video shows: the whole "picture", with the animated square in its place, or the "square" alone.
        max_side: long side of the video in pixels, at most, 128 to 4096; a smaller picture keeps its size.
        keep_smile: leave the lips as the portrait has them while nothing is said, rather than shut; counts for
            checkpoints with a renderer.

    Raises:
        ValueError: an option is out of its range.
    """

    checkpoint: str | None = None
    seed: int | None = None
    steps: int | None = None
    crop: bool = True
    face: int | None = None
    color_match: float | None = None
    guidance_scale: float | None = None
    reference_mode: ReferenceMode = "temporal"
    size: int | None = None
    label: bool = True
    max_seconds: float | None = None
    view: View = "picture"
    max_side: int = 1080
    keep_smile: bool = False

    def __post_init__(self) -> None:
        _check_whole("seed", self.seed, 0, SEEDS - 1)
        _check_whole("steps", self.steps, 1, MAX_STEPS)
        _check_whole("size", self.size, 1, MAX_SIZE)
        _check_whole("max_side", self.max_side, *MAX_SIDES, optional=False)
        _check_number("color_match", self.color_match, 0, 1)
        _check_number("guidance_scale", self.guidance_scale, 0, MAX_GUIDANCE)
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise ValueError(f"max_seconds must be greater than 0, not {self.max_seconds}.")
        if self.view not in get_args(View):
            raise ValueError(f"view must be {' or '.join(get_args(View))}, not {self.view!r}.")


def _check_whole(name: str, value: int | None, low: int, high: int, optional: bool = True) -> None:
    if not (value is None and optional) and not (isinstance(value, int) and low <= value <= high):
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value!r}.")


def _check_number(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not (isinstance(value, (int, float)) and low <= value <= high):
        raise ValueError(f"{name} must be a number from {low} to {high}, not {value!r}.")


@dataclass(frozen=True)
class GenerateProgress:
    """Where a video in the making stands.

    Attributes:
        frames: frames written so far.
        total: frames the video will have; of a text an estimate, until all of it has been read.
        elapsed: seconds since the start.
    """

    frames: int
    total: int
    elapsed: float

    @property
    def remaining(self) -> float:
        """Seconds left, at the pace so far."""
        return self.elapsed / self.frames * (self.total - self.frames)


@dataclass(frozen=True)
class GenerateResult:
    """A finished video.

    Attributes:
        path: the mp4 file.
        seed: the seed that makes the same video again.
        frames: frames in the video.
        seconds: length of the video.
        elapsed: seconds it took, from the cropped portrait and the decoded speech, or the text, to the finished file.
        first_frame: seconds until the first frames were there.
        note: what the user should know about the portrait, or "".
        drift: how the video changes with time, second by second; None for a single frame.
        identity: how far the face is from the portrait, second by second (n,): 0 is the portrait, 1 about as far as
            another person.
    """

    path: Path
    seed: int
    frames: int
    seconds: float
    elapsed: float
    first_frame: float
    note: str
    drift: DriftScore | None
    identity: np.ndarray

    @property
    def frames_per_second(self) -> float:
        """Frames made in a second of work; no slower than real time from the video's own rate on."""
        return self.frames / self.elapsed


def generate_video(
    pipeline: AsymTalkerPipeline,
    portrait: str | Path | Image.Image,
    speech: str | Path | np.ndarray | SpokenText,
    output: str | Path,
    options: GenerateOptions | None = None,
    on_progress: Callable[[GenerateProgress], None] | None = None,
) -> GenerateResult:
    """Reads the inputs and makes the video, in memory that does not grow with its length.

    Args:
        portrait: an image file or an open image.
        speech: a file with sound, mono samples in [−1, 1] at the pipeline's sampling rate, float32 (samples,), or a
            text that is read aloud, `SpokenText("Hello there.")`.
        output: the mp4 to write; it appears when it is complete.
        on_progress: called after each chunk.

    Raises:
        ValueError: an input cannot be used; the message says why and what to do.
        OSError: a file cannot be read or written.
    """
    options = options or GenerateOptions()
    crop = crop_portrait(read_portrait(portrait), find_face=options.crop, face=options.face)
    if not isinstance(speech, SpokenText):
        speech = read_speech(speech, pipeline.sampling_rate, options.max_seconds)
    for step in stream_video(pipeline, crop, speech, output, options):
        if isinstance(step, GenerateResult):
            return step
        if on_progress:
            on_progress(step)
    raise AssertionError("stream_video ends with a result")


def stream_video(
    pipeline: AsymTalkerPipeline,
    crop: PortraitCrop,
    speech: Speech,
    output: str | Path,
    options: GenerateOptions,
    open_writer: Callable[..., VideoWriter | SideWriter] = VideoWriter,
) -> Iterator[GenerateProgress | GenerateResult]:
    """Makes the video chunk by chunk: yields the progress after each, and the result at the end.

    Closing the iterator early frees the stream and leaves no file.

    Args:
        speech: mono speech in [−1, 1] at the pipeline's sampling rate, float32 (samples,), or a text: the first frames
            are made while the rest of it is still being read.
        open_writer: called as `VideoWriter` is; what takes in the frames.
    """
    started = time.monotonic()
    with closing(SpeechTrack(speech, pipeline.sampling_rate, options.max_seconds)) as track:
        yield from _stream_video(pipeline, crop, track, output, options, open_writer, started)


def _stream_video(
    pipeline: AsymTalkerPipeline,
    crop: PortraitCrop,
    track: SpeechTrack,
    output: str | Path,
    options: GenerateOptions,
    open_writer: Callable[..., VideoWriter | SideWriter],
    started: float,
) -> Iterator[GenerateProgress | GenerateResult]:
    seed, frames, first_frame = draw_seed(options), 0, 0.0
    written: Future[float] | None = None
    samples_per_frame = pipeline.sampling_rate // pipeline.fps
    view = frame_picture(pipeline, crop, options)
    measured = _Measured(pipeline, view.portrait, options)
    settings = (view.size, pipeline.fps, pipeline.sampling_rate, options.label)
    with (
        open_writer(output, *settings, moving=view.moving) as writer,
        ThreadPoolExecutor(1, "write") as thread,  # a chunk is written while the next is made
        closing(stream_chunks(pipeline, view.portrait, track, seed, options)) as chunks,
    ):
        for chunk in chunks:
            if written is not None:  # one chunk waits at the most, and an error is known by the next
                rendered = written.result()
                first_frame = first_frame or rendered - started
            sound = track.take(chunk.frames * samples_per_frame)
            written = thread.submit(copy_context().run, _write, writer, view, measured, chunk, sound)
            frames += chunk.frames
            total = max(video_frame_count(track.samples), frames)
            yield GenerateProgress(frames, total, time.monotonic() - started)
        if written is not None:
            rendered = written.result()
            first_frame = first_frame or rendered - started
    elapsed = time.monotonic() - started
    yield GenerateResult(
        path=Path(output),
        seed=seed,
        frames=frames,
        seconds=frames / pipeline.fps,
        elapsed=elapsed,
        first_frame=first_frame,
        note=portrait_note(pipeline, crop),
        drift=measured.drift.compute() if frames > 1 else None,
        identity=measured.identity.compute() / STRANGERS,
    )


class _Measured:
    """How the animated square changes with time, at the size of the network's frames whatever the video's.

    Args:
        portrait: the square that the pipeline is given.
    """

    def __init__(self, pipeline: AsymTalkerPipeline, portrait: Image.Image, options: GenerateOptions) -> None:
        still = np.asarray(portrait.resize(network_size(pipeline, options)))
        self.drift = Drift(still, DRIFT_INTERVAL, pipeline.fps, every=MEASURED_EVERY, reduced=True)
        self.identity = IdentityDrift(still, DRIFT_INTERVAL, pipeline.fps, every=MEASURED_EVERY)

    def update(self, frames: np.ndarray) -> None:
        """Adds the next frames, uint8 (F, H, W, 3)."""
        self.drift.update(frames)
        self.identity.update(frames)


def _write(
    writer: VideoWriter | SideWriter, view: PictureView, measured: _Measured, chunk: Chunk, sound: np.ndarray
) -> float:
    """Renders a chunk and writes it; returns when its frames were there, on the monotonic clock."""
    frames, rendered = chunk.render(), time.monotonic()
    with stage(WRITE):
        writer.write(view.place(frames))
        measured.update(frames)
        writer.write_speech(sound)
    return rendered


def frame_picture(pipeline: AsymTalkerPipeline, crop: PortraitCrop, options: GenerateOptions) -> PictureView:
    """What a video under these options shows of the portrait."""
    size = network_size(pipeline, options)
    return PictureView(crop, options.view, options.max_side, size, rendered=pipeline.renderer is not None)


def portrait_note(pipeline: AsymTalkerPipeline, crop: PortraitCrop) -> str:
    """What the user should know about a portrait before it is animated, or ""."""
    if pipeline.renderer is None:
        return crop.note
    return " ".join(filter(None, [crop.note, *portrait_hints(pipeline.renderer.observe(np.asarray(crop.image)))]))


def network_size(pipeline: AsymTalkerPipeline, options: GenerateOptions) -> tuple[int, int]:
    """(width, height) of the network's frames under these options, in pixels."""
    return (options.size, options.size) if options.size else pipeline.frame_size


def stream_chunks(
    pipeline: AsymTalkerPipeline,
    portrait: Image.Image,
    speech: np.ndarray | Iterator[np.ndarray],
    seed: int,
    options: GenerateOptions,
    steps: StepsChoice | None = None,
    window_frames: int | None = None,
) -> Iterator[Chunk]:
    """The chunks of the pipeline's stream under these options.

    Args:
        portrait: the square to be animated, see `PictureView.portrait`.
        speech: mono speech in [−1, 1] at the pipeline's sampling rate, float32 (samples,), or an iterator of such.
        steps: asked before every chunk, in the place of `options.steps`.
        window_frames: see `AsymTalkerPipeline.stream_chunks`.
    """
    with _explained_shortage(pipeline, options):
        stream = pipeline.stream_chunks(
            portrait,
            speech,
            num_inference_steps=steps or options.steps,
            guidance_scale=options.guidance_scale,
            generator=pipeline.noise(seed),
            width=options.size,
            height=options.size,
            color_match=options.color_match,
            reference_mode=options.reference_mode,
            keep_smile=options.keep_smile,
            window_frames=window_frames,
        )
    return _explaining(stream, pipeline, options)


def _explaining(stream: Iterator[Chunk], pipeline: AsymTalkerPipeline, options: GenerateOptions) -> Iterator[Chunk]:
    with closing(stream), _explained_shortage(pipeline, options):
        yield from stream


@contextmanager
def _explained_shortage(pipeline: AsymTalkerPipeline, options: GenerateOptions) -> Iterator[None]:
    """Says how much memory would have been enough, where there was too little."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_shortage(error):
            raise
        raise ValueError(explain_shortage(pipeline, network_size(pipeline, options))) from error


def draw_seed(options: GenerateOptions) -> int:
    """The options' seed, or a random one."""
    return secrets.randbelow(SEEDS) if options.seed is None else options.seed


def load_pipeline(checkpoint: str | None = None, runtime: Runtime | None = None) -> AsymTalkerPipeline:
    """Loads a checkpoint, once, onto the device it runs best on.

    Args:
        checkpoint: name of an embedded checkpoint, a folder, or a Hub id; None takes `ASYMTALKER_CHECKPOINT` from the
            environment, or else the embedded `tiny`.
        runtime: what is traded for speed or memory; None takes it from the environment too, see `Runtime`.

    Raises:
        ValueError: there is no such checkpoint, or it cannot run so here.
        OSError: the Hub cannot be reached.
    """
    source = _find_checkpoint(checkpoint)
    with _loading:  # two visitors who come at once wait for one load
        return _load(source, runtime or Runtime.from_environment())


def outline_checkpoint(checkpoint: str | None = None) -> AsymTalkerPipeline:
    """What `load_pipeline` would load, on the meta device: its configuration without its weights.

    Raises:
        ValueError: there is no such checkpoint.
        OSError: the Hub cannot be reached.
    """
    return outline(fetch(_find_checkpoint(checkpoint), CONFIGURATION_FILES))


@lru_cache(maxsize=2)
def _load(source: str, runtime: Runtime) -> AsymTalkerPipeline:
    device = _pick_device(source)
    check_runtime(runtime, device)
    folder = fetch(source, CHECKPOINT_FILES)
    outlined = outline(folder)
    dtype = pick_dtype(device, outlined.transformer)
    check_room(outlined, dtype, runtime, device)
    try:
        pipeline = AsymTalkerPipeline.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, SafetensorError) as error:
        raise ValueError(
            f"The checkpoint {source!r} could not be loaded ({error}): if a file of it is damaged, make or download it "
            "again."
        ) from error
    pipeline.set_progress_bar_config(disable=True)  # progress is reported by the chunk
    with _explained_shortage(pipeline, GenerateOptions()):
        apply_runtime(pipeline, runtime, device)
        if pipeline.renderer is not None:
            leave_a_core()
        if wants_warm_up(runtime, device):
            warm_up(pipeline)
    return pipeline


def checkpoint_name(checkpoint: str | None = None) -> str:
    """The checkpoint that is meant; None is `ASYMTALKER_CHECKPOINT` from the environment, or the embedded one."""
    return checkpoint or os.environ.get("ASYMTALKER_CHECKPOINT") or DEFAULT_CHECKPOINT


def _find_checkpoint(name: str | None) -> str:
    """The folder or Hub id that `name` stands for."""
    name = checkpoint_name(name)
    for folder in (PRESETS / name, Path(name)):
        if (folder / "model_index.json").is_file():
            return str(folder)
    if name.count("/") == 1 and not Path(name).exists():
        return name
    embedded = ", ".join(sorted(path.parent.name for path in PRESETS.glob("*/model_index.json"))) or "none"
    raise ValueError(
        f"checkpoint {name!r} was not found: it must be an embedded checkpoint ({embedded}), "
        "a folder with a model_index.json, or a Hub id like owner/name."
    )


def _pick_device(source: str) -> torch.device:
    # Where GPUs are lent by the call (ZeroGPU), an embedded checkpoint does not spend the visitor's quota on one.
    return torch.device("cpu") if lends_gpus() and Path(source).parent == PRESETS else pick_device()
