"""Sound that is still coming in: from a microphone, or from a recording that is played in real time.

Both kinds can be sent to another process: a lent GPU is used from one, while the microphone's sound arrives here.
"""

from __future__ import annotations

import pickle
import secrets
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

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

    def wait(self, samples: int) -> bool:
        """Asked to bring no more for so many samples' time; False where it cannot wait, as somebody is speaking."""


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
        _leave(self._failure, why.encode())

    def close(self) -> None:
        """Throws the recording away; may be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait(self, samples: int) -> bool:
        return False

    def available(self) -> int:
        if self._failure.exists():
            raise ValueError(self._failure.read_bytes().decode())
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
        speech: float32 (samples,), or a source that may bring them sooner, such as a voice that reads a text.
        sampling_rate: in Hz.
    """

    def __init__(self, speech: np.ndarray | SpeechSource, sampling_rate: int) -> None:
        self._speech = _Recorded(speech) if isinstance(speech, np.ndarray) else speech
        self._rate = sampling_rate
        self._began: float | None = None
        self._closed = False

    def close(self) -> None:
        self._closed = True
        self._speech.close()

    def wait(self, samples: int) -> bool:
        self._began += samples / self._rate
        return True

    def available(self) -> int:
        if self._closed:
            raise StreamClosed
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        there, due = self._speech.available(), int((now - self._began) * self._rate)
        if there < due and not self._speech.ended():  # what comes late is spoken late, and not all at once
            self._began = now - there / self._rate
        return min(there, due)

    def ended(self) -> bool:
        return self._speech.ended() and self.available() == self._speech.available()

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._speech.read(start, stop)


class _Recorded:
    """Samples that are all there."""

    def __init__(self, samples: np.ndarray) -> None:
        self._samples = samples

    def available(self) -> int:
        return len(self._samples)

    def ended(self) -> bool:
        return True

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._samples[start:stop]

    def wait(self, samples: int) -> bool:
        return True

    def close(self) -> None:
        pass


class Handover:
    """One side leaves a value, the other takes the newest; as with `SpeechSpool`, a folder is all they share."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="asymtalker-live-"))
        self._left = self._folder / "value"

    def leave(self, value: Any) -> None:
        """Takes the place of what was left before and not taken; nothing where it is closed."""
        _leave(self._left, pickle.dumps(value))

    def take(self) -> Any | None:
        """What was left, once; None where there is nothing new."""
        try:
            value = pickle.loads(self._left.read_bytes())
            self._left.unlink()
        except FileNotFoundError:
            return None
        return value

    def close(self) -> None:
        """Throws away what was left; may be called again."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _leave(path: Path, content: bytes) -> None:
    """Writes a file that is there with all of its content or not at all; nothing where its folder is gone."""
    beside = path.with_name(f"{secrets.token_hex(4)}.part")
    with suppress(FileNotFoundError):
        beside.write_bytes(content)
        beside.replace(path)
