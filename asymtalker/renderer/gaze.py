"""Gaze: the irises are shifted behind the lids, which stay."""

from __future__ import annotations

import cv2
import numpy as np

from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import EYES, IRISES

LARGEST = 0.05
"""How far irises may go, in eye distances: beyond, white would have to be shown that the portrait does not have."""
REACH = 2.2
"""The white around an iris is stretched up to so many of its radii from its centre."""
EDGE = 0.15
"""Softness of the lids' edge, in radii of the iris."""


class Gaze:
    """The eyes of one portrait.

    Args:
        image: uint8 (S, S, 3).
        points: its landmarks, (478, 3) in pixels.
        head: pose of the head in it.
    """

    def __init__(self, image: np.ndarray, points: np.ndarray, head: HeadPose) -> None:
        self._image, self._head = image, head
        self._eyes = [
            _Iris(points[list(ring), :2], points[list(iris), :2], image.shape[0])
            for ring, iris in zip(EYES, IRISES, strict=True)
        ]

    def draw(self, gaze: np.ndarray) -> np.ndarray:
        """The portrait as it looks elsewhere: uint8 (S, S, 3).

        Args:
            gaze: how far the irises are shifted, (2,) in eye distances.
        """
        shift = self._head.to_pixels(gaze.clip(-LARGEST, LARGEST))
        image = self._image.copy()
        for eye in self._eyes:
            eye.shift(image, self._image, shift)
        return image


class _Iris:
    def __init__(self, ring: np.ndarray, iris: np.ndarray, side: int) -> None:
        self._centre, self._radius = iris[0], max(float(np.linalg.norm(iris[1:] - iris[0], axis=1).mean()), 1.0)
        low, high = np.clip([np.floor(ring.min(0)), np.ceil(ring.max(0)) + 1], 0, side).astype(int)
        self._box = (*low, *high)
        left, top, right, bottom = self._box
        x, y = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32))
        self._places = np.stack([x, y], axis=-1)
        inside = np.zeros((max(bottom - top, 0), max(right - left, 0)), np.uint8)
        if inside.size:
            cv2.fillPoly(inside, [np.round((ring - low) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
            blurred = cv2.GaussianBlur(inside, (0, 0), max(EDGE * self._radius, 0.3))
            self._inside = (np.minimum(inside, blurred) / np.float32(255))[..., None]

    def shift(self, image: np.ndarray, portrait: np.ndarray, way: np.ndarray) -> None:
        """Shifts the iris in `image`, in place, by (2,) pixels."""
        left, top, right, bottom = self._box
        if right <= left or bottom <= top:
            return
        away = np.linalg.norm(self._places - (self._centre + way), axis=-1) / self._radius
        share = np.clip((REACH - away) / (REACH - 1), 0, 1)
        x, y = cv2.split((self._places - share[..., None] * way).astype(np.float32))
        moved = cv2.remap(portrait, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        patch = image[top:bottom, left:right]
        patch[:] = (patch + self._inside * (moved.astype(np.float32) - patch)).round().clip(0, 255)
