"""How lips and jaw move: from a motion frame to displacements of landmarks."""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import CHIN, LIPS, LIPS_INNER, LIPS_OUTER, POINTS

OUTER_LOWER, INNER_LOWER = LIPS_OUTER[:11], LIPS_INNER[:11]
OUTER_UPPER, INNER_UPPER = ((ring[0], *ring[:10:-1], ring[10]) for ring in (LIPS_OUTER, LIPS_INNER))
"""From corner to corner, in the same direction; each point of one lies opposite that of another."""

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
CHIN_SEEN = 0.55
"""Share of the jaw's way that the face mesh sees the chin go."""
OUTER_SHARE = 0.7
"""Of what parts the inner lips or brings them together beyond their own motion, the outer lips' share."""
SOFT = 0.012
"""Lips touch while their landmarks are still so far apart, in eye distances: the landmarks lie on the rims of what is
soft, and without this a mouth would never be quite shut."""


def split_lips() -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Landmarks of the upper and of the lower lip; the corners belong to both."""
    return (*OUTER_UPPER, *INNER_UPPER), (*OUTER_LOWER, *INNER_LOWER)


class Lips:
    """The lips and the jaw of one portrait.

    Args:
        points: landmarks of the portrait, (478, 3) in pixels.
        head: pose of the head in it.
    """

    def __init__(self, points: np.ndarray, head: HeadPose) -> None:
        self._head = head
        upper, lower = points[list(INNER_UPPER), :2], points[list(INNER_LOWER), :2]
        self._down = head.to_pixels(np.array([0.0, 1.0]))
        self._gaps = (lower - upper) @ self._down / (self._down @ self._down)

    def moves(self, lips: np.ndarray, gaps: np.ndarray, chin: np.ndarray, share: float = 1.0) -> np.ndarray:
        """Displacements of the portrait's landmarks, (478, 2) in pixels: those of the lips, and of the jaw with them.

        Args:
            lips, gaps, chin, share: see `Motion`; (40, 2), (11,), (2,).
        """
        moves = np.zeros((POINTS, 2))
        moves[list(LIPS)] = self._head.to_pixels(share * lips)
        self._part(moves, self._gaps + share * ((gaps - SOFT).clip(min=0) - self._gaps))
        drop = self._head.to_pixels(share / CHIN_SEEN * chin)
        for point, part in JAW.items():
            moves[point] = part * drop
        return moves

    def jaw(self, moves: np.ndarray) -> np.ndarray:
        """How far the jaw has dropped, (2,) in pixels, of displacements as `moves` gives them."""
        return moves[CHIN] / JAW[CHIN]

    def _part(self, moves: np.ndarray, gaps: np.ndarray) -> None:
        """Has the inner lips so far apart, (11,) in eye distances; the outer lips go along."""
        upper, lower = list(INNER_UPPER), list(INNER_LOWER)
        now = self._gaps + (moves[lower] - moves[upper]) @ self._down / (self._down @ self._down)
        missing = (gaps - now)[:, None] * self._down / 2
        for inner, outer, way in ((upper, list(OUTER_UPPER), -missing), (lower, list(OUTER_LOWER), missing)):
            moves[inner] += way
            moves[outer] += OUTER_SHARE * way
