"""The pose of a head, from its landmarks: what has to be taken out of them to see what the face does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asymtalker.renderer.landmarks import OUTER_EYES, RIGID

NECK = np.array([[0.82, -1.05, 0.0], [0.0, 0.0, -0.97]])
"""How far the middle between the eyes moves to the right and down, in eye distances, for each radian of tilt, turn and
nod: heads turn about the neck. Measured on rendered people."""


@dataclass(frozen=True)
class HeadPose:
    """Where a head is in a square portrait.

    Attributes:
        rotation: (3, 3), from the face's axes (x to the viewer's right, y towards the chin, z away from the viewer) to
            the picture's.
        origin: middle between the outer corners of the eyes, (3,) in pixels.
        unit: distance between them as it would be seen from the front, in pixels: an "eye distance".
    """

    rotation: np.ndarray
    origin: np.ndarray
    unit: float

    @classmethod
    def of(cls, points: np.ndarray, skull: np.ndarray) -> HeadPose:
        """The pose that lays a skull over landmarks, by least squares (Kabsch's method, with scale).

        Args:
            points: landmarks, (478, 3) in pixels.
            skull: the landmarks `RIGID` of a mean face that looks straight ahead, (R, 3) in eye distances from the
                middle between its outer eye corners.
        """
        found = points[list(RIGID)].astype(np.float64)
        model, seen = skull - skull.mean(0), found - found.mean(0)
        left, sizes, right = np.linalg.svd(seen.T @ model)
        mirrored = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
        unit = float((sizes * mirrored).sum() / (model**2).sum())
        return cls((left * mirrored) @ right, points[list(OUTER_EYES)].mean(0).astype(np.float64), max(unit, 1e-6))

    @property
    def angles(self) -> np.ndarray:
        """Tilt (clockwise as seen), turn (to the viewer's left) and nod (upwards), (3,) in radians."""
        r = self.rotation
        return np.array(
            [np.arctan2(r[1, 0], r[0, 0]), np.arcsin(np.clip(-r[2, 0], -1, 1)), -np.arctan2(r[2, 1], r[2, 2])]
        )

    def to_face(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in pixels as they lie on the face, in eye distances."""
        return (points - self.origin) @ self.rotation / self.unit

    def to_pixels(self, vectors: np.ndarray) -> np.ndarray:
        """Vectors (..., 2) across the face, in eye distances, as they are seen: (..., 2) in pixels."""
        return vectors @ self.rotation[:2, :2].T * self.unit
