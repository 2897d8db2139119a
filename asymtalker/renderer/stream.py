"""The face of one stream: what it does from chunk to chunk, without a jump between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asymtalker.renderer.motion import Motion

if TYPE_CHECKING:
    from asymtalker.renderer.renderer import FaceRenderer

CARRY = 0.85
"""Where a chunk begins with another pose than the last one ended with, the difference fades by this factor a frame."""
SPOKEN = 0.03
"""Lips that move farther than this, in eye distances, speak."""
RELAX = 0.9
"""Factor a frame by which speaking fades into rest."""


class FaceStream:
    """A portrait that is being moved. Two streams never share one.

    Args:
        renderer: finds the landmarks and renders.
        portrait: uint8 (S, S, 3).
        network_side: side of the network's frames, in pixels.
        keep_smile: see `asymtalker.renderer.lips.Lips`.
    """

    def __init__(self, renderer: FaceRenderer, portrait: np.ndarray, network_side: int, keep_smile: bool) -> None:
        self.observed = renderer.observe(portrait)
        self._renderer = renderer
        self._face = renderer.prepare(portrait, self.observed, keep_smile)
        middle = np.array([0.5, 0.5, 0])
        self.network_points = (self.observed.points + middle) * (network_side / portrait.shape[0]) - middle
        """The landmarks in pixels of the network's frames, (478, 3)."""
        self._poses: np.ndarray | None = None
        self._spoken = 0.0

    def render(self, motion: Motion) -> np.ndarray:
        """The frames of the next motion, uint8 (F, S, S, 3)."""
        motion = Motion(motion.lips, motion.lids, self._joined(motion.pose))
        motion = self._renderer.plausible(motion, self.observed.confidence)
        return np.stack(list(self._face.render(motion, self._rest(motion))))

    def _joined(self, poses: np.ndarray) -> np.ndarray:
        """Poses (F, 6) that go on from where the last ones ended."""
        if self._poses is not None:
            before, last = self._poses
            missing = last + (last - before) - poses[0]
            poses = poses + CARRY ** np.arange(len(poses))[:, None] * missing
        self._poses = np.concatenate([poses[:1], poses])[-2:]
        return poses

    def _rest(self, motion: Motion) -> np.ndarray:
        """How much at rest the mouth is in each frame, (F,): 0 while it speaks, rising to 1 in a silence."""
        rest = []
        for lips in motion.lips:
            speaks = min(float(np.abs(lips).max()) / SPOKEN, 1.0)
            self._spoken = max(speaks, RELAX * self._spoken)
            rest.append(1 - self._spoken)
        return np.array(rest)
