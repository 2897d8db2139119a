"""What a live stream listens to: sound as it comes, in step with whoever speaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np

from asymtalker.media.spool import SpeechSource, StreamClosed

BEHIND = 0.4  # seconds of sound that wait when a chunk starts; from here on chunks get fewer steps
MAX_BEHIND = 0.9  # seconds of sound that may wait beyond a chunk's length; from here on sound is skipped
HURRY = 0.12  # seconds of sound that may wait beyond a chunk's length; from here on silence is left out
QUIET = 0.01  # root mean square of a frame's sound below which nobody speaks
PATIENCE = 5.0  # seconds without any sound from the beginning, after which there is no microphone
LONG_PATIENCE = 20.0  # seconds without any sound later on, after which it is gone: networks stall
CLOCK_MEMORY = 4.0  # seconds
POLL = 0.01  # seconds


class LiveSpeech(Iterator[np.ndarray]):
    """What the pipeline listens to: hands on sound frame by frame as it comes, and says how many steps there is time
    for.

    Where more waits than is needed, frames without speech are left out; where `MAX_BEHIND` seconds more than a chunk
    wait, all but the newest is skipped. The lag stays bounded. A source that can wait, a recording, is asked to wait
    instead, and is handed on whole.

    Args:
        source: where the sound comes from.
        sampling_rate, fps: of sound and video.
        chunk_frames: frames that are made at a time.
        steps: denoising steps while there is time.
        max_seconds: length at which the stream ends; None sets no limit.
        lead: frames of silence that are handed on before the sound.
    """

    def __init__(
        self,
        source: SpeechSource,
        sampling_rate: int,
        fps: int,
        chunk_frames: int,
        steps: int,
        max_seconds: float | None,
        lead: int = 0,
    ) -> None:
        self._source, self._rate, self._steps = source, sampling_rate, steps
        self._frame = sampling_rate // fps
        self.hold(chunk_frames)
        self._limit = None if max_seconds is None else round(max_seconds * sampling_rate)
        self._position = self._skipped = self._passed = 0
        self._clock = _RecordingClock()
        self._again = np.zeros(lead * self._frame, np.float32)
        self._heard: list[np.ndarray] = []
        self._access = threading.Lock()  # one thread makes chunks of what is heard, another takes their sound
        self._closed = False
        self.steps, self.behind = steps, 0.0

    def hold(self, chunk_frames: int) -> None:
        """From here on so many frames are made at a time."""
        self._chunk = chunk_frames * self._frame

    @property
    def skipped(self) -> float:
        """Seconds of speech left out so far."""
        return self._skipped / self._rate

    def age(self, seconds: float) -> float:
        """Seconds since what is heard `seconds` into the video was spoken."""
        left_out = (self._skipped + self._passed) / self._rate
        return 0.0 if self._clock.began is None else time.monotonic() - self._clock.began - seconds - left_out

    def choose_steps(self) -> int:
        """The steps of the chunk that starts now: one fewer where generation is behind, one more where it has time."""
        self.behind = (self._source.available() - self._position) / self._rate
        change = -1 if self.behind > BEHIND else 1
        self.steps = min(max(self.steps + change, 1), self._steps)
        return self.steps

    def take(self, frames: int) -> np.ndarray:
        """The sound of the next frames, float32 (samples,)."""
        count = frames * self._frame
        with self._access:
            heard = np.concatenate([*self._heard, np.zeros(0, np.float32)])
            self._heard = [heard[count:]]
        return np.pad(heard[:count], (0, max(count - len(heard), 0)))

    def rewind(self) -> None:
        """Hands on again what was heard and not taken: to another stream, which goes on from there."""
        with self._access:
            self._again, self._heard = np.concatenate([*self._heard, self._again]), []

    def close(self) -> None:
        """Whoever waits for sound gets `StreamClosed`."""
        self._closed = True

    def __next__(self) -> np.ndarray:
        if len(self._again):
            block, self._again = self._again, self._again[:0]
        else:
            stop = self._wait()
            if stop == self._position:
                if self._clock.began is None:
                    raise ValueError(f"No sound came within {PATIENCE:g} s: allow this page to use the microphone.")
                raise StopIteration
            block = self._source.read(self._position, stop)
            self._position = stop
        with self._access:
            self._heard.append(block)
        return block

    def _wait(self) -> int:
        """Waits for a frame of sound; returns where it stops, or the position where the speech has ended."""
        deadline = time.monotonic() + (PATIENCE if self._clock.began is None else LONG_PATIENCE)
        while True:
            if self._closed:
                raise StreamClosed
            ended = self._source.ended()  # asked first: what comes between the two questions is not lost
            available = self._source.available()
            if available:
                self._clock.see(available / self._rate)
            self._catch_up(available)
            left_out = self._skipped + self._passed
            if self._limit is not None and available >= self._limit + left_out:
                available, ended = self._limit + left_out, True
            if available - self._position >= self._frame:
                return self._position + self._frame
            if ended or time.monotonic() > deadline:
                return available
            time.sleep(POLL)

    def _catch_up(self, available: int) -> None:
        waiting, hurry = available - self._position, self._chunk + round(HURRY * self._rate)
        if waiting <= hurry:
            return
        if self._source.wait(waiting - hurry):
            self._clock = _RecordingClock()
            self._clock.see((available - waiting + hurry) / self._rate)
        elif waiting > self._chunk + round(MAX_BEHIND * self._rate):
            left_out = (waiting - self._chunk) // self._frame * self._frame
            self._position += left_out
            self._skipped += left_out
        else:
            self._pass_silence(waiting - hurry)

    def _pass_silence(self, samples: int) -> None:
        for _ in range(samples // self._frame):
            frame = self._source.read(self._position, self._position + self._frame)
            if np.sqrt(np.mean(np.square(frame))) > QUIET:
                return
            self._position += self._frame
            self._passed += self._frame


class _RecordingClock:
    """When a recording began, by how much of it has come: the earliest moment that the last seconds speak for.

    A busy browser loses sound, by which a recording falls behind for good; what was lost is no lag.
    """

    def __init__(self) -> None:
        self.began: float | None = None
        self._lately, self._since = float("inf"), 0.0

    def see(self, seconds: float) -> None:
        """Takes note that so much has come by now."""
        now = time.monotonic()
        self._lately = min(self._lately, now - seconds)
        self.began = self._lately if self.began is None else min(self.began, self._lately)
        if now - self._since > CLOCK_MEMORY:
            self.began, self._lately, self._since = self._lately, now - seconds, now
