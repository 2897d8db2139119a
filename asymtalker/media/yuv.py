"""RGB frames as a video encoder takes them: YUV 4:2:0, with the visible label."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageDraw, ImageFont

LABEL = "AI-generated"
LABEL_SHARE, LABEL_SIDE, LARGE_LABEL_SHARE = 0.055, 256, 0.02
"""Height of the label's letters, as a share of the frame's shorter side up to `LABEL_SIDE` pixels, and of the rest."""
SMALLEST_LABEL = 8
CHANGED, SEEN = 4, 8
"""Pixels around what moves: so far its colours reach in 4:2:0, and so much is converted to get these right."""
BLACK, GREY, LEVELS = 16, 128, 219
"""Of BT.709's limited range: luma of black, chroma of grey, and how far luma goes up from black to white."""

Rectangle = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels; right and bottom are the first outside."""


class YuvConverter:
    """Converts frames to BT.709 in limited range, one after the other.

    Args:
        size: (width, height) of the frames in pixels; 4:2:0 wants even sides, an odd one is extended by a pixel.
        label: draw "AI-generated" into the lower right corner.
        moving: outside this rectangle all frames are the same: after the first frame only its pixels are converted.
            None converts every frame whole.
    """

    def __init__(self, size: tuple[int, int], label: bool, moving: Rectangle | None = None) -> None:
        self._size = size
        self.size = tuple(side + side % 2 for side in size)
        """(width, height) of the converted frames."""
        self._label = _Label(self.size) if label else None
        self._moving = None if moving is None else _even(moving, self.size, CHANGED)
        if self._moving == (0, 0, *self.size):
            self._moving = None
        self._last: list[np.ndarray] | None = None

    def convert(self, image: np.ndarray) -> av.VideoFrame:
        """The next frame, uint8 (H, W, 3) RGB.

        Raises:
            ValueError: it has another size or type.
        """
        width, height = self._size
        if image.dtype != np.uint8 or image.shape != (height, width, 3):
            raise ValueError(f"Frames must be uint8 (F, {height}, {width}, 3), not {image.dtype} {image.shape}.")
        if self._size != self.size:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = _to_yuv(image) if self._moving is None else self._update(image, self._moving)
        if self._label is not None:
            self._label.draw(_planes(frame))
        return frame

    def _update(self, image: np.ndarray, moving: Rectangle) -> av.VideoFrame:
        """The last frame with the pixels that move taken from `image`."""
        if self._last is None:
            frame = _to_yuv(image)
            self._last = [plane.copy() for plane in _planes(frame)]
            return frame
        seen = _even(moving, self.size, SEEN - CHANGED)
        part = _planes(_to_yuv(image[seen[1] : seen[3], seen[0] : seen[2]]))
        frame = av.VideoFrame(*self.size, "yuv420p")
        for scale, last, converted, plane in zip((1, 2, 2), self._last, part, _planes(frame), strict=True):
            left, top, right, bottom = (edge // scale for edge in moving)
            x, y = seen[0] // scale, seen[1] // scale
            last[top:bottom, left:right] = converted[top - y : bottom - y, left - x : right - x]
            plane[:] = last
        return frame


class _Label:
    """The visible label: light letters on a dark plate, in the lower right corner.

    Args:
        size: (width, height) of the frames in pixels, even.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        width, height = size
        letters = _letter_height(min(size))
        font, margin = ImageFont.load_default(letters), max(2, letters // 3)
        image = Image.new("LA", size)
        pen = ImageDraw.Draw(image)
        corner = (width - margin, height - margin)
        left, top, right, bottom = pen.textbbox(corner, LABEL, font=font, anchor="rd")
        plate = (left - margin // 2, top - margin // 2, right + margin // 2, bottom + margin // 2)
        pen.rounded_rectangle(plate, radius=margin, fill=(0, 110))
        pen.text(corner, LABEL, font=font, anchor="rd", fill=(255, 235))
        left, top, right, bottom = _even(image.getbbox(), size, 0)
        light, opacity = np.moveaxis(np.asarray(image.crop((left, top, right, bottom)), dtype=np.float32), -1, 0)
        opacity, luma = opacity / 255, BLACK + LEVELS * light / 255
        coarse = opacity.reshape(len(opacity) // 2, 2, -1, 2).mean((1, 3))
        self._places = [
            (slice(top // scale, bottom // scale), slice(left // scale, right // scale)) for scale in (1, 2, 2)
        ]
        self._kept = [1 - share for share in (opacity, coarse, coarse)]
        self._added = [luma * opacity, GREY * coarse, GREY * coarse]

    def draw(self, planes: list[np.ndarray]) -> None:
        """Draws the label into a frame's three planes."""
        for plane, place, kept, added in zip(planes, self._places, self._kept, self._added, strict=True):
            plane[place] = (plane[place] * kept + added).round()


def _letter_height(side: int) -> int:
    """Of the label, in pixels; `side` is the frame's shorter one. Large frames do not need a third of it."""
    return max(
        SMALLEST_LABEL, round(LABEL_SHARE * min(side, LABEL_SIDE) + LARGE_LABEL_SHARE * max(side - LABEL_SIDE, 0))
    )


def _even(rectangle: Rectangle, size: tuple[int, int], surroundings: int) -> Rectangle:
    """The rectangle with its surroundings inside frames of an even `size` (width, height), with even edges."""
    left, top = (max(edge - surroundings, 0) // 2 * 2 for edge in rectangle[:2])
    right, bottom = ((edge + surroundings + 1) // 2 * 2 for edge in rectangle[2:])
    return left, top, min(right, size[0]), min(bottom, size[1])


def _to_yuv(image: np.ndarray) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Y (H, W), U and V (H/2, W/2) of a frame, which can be written to."""
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]
