"""Training data without pictures: performances on people drawn at random, and the measured motion of real ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME
from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER, OUTER_LOWER, OUTER_UPPER
from asymtalker.renderer.motion_frame import LIP_CHANNELS, lip_points, normalize
from train.animation.performance import Performance
from train.animation.units import UNITS
from train.face_model import FaceModel
from train.motion_store import MeasuredMotion

EFFORT = (0.6, 0.95)
"""How far a person's lips move, as a share of what the units say: rendered people open their mouths wider than real
ones do."""
DIFFERENCE = 1.3
"""People who are drawn differ by so much more than rendered people do: photographs and paintings do."""
UNEVEN = 0.004
"""Lip landmarks of a person are off by so much, in eye distances: landmarks are not exact, and faces not symmetric."""
SMILES = 0.3
"""Share of the people who show their teeth in their portrait, and shut their mouth as a video begins."""
TEETH = (0.03, 0.18)
"""How far a smile in a portrait parts the lips, in eye distances."""
SETTLE = 0.85
"""A smile of the portrait fades by this factor a frame."""


@dataclass(frozen=True, eq=False)
class Track:
    """A performance, which can be seen on any face, or measured motion, which is of one.

    Attributes:
        name: where it came from.
        source: sound, and expression or motion frames.
        model: makes motion frames of expressions, and has the mean face that all of them are measured from.
    """

    name: str
    source: Performance | MeasuredMotion
    model: FaceModel

    def __len__(self) -> int:
        return len(self.speech) // SAMPLES_PER_FRAME

    @property
    def speech(self) -> np.ndarray:
        """int16 (640·F,) at 16 kHz."""
        return self.source.speech


def load_tracks(folder: str | Path, face_model: str | Path) -> list[Track]:
    """Loads the performances (`train/perform.py`) or measured motion (`train/motion_store.py`) of a folder.

    Raises:
        ValueError: there is none, or it has other units, channels or another frame rate than face model and network.
    """
    model, folder = FaceModel.load(face_model), Path(folder)
    if model.unit_names != UNITS:
        raise ValueError(f"{face_model} is of other expression units than performances have: measure it anew.")
    index = folder / "metadata.jsonl"
    if not index.exists():
        raise ValueError(f"{folder} holds no performances (there is no metadata.jsonl): `python -m train.perform`.")
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    for row in rows:
        if row.get("fps", FPS) != FPS:
            raise ValueError(f"{row['file_name']} of {folder} has {row['fps']} frames a second; {FPS} are needed.")
    kinds = {"motion": MeasuredMotion}
    return [
        Track(
            Path(row["file_name"]).stem, kinds.get(row.get("kind"), Performance).load(folder / row["file_name"]), model
        )
        for row in tqdm(rows, desc="tracks")
    ]


class PersonView:
    """A track on one face.

    Args:
        track: whose expression is seen.
        rng: draws the person; None for the mean face.
    """

    def __init__(self, track: Track, rng: np.random.Generator | None) -> None:
        self._track = track
        self._person = np.zeros(len(track.model.people))
        self._effort, self._uneven, self._smile = sum(EFFORT) / 2, 0.0, 0.0
        if rng is not None:
            self._person = DIFFERENCE * rng.standard_normal(len(self._person))
            self._effort = rng.uniform(*EFFORT)
            self._uneven = UNEVEN * rng.standard_normal(LIP_CHANNELS.stop)
            self._smile = rng.uniform(*TEETH) * (rng.random() < SMILES)

    def frames(self, indices: list[int], origin: int = 0) -> Tensor:
        """Motion frames by number, normalised, float32 (F, 1, 1, 93), of a person whose portrait is frame `origin`."""
        source, model = self._track.source, self._track.model
        if isinstance(source, MeasuredMotion):
            return torch.from_numpy(normalize(source.frames[indices], model.mean))[:, None, None]
        moves = (getattr(source, name)[indices] for name in ("units", "head_pose_deg", "gaze_deg"))
        frames = model.frames(*moves, self._person, self._effort)
        frames[:, LIP_CHANNELS] += self._uneven
        if self._smile:
            show_teeth(frames, self._smile * SETTLE ** (np.asarray(indices) - origin).clip(min=0))
        return torch.from_numpy(normalize(frames, model.mean))[:, None, None]

    def portrait(self, index: int) -> dict[str, Tensor]:
        """A motion frame as identity, `portrait` (1, 1, 93)."""
        return {"portrait": self.frames([index], index)[0]}


def show_teeth(frames: np.ndarray, gaps: np.ndarray) -> None:
    """Parts the lips of motion frames (F, 93) by gaps (F,) in their middle as a smile does, in place."""
    lips = lip_points(frames)
    profile = 1 - np.linspace(-1, 1, len(INNER_UPPER)) ** 2
    for points, share in ((INNER_UPPER, -0.4), (INNER_LOWER, 0.6), (OUTER_UPPER, -0.3), (OUTER_LOWER, 0.4)):
        places = [LIPS.index(point) for point in points]
        lips[:, places, 1] += share * gaps[:, None] * profile  # nothing at the corners, which belong to both
