"""What the tabs have in common: how inputs are read, errors, and where the model runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import spaces
from gradio.utils import get_upload_folder

from asymtalker.generation import MAX_SIZE, GenerateProgress, GenerateResult, load_pipeline
from asymtalker.media.portrait import PortraitCrop, crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.synthesis import CLEARLY_TOO_LONG, SpokenText
from asymtalker.track import Speech

CONSENT = (
    "Use only a portrait and a voice that you have the right to use, with the consent of the person shown. "
    "Videos are marked as AI-generated, in the picture and in the file."
)
Upload = dict[str, Any]  # {"path": the file as it was uploaded, ...}
RANDOM_SEED = -1  # what the page shows; the package says None
GPU_START = 20  # seconds a lent GPU needs before the first frame, generously
GPU_PER_SECOND = 1.0  # seconds of a lent GPU for a second of video, generously
PRIVATE = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def read_crop(
    portrait: Upload | None,
    crop: bool = True,
    zoom: float = 1,
    shift_x: float = 0,
    shift_y: float = 0,
    face: int | None = None,
) -> PortraitCrop:
    """The part of an uploaded portrait that is animated.

    Raises:
        ValueError: there is no portrait, or it cannot be used.
        OSError: the file cannot be read.
    """
    if not portrait or not portrait.get("path"):
        raise ValueError("There is no portrait yet: upload a photograph or take one.")
    path = uploaded(portrait)
    return _find_crop(path, path.stat().st_mtime_ns, crop, zoom, (shift_x, shift_y), face)


@lru_cache(maxsize=2)
def _find_crop(path: Path, _changed: int, *adjustments: Any) -> PortraitCrop:
    """Remembered, as a portrait is judged some time before it is animated."""
    return crop_portrait(read_portrait(path), *adjustments)


def read_recording(speech: Upload | None, checkpoint: str | None, max_seconds: float) -> np.ndarray:
    """An uploaded recording, as `read_speech` returns it for this checkpoint.

    Raises:
        ValueError: there is no recording, or it cannot be used, or it is longer than `max_seconds`.
        OSError: the file cannot be read.
    """
    if not speech or not speech.get("path"):
        raise ValueError("There is no speech yet: type what the portrait shall say, or give a recording.")
    return read_speech(uploaded(speech), load_pipeline(checkpoint).sampling_rate, max_seconds)


def uploaded(upload: Upload) -> Path:
    """The file of an upload. Gradio looks only at those that call themselves files, and lets other paths pass.

    Raises:
        ValueError: it is some other file of this machine.
    """
    path = Path(upload["path"]).resolve()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise ValueError(f"{path.name!r} was not uploaded here: upload it first (handle_file, with gradio_client).")
    return path


def largest_size(checkpoint: str | None) -> int:
    """Width and height that a visitor may ask for: work grows with their square, and quality does not."""
    return min(2 * max(load_pipeline(checkpoint).frame_size), MAX_SIZE)


def check_size(size: int | None, checkpoint: str | None) -> None:
    """Raises ValueError for a size that is too large for a page that is shared."""
    if isinstance(size, int) and size > largest_size(checkpoint):
        raise ValueError(f"size must be at most {largest_size(checkpoint)} here, not {size}.")


def name_example(component: gr.Image | gr.Audio, file: str) -> None:
    """Has the page about the API show this file of the visitor's, rather than one of Gradio's on the web."""
    component.example_payload = lambda: {"path": file, "meta": {"_type": "gradio.FileData"}}


def build_speech(label: str) -> gr.Audio:
    """A recording, uploaded or recorded."""
    speech = gr.Audio(
        label=label,
        sources=["upload", "microphone"],
        type="filepath",
        buttons=["download"],
        elem_classes="speech",
        elem_id="speech",
    )
    name_example(speech, "nora.wav")
    return speech


def drift_figures(result: GenerateResult) -> dict[str, float]:
    """How far the end of a video is from its beginning: identity, of which 1 is another person; colour in ΔE;
    sharpness and motion as ratios."""
    figures = {
        "identity_distance": round(float(result.identity[-1]), 3),
        "identity_drift": round(float(result.identity[-1] - result.identity[0]), 3),
    }
    if result.drift is None:
        return figures
    return figures | {
        "color_drift": round(float(np.linalg.norm(result.drift.lab_shift)), 2),
        "sharpness_ratio": round(result.drift.sharpness_ratio, 3),
        "motion_ratio": round(result.drift.motion_ratio, 3),
    }


@contextmanager
def shown_errors() -> Iterator[None]:
    """Shows what the package says about unusable input, in the page and to clients."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise gr.Error(str(error), title="That did not work", print_exception=False) from error


def gpu_seconds(checkpoint: str | None, speech: Speech) -> float:
    """Seconds of a GPU that a video of speech (samples,), or of a text, takes."""
    if isinstance(speech, SpokenText):
        return GPU_PER_SECOND * CLEARLY_TOO_LONG * speech.seconds  # an estimate
    return GPU_PER_SECOND * len(speech) / load_pipeline(checkpoint).sampling_rate


def on_device(stream: Callable[..., Iterator[Any]], seconds: Callable[..., float]) -> Callable[..., Iterator[Any]]:
    """Has a generator run where its checkpoint does, on a GPU for as long as it may take.

    Args:
        stream: a generator function whose first argument is the checkpoint. The pipeline is no argument of it: a lent
            GPU is used from a forked process, to which arguments are copied.
        seconds: a GPU's time, of the same arguments.
    """

    def duration(*arguments: Any) -> int:
        return math.ceil(GPU_START + seconds(*arguments))

    lent = spaces.GPU(duration=duration)(stream)

    def run(checkpoint: str | None, *arguments: Any) -> Iterator[Any]:
        chosen = stream if load_pipeline(checkpoint).device.type == "cpu" else lent
        return chosen(checkpoint, *arguments)

    return run


def report(step: GenerateProgress, progress: gr.Progress) -> None:
    """Shows how far a run is, and the time left."""
    progress(step.frames / step.total, desc=f"{clock(step.remaining)} left")


def clock(seconds: float) -> str:
    """4.2 → "5 s", 75 → "1 min 15 s", 600 → "10 min"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    parts = [f"{minutes} min"] * (minutes > 0) + [f"{rest} s"] * (rest > 0 or not minutes)
    return " ".join(parts)
