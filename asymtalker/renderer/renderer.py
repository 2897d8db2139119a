"""FaceRenderer: from a portrait of any resolution and motion frames to the frames of a video."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config

from asymtalker.renderer.face import Face
from asymtalker.renderer.finder import LandmarkFinder
from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import RIGID, Observation
from asymtalker.renderer.motion import Motion
from asymtalker.renderer.motion_frame import CHANNELS, measure, normalize

REMEMBERED = 2
"""Faces that stay ready to be moved."""


class FaceRenderer(ModelMixin, ConfigMixin):
    """Finds the landmarks of a portrait, tells what its face looks like, and moves it in the portrait's own pixels.

    A component of `AsymTalkerPipeline` for checkpoints whose latents are of motion frames rather than of pictures. Its
    only weights are those that find landmarks; beside them it knows the mean face, from which motion frames are
    measured.

    Args:
        locator, face, mouth, eye, rank: see `LandmarkFinder`.
        sample_size: side in pixels of the square that is rendered for measurements, and at least for a face that is
            shown smaller.
    """

    _keep_in_fp32_modules = ["finder", "skull", "mean_frame"]

    @register_to_config
    def __init__(
        self,
        locator: Sequence[int] = (16, 24, 48),
        face: Sequence[int] = (16, 32, 64),
        mouth: Sequence[int] = (16, 32, 64),
        eye: Sequence[int] = (16, 24, 48),
        rank: int = 64,
        sample_size: int = 256,
    ) -> None:
        super().__init__()
        self.finder = LandmarkFinder(locator, face, mouth, eye, rank)
        self.register_buffer("skull", torch.randn(len(RIGID), 3, generator=torch.Generator().manual_seed(0)))
        self.register_buffer("mean_frame", torch.zeros(CHANNELS))
        self._faces: dict[bytes, Face] = {}

    def adopt(self, skull: np.ndarray, mean_frame: np.ndarray) -> None:
        """Takes over a mean face: the landmarks `RIGID` of its head, (R, 3), and its motion frame, (93,)."""
        self.skull.copy_(torch.from_numpy(skull))
        self.mean_frame.copy_(torch.from_numpy(mean_frame))

    @torch.no_grad()
    def observe(self, portrait: np.ndarray) -> Observation:
        """Finds the landmarks of the face in a square portrait, uint8 (S, S, 3).

        Returns:
            478 landmarks in pixels of the portrait, and how certain it is that they are a face's, from 0 to 1.
        """
        return self.finder.observe(portrait)

    def head_pose(self, observed: Observation) -> HeadPose:
        """How the head of a portrait is turned."""
        return HeadPose.of(observed.points, self.skull.cpu().double().numpy())

    def motion_frame(self, observed: Observation) -> torch.Tensor:
        """The motion frame of a portrait as the autoencoder takes it: (93, 1, 1), normalised."""
        frame = measure(observed.points, self.head_pose(observed))
        return torch.from_numpy(normalize(frame, self.mean_frame.cpu().float().numpy()))[:, None, None]

    def prepare(self, portrait: np.ndarray, observed: Observation) -> Face:
        """Makes a square portrait, uint8 (S, S, 3), ready to be moved; the last few are remembered, as that takes as
        long as ten frames of a live stream."""
        key = hashlib.sha256(portrait.tobytes() + observed.points.tobytes()).digest()
        face = self._faces.get(key) or Face(portrait, observed.points, self.head_pose(observed), self.device)
        self._faces = dict([*self._faces.items(), (key, face)][-REMEMBERED:])
        return face

    def render(self, portrait: np.ndarray, observed: Observation, motion: Motion) -> Iterator[np.ndarray]:
        """Yields a square portrait, uint8 (S, S, 3), as it moves: frames of the same size."""
        return self.prepare(portrait, observed).render(motion)
