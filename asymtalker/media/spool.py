"""Sound that is still coming in: from a microphone, or from a recording that is played in real time.

Both kinds can be sent to another process: a lent GPU is used from one, while the microphone's sound arrives here.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np

SAMPLE = np.dtype(np.float32)


class StreamClosed(Exception):
    """Nobody wants the rest of the stream any more."""


class SpeechSource(Protocol):
    """Mono speech in [−1, 1] of which more may come."""

    def available(self) -> int:
        """Samples that have come so far. Raises `StreamClosed`."""

    def ended(self) -> bool:
        """Whether no more will come. Raises `StreamClosed`."""

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples from `start` up to `stop`, float32 (stop − start,). Raises `StreamClosed`."""

    def close(self) -> None:
        """Ends it at once, for whoever reads; may be called again."""


class SpeechSpool:
    """A recording in the making: one side appends, the other reads, and the folder is all they share.

    Closing removes the folder, by which both sides know.

    Args:
        folder: where the sound is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sound, self._end, self._failure = folder / "speech.f32", folder / "ended", folder / "failed"

    @classmethod
    def create(cls) -> SpeechSpool:
        """An empty recording in a new temporary folder."""
        spool = cls(Path(tempfile.mkdtemp(prefix="asymtalker-live-")))
        spool._sound.touch()
        return spool

    def append(self, samples: np.ndarray) -> None:
        """Adds samples (n,). Raises `StreamClosed`."""
        try:
            with open(self._sound, "r+b") as file:
                file.seek(0, 2)
                file.write(samples.astype(SAMPLE, copy=False).tobytes())
        except FileNotFoundError as error:
            raise StreamClosed from error

    def end(self) -> None:
        """Says that no more will come; what has come is still used."""
        if self._folder.exists():
            self._end.touch()

    def fail(self, why: str) -> None:
        """Says that no more will come, and why: `available` raises it as a ValueError."""
        with suppress(FileNotFoundError):  # closed: nobody asks any more
            self._failure.write_text(why)

    def close(self) -> None:
        """Throws the recording away; may be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def available(self) -> int:
        if self._failure.exists():
            raise ValueError(self._failure.read_text())
        try:
            return self._sound.stat().st_size // SAMPLE.itemsize
        except FileNotFoundError as error:
            raise StreamClosed from error

    def ended(self) -> bool:
        return self._end.exists()

    def read(self, start: int, stop: int) -> np.ndarray:
        try:
            return np.fromfile(self._sound, SAMPLE, stop - start, offset=start * SAMPLE.itemsize)
        except FileNotFoundError as error:
            raise StreamClosed from error


class PacedSpeech:
    """A recording that comes in as if it were being spoken now; time starts when it is first asked for.

    Args:
        samples: float32 (samples,).
        sampling_rate: in Hz.
    """

    def __init__(self, samples: np.ndarray, sampling_rate: int) -> None:
        self._samples, self._rate = samples, sampling_rate
        self._began: float | None = None
        self._closed = False

    def close(self) -> None:
        self._closed = True

    def available(self) -> int:
        if self._closed:
            raise StreamClosed
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        return min(len(self._samples), int((now - self._began) * self._rate))

    def ended(self) -> bool:
        return self.available() == len(self._samples)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._samples[start:stop]
