"""What a video takes while it is made: time, minute by minute, and memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch

from asymtalker.chunks import FPS
from asymtalker.footprint import forget_peak_memory, peak_memory

MEMORY_MARKS = (10, 60, 300, 600)
"""Seconds of a video at which the peak memory until then is noted."""
MEGABYTE = 1e6


class Watch:
    """Iterates over the blocks of a video and counts what they take.

    Time is that of making the blocks alone, memory also that of their user, who must not hold them.

    Args:
        blocks: uint8 (..., F, H, W, 3) each.
        device: whose memory counts.
        interval: seconds over which the speed is averaged.

    Attributes:
        elapsed: seconds of making so far.
        first: of them until the first block was there.
        memory: peak megabytes of this process (or of tensors on the GPU) since the start, by second of the video.
    """

    def __init__(self, blocks: Iterable[np.ndarray], device: torch.device, interval: float) -> None:
        self._blocks, self._device, self._interval_frames = iter(blocks), device, round(interval * FPS)
        self._frames, self._taken = 0, {}
        self.elapsed, self.first, self.memory = 0.0, 0.0, {}

    def __iter__(self) -> Iterator[np.ndarray]:
        forget_peak_memory(self._device)
        while (block := self._next()) is not None:
            self._frames += block.shape[-4]
            yield block
            for mark in MEMORY_MARKS:  # once the user has done with the block
                if mark not in self.memory and self._frames >= mark * FPS:
                    self.memory[mark] = peak_memory(self._device) / MEGABYTE

    def _next(self) -> np.ndarray | None:
        started = time.perf_counter()
        block = next(self._blocks, None)
        taken = time.perf_counter() - started
        self.elapsed += taken
        self.first = self.first or taken
        if block is not None:
            seconds, frames = self._taken.get(self._frames // self._interval_frames, (0.0, 0))
            self._taken[self._frames // self._interval_frames] = seconds + taken, frames + block.shape[-4]
        return block

    @property
    def pace(self) -> list[float]:
        """Frames a second, of the blocks that start in each interval."""
        return [frames / seconds for seconds, frames in self._taken.values()]
