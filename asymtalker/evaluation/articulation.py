"""Articulation of one video: `python -m asymtalker.evaluation.articulation VIDEO [--text TEXT]` prints it as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asymtalker.media.alignment import AlignmentUnavailableError, Phone, align, check_alignment, recognize_phones
from asymtalker.media.speech import read_speech
from asymtalker.media.video import probe_video, read_frames
from asymtalker.metrics import (
    ClipMetric,
    FaceMesh,
    LabiodentalContact,
    LipClosure,
    LipRounding,
    MetricUnavailableError,
    VowelOrder,
    fill_gaps,
    lip_opening,
    lower_lip_drop,
    mouth_width,
)

BLOCK = 64
"""Frames that are held at once."""
CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lip_opening": lip_opening,
    "mouth_width": mouth_width,
    "lower_lip": lower_lip_drop,
}
"""What is read from the landmarks (F, 478, 3) of frames, by its name in a record."""


@dataclass(frozen=True)
class Measure:
    """A figure of articulation.

    Attributes:
        metric: its class, which takes a curve and phones.
        curve: name in `CURVES`.
        label, unit, goal: what the table says of it.
    """

    metric: type[ClipMetric]
    curve: str
    label: str
    unit: str = ""
    goal: str = "the real"


MEASURES = {
    "bilabials": Measure(LipClosure, "lip_opening", "lips close in /p b m/", "share", goal="≥ 0.85"),
    "labiodentals": Measure(LabiodentalContact, "lower_lip", "lower lip raised in /f v/", "share"),
    "rounding": Measure(
        LipRounding, "mouth_width", "mouth narrower in /uw ow w/ than in /iy ih ey/", "std. deviations"
    ),
    "vowels": Measure(VowelOrder, "lip_opening", "lip opening in vowels: rank correlation with their openness"),
}


def find_phones(speech: np.ndarray, text: str | None) -> tuple[list[Phone], str]:
    """The phones of mono speech at 16 kHz, and where they are from: "text", or "sound" where no text is known or it
    does not fit.

    Raises:
        AlignmentUnavailableError: pocketsphinx is not installed.
    """
    if text:
        try:
            return align(speech, text), "text"
        except ValueError:
            pass  # the text of another recording, or not in English
    return recognize_phones(speech), "sound"


def open_phone_finder() -> Callable[[np.ndarray, str | None], tuple[list[Phone], str]]:
    """`find_phones`, where it works.

    Raises:
        MetricUnavailableError: pocketsphinx is not installed.
    """
    try:
        check_alignment()
    except AlignmentUnavailableError as error:
        raise MetricUnavailableError(str(error)) from error
    return find_phones


def measure_articulation(video: str | Path, mesh: FaceMesh, text: str | None = None) -> dict[str, Any]:
    """Measures a video with its own sound.

    Args:
        mesh: finds the landmarks.
        text: what is said, in English; None: its phones are guessed from the sound.

    Returns:
        where the phones are from, and of each of `MEASURES` its value and the number of phones that it is of (its
        weight); None for what cannot be measured, with the reason.

    Raises:
        AlignmentUnavailableError: pocketsphinx is not installed.
        ValueError: the file has no picture or no sound, or the text does not fit the sound, or no face was found.
        OSError: it cannot be read.
    """
    speech = read_speech(video)
    phones = align(speech, text) if text else recognize_phones(speech)
    fps = probe_video(video).fps
    curves = _read_curves(video, mesh)
    figures: dict[str, Any] = {"video": str(video), "phones": "text" if text else "sound"}
    for name, measure in MEASURES.items():
        metric = measure.metric(fps)
        try:
            value, weight = metric.measure(curves[measure.curve], phones)
            figures[name] = {"what": measure.label, "value": round(value, 3), "of": round(weight, 1)}
        except ValueError as error:
            figures[name] = {"what": measure.label, "value": None, "why": str(error)}
    return figures


def _read_curves(video: str | Path, mesh: FaceMesh) -> dict[str, np.ndarray]:
    mesh.reset()
    parts: dict[str, list[np.ndarray]] = {name: [] for name in CURVES}
    for block in _blocks(read_frames(video)):
        points = mesh.landmarks(block)
        for name, read in CURVES.items():
            parts[name].append(read(points))
    return {name: fill_gaps(np.concatenate(curve)) for name, curve in parts.items()}


def _blocks(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    while block := list(islice(frames, BLOCK)):
        yield np.stack(block)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0, or 2 where an input cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m asymtalker.evaluation.articulation", description="Articulation of one video, as JSON."
    )
    parser.add_argument("video", metavar="VIDEO", help="mp4 with its sound")
    parser.add_argument("--text", help="what is said, in English (default: phones are guessed from the sound)")
    options = parser.parse_args(arguments)
    try:
        with FaceMesh() as mesh:
            print(json.dumps(measure_articulation(options.video, mesh, options.text), indent=2))
    except (ValueError, OSError, AlignmentUnavailableError, MetricUnavailableError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
