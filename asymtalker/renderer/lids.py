"""Eyelids: the skin above an eye is stretched over it, while the eye stays where it is."""

from __future__ import annotations

import cv2
import numpy as np

from asymtalker.renderer.landmarks import LOWER_LIDS, UPPER_LIDS
from asymtalker.renderer.motion import FaceFrame

# All in eye distances.
SKIN = 0.08  # height of the skin that is stretched: between the crease and the lid's edge
RIM = 0.02  # of it next to the edge: lashes and what the landmarks miss, which is not stretched
OVERLAP = 0.02  # how far the shut lid reaches beyond the lower one: landmarks are not exact
REACH = 0.035  # how far beside a landmark the lid is known
EDGE = 0.004  # softness of the lid's edge
LASH_WIDTH = 0.010  # half the height of the lashes on it
LASHES = 0.5  # share of the light that is lost in them
MARGIN = 0.12  # of the box around an eye that is drawn anew


class Lids:
    """The eyelids of one portrait.

    Args:
        image: uint8 (S, S, 3).
        points: its landmarks, (478, 3) in pixels.
    """

    def __init__(self, image: np.ndarray, points: np.ndarray) -> None:
        self._image = image
        frame, half = FaceFrame.of(points), len(UPPER_LIDS) // 2
        pairs = [(UPPER_LIDS[part], LOWER_LIDS[part]) for part in (slice(half), slice(half, None))]
        self._eyes = [_Eye(points[list(upper)], points[list(lower)], frame, image.shape[0]) for upper, lower in pairs]

    def draw(self, image: np.ndarray, shut: float) -> np.ndarray:
        """Lowers the eyelids of the portrait, which may look elsewhere, in place; uint8 (S, S, 3).

        Args:
            shut: how far, from 0 to 1.
        """
        if shut <= 0:
            return image
        for eye in self._eyes:
            eye.lower(image, self._image, shut)
        return image


class _Eye:
    def __init__(self, upper: np.ndarray, lower: np.ndarray, frame: FaceFrame, side: int) -> None:
        self._unit, self._down = frame.unit, frame.axes[1].astype(np.float32)
        corners = np.concatenate([upper[:, :2], lower[:, :2]])
        reach = np.array([MARGIN, MARGIN]) * frame.unit
        low, high = np.clip([corners.min(0) - reach, corners.max(0) + reach], 0, side)
        self._box = (*np.floor(low).astype(int), *np.ceil(high).astype(int))
        left, top, right, bottom = self._box
        x, y = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32))
        self._places = np.stack([x, y], axis=-1)
        along, across = np.moveaxis(self._places @ frame.axes.T.astype(np.float32), -1, 0)
        edge, below = upper[:, :2] @ frame.axes.T, lower[:, :2] @ frame.axes.T
        near = np.exp(-0.5 * ((along[..., None] - edge[:, 0]) / (REACH * self._unit)) ** 2)
        total = near.sum(-1)
        self._below_edge = across - near @ edge[:, 1] / (total + 1e-6)
        gap = (below - edge)[:, 1].clip(min=0) + (RIM + OVERLAP) * self._unit
        # Beside the eye the lid comes to an end: what is far from all landmarks is not lowered.
        self._way = near @ gap / (total + 0.05)
        self._open = float(gap.max())

    def lower(self, image: np.ndarray, portrait: np.ndarray, shut: float) -> None:
        """Lowers the lid in `image`, in place."""
        left, top, right, bottom = self._box
        if right <= left or bottom <= top:
            return
        lowered, skin = shut * self._way, (SKIN - RIM) * self._unit
        below_top = self._below_edge + SKIN * self._unit
        up = below_top.clip(min=0) * lowered / (skin + lowered)
        above_edge = skin + lowered - below_top
        covers = 1 / (1 + np.exp(-np.clip(above_edge / (EDGE * self._unit), -30, 30)))
        covers *= np.clip(lowered / (0.01 * self._unit), 0, 1) * (below_top > 0)
        lash = np.exp(-0.5 * (above_edge / (LASH_WIDTH * self._unit) - 1) ** 2) * lowered / self._open
        x, y = cv2.split((self._places - up[..., None] * self._down).astype(np.float32))
        lid = cv2.remap(portrait, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        lid *= 1 - LASHES * lash[..., None]
        patch = image[top:bottom, left:right]
        patch[:] = (patch + covers[..., None] * (lid - patch)).round().clip(0, 255)
