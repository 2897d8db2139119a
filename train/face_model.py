"""A linear face model: expression units and a person become motion frames, without a renderer.

    python -m train.face_model data/corpus train/face_model.safetensors

The command measures it: MediaPipe's face mesh looks at frames of a dataset of rendered people whose expression units
and head pose are known (`truth/*.npz` beside the clips), and least squares tell how each unit moves the channels of a
motion frame, person by person; what is left is what distinguishes people.
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from asymtalker.media.video import read_frames
from asymtalker.metrics.face_mesh import FaceMesh
from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import OUTER_EYES, RIGID
from asymtalker.renderer.motion_frame import (
    BROW_CHANNELS,
    CHANNELS,
    CHIN_CHANNELS,
    EYE_CHANNELS,
    GAZE_CHANNELS,
    LIP_CHANNELS,
    LOWER,
    POSE_CHANNELS,
    UPPER,
    lip_gaps,
    lip_points,
    measure,
)
from train.config import start_logging

logger = logging.getLogger(__name__)

FRAMES_A_CLIP = 20
FRONTAL = 3.0
"""The first guess at the skull is the mean of heads that are turned by less than this, in degrees."""
ROUNDS = 4
PEOPLE = 16
"""Principal differences between people that are kept."""
RIDGE = 1e-5
POSE_SIGNS = np.array([-1.0, -1.0, -1.0])
"""Of roll, yaw and pitch in the truth, to tilt, turn and nod."""


class Seen(NamedTuple):
    """Landmarks of frames of people whose expression is known.

    Attributes:
        clip: number of the clip, (N,).
        points: (N, 478, 3) in pixels.
        units: expression units, (N, U).
        pose: pitch, yaw and roll, (N, 3) in degrees.
        gaze: to the side and up, (N, 2) in degrees.
    """

    clip: np.ndarray
    points: np.ndarray
    units: np.ndarray
    pose: np.ndarray
    gaze: np.ndarray


@dataclass(frozen=True)
class FaceModel:
    """Attributes:
    unit_names: of the expression units.
    skull: the landmarks `RIGID` of the mean face, (R, 3), see `HeadPose.of`.
    mean: the mean face's motion frame at rest, (93,); in the pose channels 0.
    units: how each unit moves a motion frame, (U, 93).
    gaze: the same for a degree of gaze to the side and up, (2, 93).
    people: principal differences between people at rest, each a standard deviation, (P, 93).
    """

    unit_names: tuple[str, ...]
    skull: np.ndarray
    mean: np.ndarray
    units: np.ndarray
    gaze: np.ndarray
    people: np.ndarray

    @classmethod
    def load(cls, path: str | Path) -> "FaceModel":
        """Reads a face model.

        Raises:
            ValueError: the file is none, or has other channels than motion frames have now.
        """
        try:
            with safe_open(path, "numpy") as file:
                names = tuple(json.loads(file.metadata()["unit_names"]))
                arrays = {name: file.get_tensor(name) for name in ("skull", "mean", "units", "gaze", "people")}
        except (OSError, KeyError, TypeError, SafetensorError) as error:
            raise ValueError(f"{path} is not a face model (`python -m train.face_model` makes one): {error}") from error
        if arrays["mean"].shape != (CHANNELS,):
            found = arrays["mean"].shape
            raise ValueError(f"{path} is of motion frames of shape {found}, not ({CHANNELS},): measure it anew.")
        return cls(names, **arrays)

    def save(self, path: str | Path) -> None:
        """Writes a safetensors file."""
        names = ("skull", "mean", "units", "gaze", "people")
        arrays = {name: np.ascontiguousarray(getattr(self, name), np.float32) for name in names}
        save_file(arrays, path, metadata={"unit_names": json.dumps(self.unit_names)})

    def frames(
        self, units: np.ndarray, pose: np.ndarray, gaze: np.ndarray, person: np.ndarray, effort: float = 1.0
    ) -> np.ndarray:
        """Motion frames (F, 93) of a person.

        Args:
            units: (F, U).
            pose: pitch, yaw and roll, (F, 3) in degrees.
            gaze: to the side and up, (F, 2) in degrees.
            person: numbers of the principal differences, (P,), standard normal.
            effort: how far lips and jaw move, as a share of what the units say.
        """
        moves = units @ self.units
        moves[:, LIP_CHANNELS] *= effort
        moves[:, CHIN_CHANNELS] *= effort
        frames = self.mean + person @ self.people + moves + gaze @ self.gaze
        frames[:, POSE_CHANNELS] = np.radians(pose[:, ::-1] * POSE_SIGNS)
        part_lips(frames)
        return frames.astype(np.float32)


def part_lips(frames: np.ndarray, least: float = 0.0, most: float = np.inf) -> None:
    """Has the inner lips of motion frames (F, 93) at least `least` and at most `most` eye distances apart, in place."""
    lips, gap = lip_points(frames), lip_gaps(frames)
    missing = np.clip(gap, least, most) - gap
    lips[:, LOWER, 1] += missing / 2
    lips[:, UPPER, 1] -= missing / 2


def look_at_clips(dataset: Path) -> Seen:
    """Landmarks of frames of all clips of a folder that has their truth.

    Raises:
        MetricUnavailableError: there is no face mesh.
    """
    rows = [json.loads(line) for line in (dataset / "metadata.jsonl").read_text().splitlines()]
    seen = []
    with FaceMesh() as mesh:
        for number, row in enumerate(tqdm(rows, desc="clips")):
            frames = list(read_frames(str(dataset / row["file_name"])))
            chosen = np.unique(np.linspace(2, len(frames) - 3, FRAMES_A_CLIP).astype(int))
            mesh.reset()
            points = mesh.landmarks(np.stack([frames[index] for index in chosen]))
            truth = np.load(dataset / "truth" / f"{Path(row['file_name']).stem}.npz")
            found = np.isfinite(points).all((1, 2))
            known = (truth[name][chosen][found].astype(np.float64) for name in ("units", "head_pose_deg", "gaze_deg"))
            seen.append((np.full(found.sum(), number), points[found].astype(np.float64), *known))
    return Seen(*(np.concatenate(parts) for parts in zip(*seen, strict=True)))


def fit_skull(seen: Seen) -> np.ndarray:
    """The mean of heads (R, 3) as they are with their pose taken out, which is found by means of it."""
    eyes = seen.points[:, list(OUTER_EYES)]
    unit = np.linalg.norm(eyes[:, 1] - eyes[:, 0], axis=1)
    heads = (seen.points[:, list(RIGID)] - eyes.mean(1, keepdims=True)) / unit[:, None, None]
    skull = _with_unit_eyes(heads[np.abs(seen.pose).max(1) < FRONTAL].mean(0))
    for _ in range(ROUNDS):
        faces = [HeadPose.of(points, skull).to_face(points[list(RIGID)]) for points in seen.points]
        skull = _with_unit_eyes(np.mean(faces, axis=0))
    return skull


def fit(seen: Seen, unit_names: tuple[str, ...]) -> FaceModel:
    """The face model of what was seen."""
    skull = fit_skull(seen)
    frames = np.stack([measure(points, HeadPose.of(points, skull)) for points in seen.points]).astype(np.float64)
    known = np.concatenate([seen.units, seen.gaze, seen.pose], axis=1)
    people, inverse = np.unique(seen.clip, return_inverse=True)
    means = [np.stack([values[inverse == n].mean(0) for n in range(len(people))]) for values in (known, frames)]
    apart, moved = known - means[0][inverse], frames - means[1][inverse]
    ridge = RIDGE * len(apart) * np.eye(known.shape[1])
    effects = np.linalg.solve(apart.T @ apart + ridge, apart.T @ moved)
    explained = 1 - np.square(moved - apart @ effects)[:, LIP_CHANNELS].sum() / np.square(moved)[:, LIP_CHANNELS].sum()
    logger.info("expression units explain %.3f of how lips move", explained)
    count = len(unit_names)
    rest = means[1] - means[0] @ effects
    rest[:, POSE_CHANNELS] = 0
    part_lips(rest, 0.0, 0.0)
    mean, effects = rest.mean(0), effects * _sensible(unit_names)
    _, sizes, right = np.linalg.svd(rest - mean, full_matrices=False)
    principal = sizes[:PEOPLE, None] / np.sqrt(len(rest)) * right[:PEOPLE]
    return FaceModel(unit_names, skull, mean, effects[:count], effects[count : count + 2], principal)


def _sensible(unit_names: tuple[str, ...]) -> np.ndarray:
    """1 where a unit, the gaze or the pose can move a channel and 0 where what was found comes from what else moved at
    the same time, (U + 5, 93)."""
    lips, eyes, brows, gaze = np.zeros((4, CHANNELS))
    lips[LIP_CHANNELS], lips[CHIN_CHANNELS], eyes[EYE_CHANNELS] = 1, 1, 1
    brows[BROW_CHANNELS], gaze[GAZE_CHANNELS] = 1, 1
    rows = [
        brows if "Brow" in name else eyes if "Lid" in name else np.zeros(CHANNELS) if "Tongue" in name else lips
        for name in unit_names
    ]
    return np.stack([*rows, gaze, gaze, *np.zeros((3, CHANNELS))])


def _with_unit_eyes(skull: np.ndarray) -> np.ndarray:
    """A skull whose outer eye corners are 1 apart, with the middle between them at the origin."""
    left, right = skull[[RIGID.index(point) for point in OUTER_EYES]]
    return (skull - (left + right) / 2) / np.linalg.norm(right - left)


def main() -> None:
    start_logging()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of clips with metadata.jsonl and truth/")
    parser.add_argument("output", type=Path, help="file to write")
    args = parser.parse_args()
    first = next((args.dataset / "truth").glob("*.npz"))
    fit(look_at_clips(args.dataset), tuple(map(str, np.load(first)["unit_names"]))).save(args.output)


if __name__ == "__main__":
    main()
