"""A recording as training sees and hears it: one crop or one person, one room; the jitter is the same for all of it."""

from typing import Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.conditioning import cut_speech
from train.clips import Clip
from train.sound import augment
from train.tracks import PersonView, Track

MOUTH = (0.2, 0.6, 0.8, 1.02)
"""Mouth and chin inside a face box: left, top, right, bottom, as shares of its size."""


Recording = Clip | Track


class FrameView(Protocol):
    """Frames by number, channels last: uint8 (F, H, W, 3) of a clip, float32 (F, 1, 1, D) of a track."""

    def frames(self, indices: list[int], origin: int = 0) -> Tensor: ...

    def portrait(self, index: int) -> dict[str, Tensor]: ...


class View:
    """A recording, from which portraits and windows are taken.

    Args:
        recording: a clip or a track.
        size: side of a clip's frames in pixels.
        rng: of the jitter; None for none.
        whole: the sound is changed once, as a whole, for a stream of windows; otherwise for each window anew.
    """

    def __init__(self, recording: Recording, size: int, rng: np.random.Generator | None, whole: bool = False) -> None:
        self._seen: FrameView = (
            PersonView(recording, rng) if isinstance(recording, Track) else ClipView(recording, size, rng)
        )
        self._speech, self._rng = recording.speech, None if whole else rng
        if whole and rng is not None:
            self._speech = augment(as_floats(self._speech), rng)

    def portrait(self, index: int) -> dict[str, Tensor]:
        """A frame as identity image, `portrait` (H, W, C); of a clip, also where the mouth is, `mouth` (H, W)."""
        return self._seen.portrait(index)

    def window(self, start: int, layout: WindowLayout, span: tuple[int, int], origin: int = 0) -> dict[str, Tensor]:
        """The frames (F, H, W, C) of a window and its sound; before `origin` the first frame is held, in silence."""
        indices = [max(index, origin) for index in range(start, start + layout.window_frames)]
        speech = torch.from_numpy(self._speech[origin * SAMPLES_PER_FRAME :])
        segment = as_floats(cut_speech(speech, start - origin, layout, span).numpy())
        if self._rng is not None:
            segment = augment(segment, self._rng)
        return {"window": self._seen.frames(indices, origin), "segment": torch.from_numpy(segment)}


def as_floats(speech: np.ndarray) -> np.ndarray:
    """16-bit samples as float32 in [-1, 1]; floats as they are."""
    return speech if speech.dtype == np.float32 else speech.astype(np.float32) / 32768


class ClipView:
    """A clip through one crop.

    Args:
        clip: of which the frames are.
        size: side of the crops in pixels.
        rng: of the crop's jitter; None for none.
    """

    def __init__(self, clip: Clip, size: int, rng: np.random.Generator | None) -> None:
        self._clip, self._size = clip, size
        left, top, side = clip.crop
        if rng is not None:
            limit = clip.frames.shape[1]
            scaled = min(side * rng.uniform(0.95, 1.06), limit)
            left += (side - scaled) / 2 + rng.uniform(-0.04, 0.04) * side
            top += (side - scaled) / 2 + rng.uniform(-0.04, 0.04) * side
            side = scaled
        limit = clip.frames.shape[1]
        self._box = (np.clip(left, 0, limit - side), np.clip(top, 0, limit - side), side)

    def frames(self, indices: list[int], origin: int = 0) -> Tensor:
        """Frames by number, uint8 (F, S, S, 3); where the stream began makes no difference to a clip."""
        left, top, side = self._box
        scale = self._size / side
        affine = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
        smooth = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
        crops = [
            cv2.warpAffine(
                self._clip.frames[index],
                affine,
                (self._size, self._size),
                flags=smooth,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for index in indices
        ]
        return torch.from_numpy(np.stack(crops))

    def portrait(self, index: int) -> dict[str, Tensor]:
        """A frame as identity image, `portrait` uint8 (S, S, 3), and where the mouth is in it, `mouth` (S, S)."""
        return {"portrait": self.frames([index])[0], "mouth": self._mouth()}

    def _mouth(self) -> Tensor:
        left, top, side = self._box
        x, y, width, height = self._clip.face
        mask = torch.zeros(self._size, self._size)
        scale = self._size / side
        x0, x1 = (round((x + share * width - left) * scale) for share in MOUTH[::2])
        y0, y1 = (round((y + share * height - top) * scale) for share in MOUTH[1::2])
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 1
        return mask
