"""Performances of a dataset like the corpus of rendered people: what moved them is stored beside the clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.media.speech import read_speech
from train.animation.performance import Performance, to_int16
from train.animation.units import UNITS


def clips_of(dataset: Path) -> list[dict]:
    """The rows of `metadata.jsonl`: `file_name`, `speech`, `text` and more.

    Raises:
        FileNotFoundError: the folder has no such file.
    """
    return [json.loads(line) for line in (dataset / "metadata.jsonl").read_text().splitlines()]


def read_performance(dataset: Path, clip: dict) -> Performance:
    """The truth of a clip (`truth/NAME.npz`) with the sound of its video.

    Raises:
        ValueError: the truth has other units, or there is no sound.
        FileNotFoundError: video or truth is missing.
    """
    video = dataset / clip["file_name"]
    with np.load(dataset / "truth" / f"{video.stem}.npz") as truth:
        names = tuple(truth["unit_names"].tolist())
        if names != UNITS:
            raise ValueError(f"The truth of {video.name} has the units {names}, not {UNITS}.")
        motion = {name: truth[name].astype(np.float32) for name in ("units", "head_pose_deg", "gaze_deg", "blink")}
        phones = [phone.lower().rstrip("012") for phone in truth["phone"].tolist()]
        spans = truth["phone_span"].astype(np.float32).reshape(-1, 2)
    speech = to_int16(read_speech(video))
    samples = len(motion["units"]) * SAMPLES_PER_FRAME
    speech = np.pad(speech[:samples], (0, max(samples - len(speech), 0)))
    silent = clip["speech"] == "silence"
    return Performance(
        speech, **motion, phones=phones, phone_spans=spans, voice=clip["speech"], language="" if silent else "en"
    )
