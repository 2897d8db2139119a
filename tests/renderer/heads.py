"""Heads made by hand, whose pose and parts are known."""

import numpy as np

from asymtalker.renderer.landmarks import (
    CHIN,
    LIPS_INNER,
    LIPS_OUTER,
    LOWER_LIDS,
    OUTER_EYES,
    POINTS,
    RIGID,
    UPPER_LIDS,
)


def rotation(tilt: float, turn: float, nod: float) -> np.ndarray:
    """A head's rotation (3, 3) from its angles in radians, see `HeadPose.angles`.

    x goes to the viewer's right, y down, z away: tilted clockwise, turned to the viewer's left, nodded upwards.
    """
    (ct, st), (cy, sy), (cn, sn) = ((np.cos(angle), np.sin(angle)) for angle in (tilt, turn, nod))
    about_z = np.array([[ct, -st, 0], [st, ct, 0], [0, 0, 1]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cn, sn], [0, -sn, cn]])
    return about_z @ about_y @ about_x


def skull_of(rng: np.random.Generator) -> np.ndarray:
    """Landmarks (478, 3) of a face at rest that looks straight ahead, in eye distances from between its eyes."""
    points = rng.uniform([-0.8, -0.8, -0.3], [0.8, 1.0, 0.5], (POINTS, 3))
    points[list(OUTER_EYES)] = (-0.5, 0, 0), (0.5, 0, 0)
    across = np.linspace(-0.25, 0.25, 11)
    for ring, wide in ((LIPS_OUTER, 0.06), (LIPS_INNER, 0.0)):
        arch = wide * (1 - (across / 0.25) ** 2)
        points[list(ring[:11])] = np.stack([across, 0.8 + arch, 0 * across], axis=1)
        points[[ring[0], *ring[:10:-1], ring[10]]] = np.stack([across, 0.8 - arch, 0 * across], axis=1)
    lids = np.concatenate([np.linspace(-0.45, -0.2, 7), np.linspace(0.45, 0.2, 7)])
    points[list(UPPER_LIDS)] = np.stack([lids, 0 * lids - 0.06, 0 * lids], axis=1)
    points[list(LOWER_LIDS)] = np.stack([lids, 0 * lids + 0.06, 0 * lids], axis=1)
    points[CHIN] = 0, 1.3, 0.1
    assert not set(RIGID) & {*LIPS_OUTER, *LIPS_INNER, *UPPER_LIDS, *LOWER_LIDS, CHIN}
    return points
