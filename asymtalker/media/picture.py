"""From the frames of the animated square to frames of the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from asymtalker.media.portrait import CropBox, PortraitCrop
from asymtalker.media.yuv import Rectangle

View = Literal["picture", "square"]
"""What a video shows: the whole picture, or the animated square alone."""

FEATHER = 0.14
"""Width of the border in which generated pixels fade into the photograph, as a share of the square's side."""
COLOR_SIDE = 48  # pixels to which squares are reduced before their colours are compared
COLOR_PACE = 0.1  # share of the way that the correction goes in a frame: it follows over ten frames, without a flicker
LEAST_DEVIATION = 2.0  # levels of 255 added to both deviations before they are divided: flat colours have none
MAX_GAIN = 1.5
_LEVELS = np.arange(256, dtype=np.float32)[:, None, None]


class PictureView:
    """What a video shows of its portrait: the size of its frames, and the animated square's place in them.

    The picture is reduced until its long side is at most `max_side`, and never enlarged. Sides are even, as H.264 wants
    them: a row or column too many is left out at the edge, so that all others keep the photograph's own pixels.

    Args:
        crop: the portrait, and the square in it that is animated.
        view: "picture" or "square".
        max_side: the video's long side in pixels, at most.
        frame_size: (width, height) of the network's frames in pixels.
        rendered: whether the pipeline has a renderer. Its frames are as large as the portrait that it is given, and
            equal to it at the border. Without one, all pixels are generated, at the network's frame size.

    Attributes:
        portrait: the square to be animated, RGB, at the resolution that the pipeline should be given.
        frame_size: (width, height) of the frames that the pipeline makes of it, in pixels.
        size: (width, height) of the video in pixels.
        moving: (left, top, right, bottom) of the square in the video; outside it all frames are the same.
    """

    def __init__(
        self, crop: PortraitCrop, view: View, max_side: int, frame_size: tuple[int, int], rendered: bool
    ) -> None:
        self.portrait, self.frame_size = crop.image, frame_size
        self._picture: np.ndarray | None = None
        if view == "picture":
            picture, box = fit_picture(crop.picture, crop.box, max_side)
            self.size = picture.size
            self.moving: Rectangle = (box.left, box.top, box.left + box.side, box.top + box.side)
            self._picture = np.asarray(picture)
            self._paste = self._rendered(crop, box) if rendered else _Blending(self._square, box, self.size)
        else:
            if rendered:
                self.portrait, _ = fit_picture(crop.image, CropBox(0, 0, crop.box.side), max_side)
                self.frame_size = self.portrait.size
            self.size, self.moving = self.frame_size, (0, 0, *self.frame_size)

    def _rendered(self, crop: PortraitCrop, box: CropBox) -> Callable[[np.ndarray], np.ndarray]:
        needed = min(self.frame_size)
        if box.side >= needed:
            self.portrait, paste = Image.fromarray(self._square), np.asarray
        else:  # so small a face is animated larger than it is shown, or lips would be a few ragged pixels
            self.portrait = crop.image.resize((needed, needed), Image.Resampling.LANCZOS)
            paste = _Blending(self._square, box, self.size, matched=False)
        self.frame_size = self.portrait.size
        return paste

    @property
    def _square(self) -> np.ndarray:
        left, top, right, bottom = self.moving
        return self._picture[top:bottom, left:right]

    def place(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Puts the pipeline's next frames into the picture, one by one: uint8 (H, W, 3) RGB of `size`.

        Args:
            frames: uint8 (F, h, w, 3) RGB of `frame_size`, or an iterator of such frames (h, w, 3).

        Raises:
            ValueError: frames have another size.
        """
        left, top, right, bottom = self.moving
        for frame in frames:
            if frame.shape[1::-1] != self.frame_size:
                raise ValueError(
                    f"Frames must be {self.frame_size[0]} × {self.frame_size[1]} pixels, "
                    f"not {frame.shape[1]} × {frame.shape[0]}."
                )
            if self._picture is None:
                yield frame
            else:
                placed = self._picture.copy()
                placed[top:bottom, left:right] = self._paste(np.ascontiguousarray(frame))
                yield placed


class _Blending:
    """Lays frames of another size over the photograph's square, fading out towards its border.

    Args:
        square: uint8 (S, S, 3) of the photograph.
        box: where it lies in the picture.
        size: (width, height) of the picture; where the square touches its edge, nothing has to fade.
        matched: bring the frames to the photograph's colours.
    """

    def __init__(self, square: np.ndarray, box: CropBox, size: tuple[int, int], matched: bool = True) -> None:
        weight = np.round(255 * _soft_mask(box, size, box.side)).astype(np.uint8)
        self._weight = np.repeat(weight[..., None], 3, axis=-1)
        self._photograph = cv2.multiply(square, 255 - self._weight, scale=1 / 255)
        self._color = _ColorMatch(square, _soft_mask(box, size, COLOR_SIDE)) if matched else None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self._color is not None:
            frame = self._color(frame)
        return cv2.add(cv2.multiply(_scale(frame, len(self._weight)), self._weight, scale=1 / 255), self._photograph)


class _ColorMatch:
    """Brings frames to the photograph's colours: to mean and deviation of each channel where the two are blended.

    Args:
        square: uint8 (S, S, 3) of the photograph.
        mask: float32 (COLOR_SIDE, COLOR_SIDE), the weight of the generated frames.
    """

    def __init__(self, square: np.ndarray, mask: np.ndarray) -> None:
        weight = (mask * (1 - mask)).reshape(-1, 1)
        self._weight = weight / weight.sum() if weight.any() else None
        self._wanted = self._statistics(square)
        self._correction: np.ndarray | None = None

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        if self._weight is None:  # the square is the whole picture
            return frame
        mean, deviation = self._statistics(frame)
        wanted_mean, wanted_deviation = self._wanted
        gain = (wanted_deviation + LEAST_DEVIATION) / (deviation + LEAST_DEVIATION)
        gain = gain.clip(1 / MAX_GAIN, MAX_GAIN)
        correction = np.stack([gain, wanted_mean - gain * mean])
        if self._correction is not None:
            correction = self._correction + COLOR_PACE * (correction - self._correction)
        self._correction = correction
        return cv2.LUT(frame, (_LEVELS * correction[0] + correction[1]).round().clip(0, 255).astype(np.uint8))

    def _statistics(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation (3,) of each channel, in levels of 255."""
        pixels = cv2.resize(square, (COLOR_SIDE, COLOR_SIDE), interpolation=cv2.INTER_AREA).reshape(-1, 3)
        if self._weight is None:
            return np.zeros(3), np.zeros(3)
        mean = (self._weight * pixels).sum(0)
        return mean, np.sqrt((self._weight * (pixels - mean) ** 2).sum(0))


def fit_picture(picture: Image.Image, box: CropBox, max_side: int) -> tuple[Image.Image, CropBox]:
    """Reduces a picture to a long side of `max_side` pixels at most and to even sides.

    Args:
        box: a square in it.

    Returns:
        the picture, and the square in it.
    """
    scale = min(1.0, max_side / max(picture.size))
    size = tuple(max(2, int(side * scale) // 2 * 2) for side in picture.size)
    # All sides are scaled alike, and what is over is cut off: on the right and below, unless the square lies there.
    kept = [min(even / scale, side) for even, side in zip(size, picture.size, strict=True)]
    starts = [
        side - part if start + box.side > part else 0
        for side, part, start in zip(picture.size, kept, box[:2], strict=True)
    ]
    region = (*starts, starts[0] + kept[0], starts[1] + kept[1])
    fitted = picture.crop(tuple(map(int, region))) if scale == 1 else _resize(picture, size, region)
    side = max(1, min(round(box.side * scale), *size))
    left, top = (
        min(max(round((at - start) * scale), 0), most - side)
        for at, start, most in zip(box[:2], starts, size, strict=True)
    )
    return fitted, CropBox(left, top, side)


def _resize(picture: Image.Image, size: tuple[int, int], region: tuple[float, ...]) -> Image.Image:
    return picture.resize(size, Image.Resampling.LANCZOS, box=region, reducing_gap=3.0)


def _scale(frame: np.ndarray, side: int) -> np.ndarray:
    """A frame scaled to (side, side, 3): enlarged by OpenCV, which is fast, and reduced as the picture was."""
    if side > min(frame.shape[:2]):
        return cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.LANCZOS, reducing_gap=3.0))


def _soft_mask(box: CropBox, size: tuple[int, int], side: int) -> np.ndarray:
    """Weight of the square's pixels, float32 (side, side): 1 inside, 0 at the border unless it is the picture's too."""
    along, down = (_fade(start > 0, start + box.side < most, side) for start, most in zip(box[:2], size, strict=True))
    return down[:, None] * along[None, :]


def _fade(before: bool, after: bool, side: int) -> np.ndarray:
    """Weights (side,) that rise from 0 if something lies before, and fall to 0 if something lies after."""
    rise = (np.arange(side, dtype=np.float32) + 0.5) / (FEATHER * side)
    rise = np.clip(rise, 0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return (rise if before else 1) * (rise[::-1] if after else np.ones(side, np.float32))
