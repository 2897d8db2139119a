"""Where the mouth is in a portrait."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from asymtalker.renderer.landmarks import OUTER_EYES, UPPER_LIP

LOWER_RING, UPPER_RING = list(range(11)), [0, *range(19, 9, -1)]
"""Of `LIPS_INNER`: edges of the lower and of the upper lip, from the viewer's left corner to the right."""
EARS = 234, 454
"""Where the oval of the face is widest."""


class MouthFrame(NamedTuple):
    """Coordinates of a mouth that go with the skull: u to the viewer's right and v down, in eye distances.

    Attributes:
        origin: middle of the edge of the upper lip, (2,) in pixels.
        axes: directions of u and v in pixels, (2, 2).
        unit: distance of the outer corners of the eyes, in pixels.
        turn: of the head to the viewer's right, in radians.
    """

    origin: np.ndarray
    axes: np.ndarray
    unit: float
    turn: float

    @classmethod
    def of(cls, points: np.ndarray) -> Self:
        """The frame of a face with landmarks (478, 3) in pixels."""
        points = points.astype(np.float64)
        left, right = points[list(OUTER_EYES)]
        (near, far), across = points[list(EARS)], (right - left)[:2]
        flat = float(np.hypot(*across))
        cos, sin = across / flat if flat > 0 else (1.0, 0.0)
        turn = float(np.arctan2(far[2] - near[2], max(np.hypot(*(far - near)[:2]), 1.0)))
        unit = max(flat / max(np.cos(turn), 0.5), 1.0)  # as wide as the eyes would be seen from the front
        return cls(points[UPPER_LIP, :2], np.array([[cos, sin], [-sin, cos]]), unit, turn)

    def to_face(self, places: np.ndarray) -> np.ndarray:
        """Places (..., 2) in pixels to u and v."""
        return (places - self.origin) @ self.axes.T / self.unit

    def to_pixels(self, places: np.ndarray) -> np.ndarray:
        """Places (..., 2), u and v, to pixels."""
        return places @ self.axes * self.unit + self.origin
