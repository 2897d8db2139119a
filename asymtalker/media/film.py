"""A film of two videos beside each other, written while they are being made."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asymtalker.media.video import VideoWriter
from asymtalker.media.yuv import Rectangle

CAPTION_SHARE, LEAST_CAPTION = 0.09, 24
"""Height of a caption, as a share of the film's, and in pixels at least."""
LEAST_HEIGHT, MOST_WIDTH = 256, 960
"""Of each of the two videos, in pixels: small ones are enlarged; beside each other they are not wider than a screen."""
BACKGROUND = (17, 20, 21)
Place = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


class SideBySide:
    """Takes in the frames of two videos, and writes a frame of the film as soon as both have one.

    The sound is the left one's. The sides may come from two threads. A frame waits for its counterpart, so neither side
    should run ahead.

    Args:
        output: the mp4; it appears when the `with` block ends well.
        captions: what stands above each.

    Attributes:
        places: where in the film the two are, once both have begun.
    """

    def __init__(self, output: str | Path, captions: tuple[str, str]) -> None:
        self._output, self._captions = output, captions
        self.places: list[Place] = []
        self._sides: list[SideWriter | None] = [None, None]
        self._waiting: tuple[deque, deque] = deque(), deque()
        self._sound: list[np.ndarray] = []
        self._turn = threading.Lock()
        self._opened = ExitStack()
        self._writer: VideoWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, traceback)

    def side(self, index: int, apart: bool = True) -> Callable[..., SideWriter]:
        """What writes the left (0) or the right (1) video: called as `VideoWriter` is, once for each.

        Args:
            apart: write that video to its own file as well.
        """

        def open_side(
            path: str | Path,
            size: tuple[int, int],
            fps: int,
            sampling_rate: int,
            label: bool = True,
            moving: Rectangle | None = None,
        ) -> SideWriter:
            own = VideoWriter(path, size, fps, sampling_rate, label, moving=moving) if apart else None
            side = SideWriter(self, index, own, size, (fps, sampling_rate, label), moving)
            with self._turn:
                self._sides[index] = side
                if all(self._sides):
                    self._open()
            return side

        return open_side

    def _open(self) -> None:
        shown = [_shown_size(side.size, self._sides) for side in self._sides]
        height = shown[0][1]
        bar = max(round(CAPTION_SHARE * height) // 2 * 2, LEAST_CAPTION)
        size = (shown[0][0] + shown[1][0], bar + height)
        self.places = [(0, bar, *shown[0]), (shown[0][0], bar, *shown[1])]
        self._canvas = _draw_captions(size, bar, shown, self._captions)
        moving = [side.moving for side in self._sides]
        whole = any(side.size != shown for side, shown in zip(self._sides, shown, strict=True)) or None in moving
        around = None if whole else _around(moving, shown[0][0], bar)
        fps, rate, label = self._sides[0].settings
        self._writer = self._opened.enter_context(VideoWriter(self._output, size, fps, rate, label, moving=around))
        for samples in self._sound:
            self._writer.write_speech(samples)

    def add(self, index: int, frame: np.ndarray) -> None:
        """Takes in a side's next frame, uint8 (H, W, 3)."""
        with self._turn:
            self._waiting[index].append(frame)
            while self._writer and all(self._waiting):
                canvas = self._canvas.copy()
                for (left, top, width, height), waiting in zip(self.places, self._waiting, strict=True):
                    canvas[top : top + height, left : left + width] = _resized(waiting.popleft(), (width, height))
                self._writer.write([canvas])

    def add_sound(self, samples: np.ndarray) -> None:
        """Takes in the sound of the next frames, float32 (samples,)."""
        with self._turn:
            if self._writer:
                self._writer.write_speech(samples)
            else:
                self._sound.append(samples)


class SideWriter:
    """One of the two videos; it is used as a `VideoWriter` is."""

    def __init__(
        self,
        film: SideBySide,
        index: int,
        own: VideoWriter | None,
        size: tuple[int, int],
        settings: tuple[int, int, bool],
        moving: Rectangle | None,
    ) -> None:
        self._film, self._index, self._own = film, index, own
        self.size, self.settings, self.moving = size, settings, moving

    def __enter__(self) -> Self:
        if self._own:
            self._own.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._own:
            self._own.__exit__(kind, error, traceback)

    def write(self, frames: Iterable[np.ndarray]) -> None:
        """Appends frames, uint8 (F, H, W, 3) RGB, or an iterator of such frames (H, W, 3)."""
        for frame in frames:
            if self._own:
                self._own.write([frame])
            self._film.add(self._index, frame)

    def write_speech(self, samples: np.ndarray) -> None:
        """Appends mono speech, float32 (samples,) in [-1, 1]."""
        if self._own:
            self._own.write_speech(samples)
        if self._index == 0:
            self._film.add_sound(samples)


def _shown_size(size: tuple[int, int], sides: list[SideWriter]) -> tuple[int, int]:
    """(width, height) that a video of `size` has in the film: both are equally high, with even sides."""
    height = max(LEAST_HEIGHT, *(side.size[1] for side in sides))
    height = min(height, *(MOST_WIDTH * side.size[1] // side.size[0] for side in sides)) // 2 * 2
    return round(size[0] * height / size[1]) // 2 * 2, height


def _resized(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if frame.shape[1::-1] == size:
        return frame
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA if size[1] < len(frame) else cv2.INTER_CUBIC)


def _around(moving: list[Rectangle], right: int, down: int) -> Rectangle:
    """The rectangle around both sides' moving ones, of which the second's lies `right` pixels further; both `down`."""
    first, second = moving
    return (
        min(first[0], right + second[0]),
        down + min(first[1], second[1]),
        max(first[2], right + second[2]),
        down + max(first[3], second[3]),
    )


def _draw_captions(
    size: tuple[int, int], bar: int, shown: list[tuple[int, int]], captions: tuple[str, str]
) -> np.ndarray:
    """A frame of the film without the videos, uint8 (H, W, 3)."""
    canvas = Image.new("RGB", size, BACKGROUND)
    pen, left = ImageDraw.Draw(canvas), 0
    for (width, _), caption in zip(shown, captions, strict=True):
        letters = bar * 0.5
        while letters > 6 and pen.textlength(caption, ImageFont.load_default(letters)) > width - bar // 2:
            letters -= 1
        font = ImageFont.load_default(letters)
        pen.text((left + bar // 4, bar // 2), caption, font=font, fill="white", anchor="lm")
        left += width
    return np.asarray(canvas)
