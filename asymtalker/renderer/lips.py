"""How lips and jaw move: from a motion frame to displacements of landmarks."""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.landmarks import CHIN, LIPS, LIPS_INNER, LIPS_OUTER
from asymtalker.renderer.motion import FaceFrame

OUTER_LOWER, INNER_LOWER = LIPS_OUTER[:11], LIPS_INNER[:11]
OUTER_UPPER, INNER_UPPER = ((ring[0], *ring[:10:-1], ring[10]) for ring in (LIPS_OUTER, LIPS_INNER))
"""From corner to corner, in the same direction; each point of one lies opposite that of another."""

HEARD_LIPS = (*OUTER_LOWER, *OUTER_UPPER[1:-1], *INNER_LOWER, *INNER_UPPER[1:-1])
"""The lip landmarks in the order in which speech encoders learn them and networks hear them."""

# Landmarks that go with the jaw, and their share of its movement: the chin nearly all of it, the jaw's angle little.
JAW = {
    **dict.fromkeys((199, 200, 175), 0.9),
    **dict.fromkeys((152, 148, 377), 0.85),
    **dict.fromkeys((176, 400), 0.8),
    **dict.fromkeys((149, 378), 0.7),
    **dict.fromkeys((150, 379), 0.55),
    **dict.fromkeys((136, 365), 0.4),
    **dict.fromkeys((172, 397), 0.25),
    **dict.fromkeys((58, 288), 0.1),
}
UPPER_SHARE = 0.25
"""Of the gap between parted lips that the upper lip closes; the lower one closes the rest."""
SMILE, SMILE_SHARE = 0.08, 0.3
"""A portrait's lips are drawn apart so far, in eye distances, with only this share of it due to the jaw: that is a
smile. What they are farther apart is the jaw's doing."""


SOFT = 0.012
"""Lips touch while their landmarks are still so far apart, in eye distances: the landmarks lie on the rims of what is
soft, and without this a mouth would never be quite shut."""


def split_lips() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Landmarks of the upper and of the lower lip; the corners belong to both."""
    return (*OUTER_UPPER, *INNER_UPPER), (*OUTER_LOWER, *INNER_LOWER)


def shut_moves(points: np.ndarray) -> np.ndarray:
    """What shuts the mouth of a portrait: displacements of its landmarks, (478, 2) in pixels; zero but for the lips.

    Each point of the inner lips meets the one opposite it, and the outer lips go along.
    """
    moves = np.zeros((len(points), 2))
    upper, lower = list(INNER_UPPER), list(INNER_LOWER)
    gap = points[lower, :2] - points[upper, :2]
    below = FaceFrame.of(points).axes[1]
    gap[gap @ below < 0] = 0  # landmarks of shut lips may lie the other way round
    moves[upper], moves[lower] = UPPER_SHARE * gap, (UPPER_SHARE - 1) * gap
    moves[list(OUTER_UPPER)], moves[list(OUTER_LOWER)] = moves[upper], moves[lower]
    return moves


class Lips:
    """The lips and the jaw of one portrait.

    Args:
        points: landmarks of the portrait, (478, 3) in pixels.
        keep_smile: where lips rest, leave them as the portrait has them rather than shut.
    """

    def __init__(self, points: np.ndarray, keep_smile: bool = False) -> None:
        self._points, self._frame = points, FaceFrame.of(points)
        self._shut = shut_moves(points)
        self._keep_smile = keep_smile
        self._upper, self._lower = list(INNER_UPPER), list(INNER_LOWER)

    def moves(self, lips: np.ndarray, rest: float = 0.0) -> np.ndarray:
        """Displacements of the portrait's landmarks, (478, 2) in pixels: those of the lips, and of the jaw with them.

        Args:
            lips: (40, 2), see `Motion.lips`.
            rest: how much at rest the mouth is, from 0 to 1; counts where the smile is kept.
        """
        shut = self._shut * (1 - rest * self._keep_smile)
        spoken = np.zeros_like(shut)
        spoken[list(LIPS)] = self._frame.to_pixels(lips)
        moves = shut + spoken
        self._keep_apart(moves)
        drop = self._jaw_drop(spoken) + self._jaw_lift(self._jaw_drop(moves - spoken))
        for point, share in JAW.items():
            moves[point] = share * drop
        return moves

    def jaw(self, moves: np.ndarray) -> np.ndarray:
        """How far the jaw has dropped, (2,) in pixels, of displacements as `moves` gives them."""
        return moves[CHIN] / JAW[CHIN]

    def _jaw_drop(self, moves: np.ndarray) -> np.ndarray:
        return moves[[14, 17]].mean(0)

    def _jaw_lift(self, lift: np.ndarray) -> np.ndarray:
        """The jaw's share, (2,), in what shuts the portrait's mouth, (2,) in pixels."""
        far = float(np.hypot(*lift)) / self._frame.unit
        return lift * (1 - min(far, SMILE) / max(far, 1e-6) * (1 - SMILE_SHARE))

    def _keep_apart(self, moves: np.ndarray) -> None:
        """Brings the inner lips nearer to each other by what is soft in them; those that touch meet halfway."""
        upper, lower = (self._points[half, :2] + moves[half] for half in (self._upper, self._lower))
        gap = (lower - upper) @ self._frame.axes[1]
        nearer = np.minimum(gap, SOFT * self._frame.unit)[:, None] * self._frame.axes[1]
        moves[self._upper] += nearer / 2
        moves[self._lower] -= nearer / 2
