"""FaceRenderer: from a portrait of any resolution and motion frames to the frames of a video."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from asymtalker.renderer.face import Face
from asymtalker.renderer.finder import LandmarkFinder
from asymtalker.renderer.hints import CERTAIN
from asymtalker.renderer.landmarks import LIPS, Observation
from asymtalker.renderer.motion import Motion

LARGEST_LIPS = 2.5
"""How far each principal movement of the lips may go, in standard deviations."""


class FaceRenderer(ModelMixin, ConfigMixin):
    """Finds the landmarks of a portrait and moves them, in the portrait's own pixels.

    A component of `AsymTalkerPipeline` for checkpoints whose network says how a face moves rather than what it looks
    like. Its only weights are those that find landmarks, and the principal movements of lips.

    Args:
        lip_movements: how many principal movements of the lips are kept.
        locator, face, mouth, eye, rank: see `LandmarkFinder`.
    """

    _keep_in_fp32_modules = ["finder", "lips_basis", "lips_scale"]

    @register_to_config
    def __init__(
        self,
        lip_movements: int = 6,
        locator: Sequence[int] = (16, 24, 48),
        face: Sequence[int] = (16, 32, 64),
        mouth: Sequence[int] = (16, 32, 64),
        eye: Sequence[int] = (16, 24, 48),
        rank: int = 64,
    ) -> None:
        super().__init__()
        self.finder = LandmarkFinder(locator, face, mouth, eye, rank)
        self.register_buffer("lips_basis", torch.eye(lip_movements, 2 * len(LIPS)))
        self.register_buffer("lips_scale", torch.ones(lip_movements))

    @torch.no_grad()
    def observe(self, portrait: np.ndarray) -> Observation:
        """Finds the landmarks of the face in a square portrait, uint8 (S, S, 3).

        Returns:
            478 landmarks in pixels of the portrait, and how certain it is that they are a face's, from 0 to 1.
        """
        return self.finder.observe(portrait)

    def prepare(self, portrait: np.ndarray, observed: Observation, keep_smile: bool = False) -> Face:
        """Makes a square portrait, uint8 (S, S, 3), ready to be moved; for `keep_smile` see `Lips`."""
        return Face(portrait, observed.points, keep_smile, self.device)

    def render(self, portrait: np.ndarray, observed: Observation, motion: Motion) -> Iterator[np.ndarray]:
        """Yields a square portrait, uint8 (S, S, 3), as it moves: frames of the same size."""
        return self.prepare(portrait, observed).render(self.plausible(motion, observed.confidence))

    def plausible(self, motion: Motion, confidence: float = 1.0) -> Motion:
        """The motion with lips as lips can be, and less of it where the landmarks are uncertain."""
        basis, scale = self.lips_basis.cpu().float().numpy(), self.lips_scale.cpu().float().numpy()
        amounts = motion.lips.reshape(len(motion), -1) @ basis.T
        amounts = np.clip(amounts, -LARGEST_LIPS * scale, LARGEST_LIPS * scale)
        share = min(confidence / CERTAIN, 1.0)
        return Motion(share * (amounts @ basis).reshape(motion.lips.shape), share * motion.lids, share * motion.pose)
