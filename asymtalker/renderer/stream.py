"""The face of one stream: motion frames become what the renderer has to show of this portrait."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from asymtalker.renderer.head import NECK
from asymtalker.renderer.hints import CERTAIN
from asymtalker.renderer.inertia import Inertia
from asymtalker.renderer.motion import Motion
from asymtalker.renderer.motion_frame import (
    BROW_CHANNELS,
    CHANNELS,
    CHIN_CHANNELS,
    EYE_CHANNELS,
    GAZE_CHANNELS,
    POSE_CHANNELS,
    denormalize,
    lip_gaps,
    lip_points,
)

if TYPE_CHECKING:
    from asymtalker.renderer.renderer import FaceRenderer

HEAVY = np.r_[BROW_CHANNELS, POSE_CHANNELS]
"""Channels of what cannot start or stop within a frame."""
LID_REST, LID_WAY = 0.12, 0.45
"""Eyes that are less open than the portrait's by the first share are not blinking; by both together they are shut: the
face mesh sees shut lids still apart."""
SPOKEN = 0.015
"""Lips that move so far from one frame to the next, in eye distances, speak."""
RELAX = 0.9
"""Factor a frame by which speaking fades into rest."""


class FaceStream:
    """A portrait that is being moved. Two streams never share one.

    Args:
        renderer: finds the landmarks and renders.
        portrait: uint8 (S, S, 3).
        keep_smile: leave the face as the portrait has it while nothing is said; otherwise the mouth is shut then.
    """

    def __init__(self, renderer: FaceRenderer, portrait: np.ndarray, keep_smile: bool = False) -> None:
        self.observed = renderer.observe(portrait)
        self.motion_frame = renderer.motion_frame(self.observed)
        """That of the portrait, (93, 1, 1)."""
        self._face = renderer.prepare(portrait, self.observed)
        self._mean = renderer.mean_frame.cpu().float().numpy()
        self._certain = min(self.observed.confidence / CERTAIN, 1.0)
        self._keep_smile = keep_smile
        self._still: np.ndarray | None = None
        self._lips: np.ndarray | None = None
        self._inertia = Inertia(np.zeros(CHANNELS)[HEAVY])
        self._spoken = 0.0

    def hold(self, still: Tensor) -> None:
        """Takes the portrait's motion frame (93, 1, 1) as the autoencoder gives it back: faces move as against that."""
        self._still = self._measures(still[:, None])[0]

    def render(self, frames: Tensor) -> np.ndarray:
        """Shows the next motion frames (93, F, 1, 1), normalised: uint8 (F, S, S, 3)."""
        return np.stack(list(self._face.render(self.motion(frames))))

    def motion(self, frames: Tensor) -> Motion:
        """What the face does in the next motion frames (93, F, 1, 1)."""
        frames = self._measures(frames)
        change = frames - self._still
        change[:, HEAVY] = self._inertia.follow(change[:, HEAVY])
        lips, angles = lip_points(frames), change[:, POSE_CHANNELS]
        narrower = 1 - frames[:, EYE_CHANNELS].mean(1) / max(float(self._still[EYE_CHANNELS].mean()), 1e-3)
        return Motion(
            lips=lip_points(change),
            gaps=lip_gaps(frames).clip(min=0),
            chin=change[:, CHIN_CHANNELS],
            lids=((narrower - LID_REST) / LID_WAY).clip(0, 1),
            brows=change[:, BROW_CHANNELS],
            gaze=change[:, GAZE_CHANNELS],
            pose=np.concatenate([angles @ NECK.T, np.zeros((len(frames), 1)), angles], axis=1),
            share=self._certain * (1 - self._keep_smile * self._rest(lips)),
        )

    def _measures(self, frames: Tensor) -> np.ndarray:
        """Normalised motion frames (93, F, 1, 1) in eye distances and radians, (F, 93)."""
        return denormalize(frames[:, :, 0, 0].T.cpu().float().numpy(), self._mean)

    def _rest(self, lips: np.ndarray) -> np.ndarray:
        """How much at rest the mouth is in each frame, (F,): 0 while it speaks, rising to 1 in a silence."""
        before = lips[:1] if self._lips is None else self._lips
        moved = np.abs(np.diff(lips, axis=0, prepend=before)).max((1, 2))
        self._lips, rest = lips[-1:], []
        for way in moved:
            self._spoken = max(min(float(way) / SPOKEN, 1.0), RELAX * self._spoken)
            rest.append(1 - self._spoken)
        return np.array(rest)
