"""The speech of one video: what the pipeline listens to, and what the writer puts beside the frames."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import numpy as np

from asymtalker.media.reading import read_aloud
from asymtalker.media.spool import SpeechSpool
from asymtalker.media.synthesis import SpokenText

LONGEST_BLOCK = 10.0  # seconds that the pipeline is handed at once
POLL = 0.005  # seconds


class Reading:
    """A text that is being read, once for all who listen to it.

    Args:
        text: its reading starts here.
        sampling_rate: in Hz.
        max_seconds: a text that takes longer to say is refused while it is read; None sets no limit.
    """

    def __init__(self, text: SpokenText, sampling_rate: int, max_seconds: float | None = None) -> None:
        self._spool = read_aloud(text, sampling_rate, max_seconds)
        self._expected, self._longest = round(text.seconds * sampling_rate), round(LONGEST_BLOCK * sampling_rate)

    @property
    def samples(self) -> int:
        """How many there are in all: an estimate, until the voice has read the text."""
        read = self._spool.available()
        return read if self._spool.ended() else max(read, self._expected)

    def blocks(self) -> Iterator[np.ndarray]:
        """All samples from the first on, float32 (samples,), as they come."""
        return _blocks(self._spool, self._longest)

    def close(self) -> None:
        """Ends the reading."""
        self._spool.close()


Speech = np.ndarray | SpokenText | Reading
"""Mono samples in [−1, 1] at the pipeline's sampling rate, float32 (samples,), or a text that is read aloud."""


class SpeechTrack(Iterator[np.ndarray]):
    """Hands speech on block by block, and keeps of it what has not been taken for the video yet.

    Args:
        speech: samples; or a text, whose reading starts here and goes on while the video is made; or such a reading,
            which is left open at the end.
        sampling_rate: in Hz.
        max_seconds: a text that takes longer to say is refused while it is read; None sets no limit.
    """

    def __init__(self, speech: Speech, sampling_rate: int, max_seconds: float | None = None) -> None:
        self._untaken: deque[np.ndarray] = deque()
        self._own = Reading(speech, sampling_rate, max_seconds) if isinstance(speech, SpokenText) else None
        self._speech = self._own or speech
        self._blocks = self._speech.blocks() if isinstance(self._speech, Reading) else iter([speech])

    def __next__(self) -> np.ndarray:
        """The next samples. Raises ValueError where a text takes too long, or cannot be read."""
        block = next(self._blocks)
        self._untaken.append(block)
        return block

    @property
    def samples(self) -> int:
        """How many there are in all; of a text an estimate, until the voice has read it."""
        return self._speech.samples if isinstance(self._speech, Reading) else len(self._speech)

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
        """Ends the reading of a text, if it began here."""
        if self._own:
            self._own.close()


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
