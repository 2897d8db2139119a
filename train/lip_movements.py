"""The principal movements of lips, from labelled frames of people who speak."""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER, OUTER_LOWER, OUTER_UPPER
from asymtalker.renderer.motion import FaceFrame

LARGEST = 0.5
"""Lips that are farther than this from where they rest, in eye distances, were not found rightly."""
MIRRORED = [
    LIPS.index(opposite)
    for point in LIPS
    for row in (OUTER_LOWER, OUTER_UPPER[1:-1], INNER_LOWER, INNER_UPPER[1:-1])
    for left, opposite in zip(row, row[::-1], strict=True)
    if left == point
]
"""Which lip landmark is where another one is in a mirror, (40,)."""


def lip_movements(clip: np.ndarray) -> np.ndarray:
    """How far the lips are in each frame of a clip from where they rest.

    Args:
        clip: landmarks of one person's frames, (F, 478, 3) in pixels. The frame whose mouth is open least shows rest.

    Returns:
        (F, 40, 2) in eye distances, in the order of `LIPS`.
    """
    faces = np.stack([FaceFrame.of(points).to_face(points[:, :2]) for points in clip])
    opening = (faces[:, list(INNER_LOWER), 1] - faces[:, list(INNER_UPPER), 1]).mean(1)
    lips = faces[:, list(LIPS)]
    return lips - lips[opening.argmin()]


def principal_movements(movements: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The principal components of lip movements that are alike on both sides of the face, as those of speech are; what
    differs between them comes mostly from a head that turns.

    Args:
        movements: (N, 40, 2) in eye distances.
        count: how many are kept.

    Returns:
        Orthonormal movements (count, 80), and the standard deviation of each.

    Raises:
        ValueError: no movements are left to go by.
    """
    movements = movements[np.abs(movements).max((1, 2)) < LARGEST]
    if not len(movements):
        raise ValueError("The clips show no moving lips: are their landmarks right?")
    flat = ((movements + mirrored(movements)) / 2).reshape(len(movements), -1)
    variances, components = np.linalg.eigh(flat.T @ flat / len(flat))
    return components[:, ::-1][:, :count].T, np.sqrt(variances[::-1][:count].clip(min=0))


def mirrored(movements: np.ndarray) -> np.ndarray:
    """Movements (N, 40, 2) as a mirror shows them."""
    return movements[:, MIRRORED] * [-1, 1]
