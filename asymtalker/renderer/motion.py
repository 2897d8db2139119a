"""What a face does in a video, as the renderer takes it.

Distances are measured on the face itself: in units of the distance between the outer corners of the eyes ("eye
distances"), along axes that tilt with the face of the portrait (x to the viewer's right, y towards the chin).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asymtalker.renderer.landmarks import OUTER_EYES

POSE = ("shift_x", "shift_y", "growth", "tilt", "turn", "nod")


@dataclass(frozen=True)
class Motion:
    """What a face does in F frames, as against its portrait.

    Attributes:
        lips: how far the lip landmarks go, (F, 40, 2) in eye distances across the face, in the order of
            `landmarks.LIPS`.
        gaps: how far apart the inner lips are, from corner to corner, (F, 11) in eye distances; not as against the
            portrait: 0 is a shut mouth, whatever the portrait shows.
        chin: how far the chin goes, (F, 2) in eye distances across the face.
        lids: how far the eyelids are shut, (F,), from 0 (as in the portrait) to 1.
        brows: how far the outer and the inner end of the right brow and of the left go down, (F, 4) in eye distances.
        gaze: how far the irises go, (F, 2) in eye distances across the face.
        pose: pose of the head, (F, 6), in the order of `POSE`: shift in eye distances, growth (0.1: a tenth larger),
            tilt, turn and nod in radians.
        share: how much of all that is shown, (F,): 0 is the portrait as it is.
    """

    lips: np.ndarray
    gaps: np.ndarray
    chin: np.ndarray
    lids: np.ndarray
    brows: np.ndarray
    gaze: np.ndarray
    pose: np.ndarray
    share: np.ndarray

    def __len__(self) -> int:
        return len(self.lids)


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
