"""The speech of one video: what the pipeline listens to, and what the writer puts beside the frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import numpy as np

from asymtalker.media.reading import read_aloud
from asymtalker.media.spool import SpeechSpool
from asymtalker.media.synthesis import SpokenText

Speech = np.ndarray | SpokenText
"""Mono samples in [−1, 1] at the pipeline's sampling rate, float32 (samples,), or a text that is read aloud."""

LONGEST_BLOCK = 10.0  # seconds that the pipeline is handed at once
POLL = 0.005  # seconds


class SpeechTrack(Iterator[np.ndarray]):
    """Hands speech on block by block, and keeps of it what has not been taken for the video yet.

    Args:
        speech: samples, or a text: its reading starts here, and goes on while the video is made.
        sampling_rate: in Hz.
        max_seconds: a text that takes longer to say is refused while it is read; None sets no limit.
    """

    def __init__(self, speech: Speech, sampling_rate: int, max_seconds: float | None = None) -> None:
        self._untaken: deque[np.ndarray] = deque()
        self._spool = None
        if isinstance(speech, SpokenText):
            self._spool = read_aloud(speech, sampling_rate, max_seconds)
            self._blocks = _blocks(self._spool, round(LONGEST_BLOCK * sampling_rate))
            self._expected = round(speech.seconds * sampling_rate)
        else:
            self._blocks, self._expected = iter([speech]), len(speech)

    def __next__(self) -> np.ndarray:
        """The next samples. Raises ValueError where a text takes too long, or cannot be read."""
        block = next(self._blocks)
        self._untaken.append(block)
        return block

    @property
    def samples(self) -> int:
        """How many there are in all; of a text an estimate, until the voice has read it."""
        if self._spool is None:
            return self._expected
        read = self._spool.available()
        return read if self._spool.ended() else max(read, self._expected)

    def take(self, count: int) -> np.ndarray:
        """The sound of the next frames, float32 (count,), or fewer at the end."""
        taken = [np.zeros(0, np.float32)]
        while count and self._untaken:
            block = self._untaken.popleft()
            taken.append(block[:count])
            if len(block) > count:
                self._untaken.appendleft(block[count:])
            count -= len(taken[-1])
        return np.concatenate(taken)

    def close(self) -> None:
        """Ends the reading of a text."""
        if self._spool is not None:
            self._spool.close()


def _blocks(spool: SpeechSpool, longest: int) -> Iterator[np.ndarray]:
    position = 0
    while True:
        ended = spool.ended()  # asked first: what comes between the two questions is not lost
        available = min(spool.available(), position + longest)
        if available > position:
            yield spool.read(position, available)
            position = available
        elif ended:
            return
        else:
            time.sleep(POLL)
