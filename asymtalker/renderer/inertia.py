"""What has mass: heads and brows go the smoothest way near the one that they are told."""

from __future__ import annotations

import numpy as np

STIFFNESS = 3.0
"""How much a squared acceleration counts beside a squared distance from what is wanted. Latent frames are decoded one
by one, and a head is off by some thousandths of a radian from one to the next; real ones accelerate by one of them."""


class Inertia:
    """Smooths movements piece by piece, as a Whittaker smoother of the second order does, without a seam.

    Of every piece the smoothest way near the wanted one is taken, which goes on from where the last piece ended and as
    fast as it did. Nothing lags behind: what comes later in a piece is seen.

    Args:
        at: (D,), where it rests before the first piece.
        stiffness: see `STIFFNESS`.
    """

    def __init__(self, at: np.ndarray, stiffness: float = STIFFNESS) -> None:
        self._past = np.stack([at, at])
        self._stiffness = stiffness

    def follow(self, wanted: np.ndarray) -> np.ndarray:
        """The way taken near the wanted one, (F, D) each."""
        frames = len(wanted)
        accelerations = np.diff(np.eye(frames + 2), n=2, axis=0)  # (F, F + 2): of the last two frames and these
        before, now = accelerations[:, :2], self._stiffness * accelerations[:, 2:]
        way = np.linalg.solve(np.eye(frames) + now.T @ accelerations[:, 2:], wanted - now.T @ before @ self._past)
        self._past = np.concatenate([self._past, way])[-2:]
        return way
