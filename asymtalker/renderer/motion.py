"""Motion frames: what a face does in a video, without a pixel of it.

Distances are measured on the face itself: in units of the distance between the outer corners of the eyes ("eye
distances"), along axes that tilt with the face of the portrait (x to the viewer's right, y towards the chin).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asymtalker.renderer.landmarks import OUTER_EYES, RIGID

POSE = ("shift_x", "shift_y", "growth", "tilt", "turn", "nod")
DEPTH_PENALTY = 0.02
"""Ridge on turn and nod in `fit_pose`: landmarks that are almost in one plane hardly tell a turn from a shift."""


@dataclass(frozen=True)
class Motion:
    """What a face does in F frames.

    Attributes:
        lips: displacement of the lip landmarks from where they are when the mouth rests shut, (F, 40, 2) in eye
            distances, in the order of `landmarks.LIPS`.
        lids: how far the eyelids are shut, (F,), from 0 (as in the portrait) to 1.
        pose: pose of the head relative to the portrait, (F, 6), in the order of `POSE`: shift in eye distances, growth
            (0.1: a tenth larger), tilt, turn and nod in radians.
    """

    lips: np.ndarray
    lids: np.ndarray
    pose: np.ndarray

    def __len__(self) -> int:
        return len(self.lids)

    def __getitem__(self, frames: slice) -> Motion:
        return Motion(self.lips[frames], self.lids[frames], self.pose[frames])


@dataclass(frozen=True)
class FaceFrame:
    """The coordinate system of a face in a square portrait.

    Attributes:
        origin: middle between the outer corners of the eyes, (3,) in pixels.
        unit: distance between them, in pixels.
        angle: tilt of the line through them, in radians; positive is clockwise as seen.
    """

    origin: np.ndarray
    unit: float
    angle: float

    @classmethod
    def of(cls, points: np.ndarray) -> FaceFrame:
        """The frame of a face with landmarks (478, 3) in pixels."""
        left, right = points[list(OUTER_EYES)].astype(np.float64)
        across = right - left
        return cls((left + right) / 2, max(float(np.hypot(*across[:2])), 1.0), float(np.arctan2(across[1], across[0])))

    @property
    def axes(self) -> np.ndarray:
        """Rotation (2, 2) whose rows are the face's axes in pixels' directions."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return np.array([[cos, sin], [-sin, cos]])

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2 or 3) in pixels to eye distances in the face's axes."""
        local = (points - self.origin[: points.shape[-1]]) / self.unit
        return np.concatenate([local[..., :2] @ self.axes.T, local[..., 2:]], axis=-1)

    def to_pixels(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (..., 2) in the face's axes and eye distances to pixels."""
        return vectors @ self.axes * self.unit


def pose_basis(places: np.ndarray) -> np.ndarray:
    """How each number of a pose moves places of a face, to first order.

    Args:
        places: (..., 3) in eye distances.

    Returns:
        (..., 2, 6), to be multiplied by a pose (6,).
    """
    x, y, z = np.moveaxis(places, -1, 0)
    one, zero = np.ones_like(x), np.zeros_like(x)
    return np.stack(
        [np.stack([one, zero, x, -y, z, zero], axis=-1), np.stack([zero, one, y, x, zero, z], axis=-1)], axis=-2
    )


def fit_pose(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """The pose that best explains how a face's rigid landmarks move.

    Args:
        points: landmarks of the portrait, (478, 3) in pixels.
        moves: how far those of `landmarks.RIGID` are from there, (F, R, 2) in pixels.

    Returns:
        (F, 6), see `Motion.pose`.
    """
    frame = FaceFrame.of(points)
    basis = pose_basis(frame.to_face(points[list(RIGID)])).reshape(-1, 6)  # (r 2) 6
    wanted = (moves @ frame.axes.T / frame.unit).reshape(len(moves), -1)
    ridge = np.diag([0, 0, 0, 0, DEPTH_PENALTY, DEPTH_PENALTY]) * len(RIGID)
    return np.linalg.solve(basis.T @ basis + ridge, basis.T @ wanted.T).T.astype(np.float32)
