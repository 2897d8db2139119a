"""Eyebrows: how the landmarks of the brows go up and down."""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import BROWS

BROW_POINTS = BROWS[0] + BROWS[1]
INNER_SHARE = np.array([0, 0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0])
"""How much a point of a brow goes with its inner end; the rest of the way is that of the outer end."""


def brow_moves(brows: np.ndarray, head: HeadPose) -> np.ndarray:
    """Displacements of `BROW_POINTS`, (20, 2) in pixels; brows: see `Motion.brows`, (4,)."""
    outer, inner = brows.reshape(2, 2, 1).transpose(1, 0, 2)
    down = (outer * (1 - INNER_SHARE) + inner * INNER_SHARE).ravel()
    return head.to_pixels(np.stack([np.zeros_like(down), down], axis=-1))
