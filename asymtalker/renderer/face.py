"""A portrait made ready to be moved: everything that does not change from frame to frame, computed once."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from asymtalker.renderer.brows import BROW_POINTS, brow_moves
from asymtalker.renderer.displacement import Displacement
from asymtalker.renderer.gaze import Gaze
from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import LIPS_INNER
from asymtalker.renderer.lids import Lids
from asymtalker.renderer.lips import Lips
from asymtalker.renderer.motion import Motion
from asymtalker.renderer.mouth import Mouth, lips_around_teeth
from asymtalker.renderer.warp import look_up

INPAINT_MARGIN = 0.006
"""What lies between the lips is taken out of the picture this far into the lips, in eye distances; landmarks are not
exact."""


class Face:
    """A portrait that can be moved.

    Args:
        image: uint8 (S, S, 3), RGB.
        points: its landmarks, (478, 3) in pixels.
        head: pose of the head in it.
        device: where pixels are looked up.
    """

    def __init__(
        self, image: np.ndarray, points: np.ndarray, head: HeadPose, device: torch.device | None = None
    ) -> None:
        points = lips_around_teeth(image, points)
        self._device = device
        self.points = points
        self.lips = Lips(points, head)
        self.displacement = Displacement(points, image.shape[0])
        self._mouth = Mouth(image, points)
        self._head = head
        image = lips_alone(image, points, self.displacement.frame.unit)
        self._gaze, self._lids = Gaze(image, points, head), Lids(image, points)

    def render(self, motion: Motion) -> Iterator[np.ndarray]:
        """Yields the frames of a motion: uint8 (S, S, 3)."""
        for frame in range(len(motion)):
            share = float(motion.share[frame])
            moves = self.lips.moves(motion.lips[frame], motion.gaps[frame], motion.chin[frame], share)
            moves[list(BROW_POINTS)] = brow_moves(share * motion.brows[frame], self._head)
            pose = share * motion.pose[frame]
            eyes = self._lids.draw(self._gaze.draw(share * motion.gaze[frame]), share * float(motion.lids[frame]))
            image = look_up(eyes, self.displacement.places(moves, pose), self._device)
            skull = self.displacement.skull(pose)
            jaw = skull + np.array([[0, 0, 1]]) * self.lips.jaw(moves)[:, None]
            self._mouth.draw(image, self.displacement.moved(moves, pose)[list(LIPS_INNER)], skull, jaw)
            yield image


def lips_alone(image: np.ndarray, points: np.ndarray, unit: float) -> np.ndarray:
    """The portrait with what lies between the lips painted over with the lips' own colours: uint8 (S, S, 3)."""
    ring = points[list(LIPS_INNER), :2]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(ring * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    if mask.sum() // 255 < (0.02 * unit) ** 2:
        return image
    reach = max(1, round(INPAINT_MARGIN * unit))
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2))
    return cv2.inpaint(image, mask, reach + 2, cv2.INPAINT_TELEA)
