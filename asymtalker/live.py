"""From speech that is still being spoken to a video that follows it: what the Live tab and its endpoint share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np

from asymtalker import AsymTalkerPipeline
from asymtalker.generation import GenerateOptions, draw_seed, frame_picture, stream_chunks
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.reading import PacedSource
from asymtalker.media.speech import SpeechResampler
from asymtalker.media.spool import PacedSpeech, SpeechSource, SpeechSpool, StreamClosed
from asymtalker.media.video import FragmentWriter, SegmentWriter

BLOCK_FRAMES = 2  # the pipeline is handed sound in pieces of so many frames
BEHIND = 0.4  # seconds of sound that wait when a chunk starts; from here on chunks get fewer steps
MAX_BEHIND = 0.9  # seconds of sound that may wait beyond a chunk's length; from here on sound is skipped
PATIENCE = 5.0  # seconds without any sound, after which the microphone is taken for gone
CLOCK_MEMORY = 4.0  # seconds
POLL = 0.02  # seconds


@dataclass(frozen=True)
class LiveChunk:
    """The next piece of a live video.

    Attributes:
        data: the next piece of a fragmented mp4; one after the other they are the video. With `SegmentWriter`, an mp4
            of this piece alone.
        mime: type and codecs of that mp4.
        start, seconds: where in the video it belongs, and how long it is.
        age: seconds since its first sound was spoken.
        behind: seconds of sound that waited when it was begun; near 0 where generation keeps up.
        skipped: seconds of speech left out so far because generation did not keep up.
        steps: denoising steps it was made with.
    """

    data: bytes
    mime: str
    start: float
    seconds: float
    age: float
    behind: float
    skipped: float
    steps: int


class LiveSpeech(Iterator[np.ndarray]):
    """What the pipeline listens to: hands on sound as it comes, and says how many steps there is time for.

    A chunk's worth of sound comes while a chunk is made. Where `MAX_BEHIND` seconds more than that wait, all but the
    newest is skipped: the lag stays bounded.

    Args:
        source: where the sound comes from.
        sampling_rate, fps: of sound and video.
        chunk_frames: frames that are made at a time.
        steps: denoising steps while there is time.
        max_seconds: length at which the stream ends; None sets no limit.
    """

    def __init__(
        self,
        source: SpeechSource,
        sampling_rate: int,
        fps: int,
        chunk_frames: int,
        steps: int,
        max_seconds: float | None,
    ) -> None:
        self._source, self._rate, self._steps = source, sampling_rate, steps
        self._frame = sampling_rate // fps
        self._most = chunk_frames * self._frame + round(MAX_BEHIND * sampling_rate)
        self._limit = None if max_seconds is None else round(max_seconds * sampling_rate)
        self._position = self._skipped = 0
        self._clock = _RecordingClock()
        self._heard: list[np.ndarray] = []
        self.steps, self.behind = steps, 0.0

    @property
    def skipped(self) -> float:
        """Seconds left out so far."""
        return self._skipped / self._rate

    def age(self, seconds: float) -> float:
        """Seconds since what is heard `seconds` into the video was spoken."""
        return time.monotonic() - self._clock.began - seconds - self.skipped

    def choose_steps(self) -> int:
        """The steps of the chunk that starts now: one fewer where generation is behind, one more where it has time."""
        self.behind = (self._source.available() - self._position) / self._rate
        change = -1 if self.behind > BEHIND else 1
        self.steps = min(max(self.steps + change, 1), self._steps)
        return self.steps

    def take(self, frames: int) -> np.ndarray:
        """The sound of the next frames, float32 (samples,)."""
        heard, count = np.concatenate([*self._heard, np.zeros(0, np.float32)]), frames * self._frame
        self._heard = [heard[count:]]
        return np.pad(heard[:count], (0, max(count - len(heard), 0)))

    def __next__(self) -> np.ndarray:
        stop = self._wait()
        if stop == self._position:
            if self._clock.began is None:
                raise ValueError(f"No sound came within {PATIENCE:g} s: allow this page to use the microphone.")
            raise StopIteration
        block = self._source.read(self._position, stop)
        self._position = stop
        self._heard.append(block)
        return block

    def _wait(self) -> int:
        """Waits for a block of sound; returns where it stops, or the position where the speech has ended."""
        wanted, deadline = BLOCK_FRAMES * self._frame, time.monotonic() + PATIENCE
        while True:
            ended = self._source.ended()  # asked first: what comes between the two questions is not lost
            available = self._source.available()
            if available:
                self._clock.see(available / self._rate)
            self._skip(available)
            if self._limit is not None and available >= self._limit + self._skipped:
                available, ended = self._limit + self._skipped, True
            if available - self._position >= wanted:
                return self._position + wanted
            if ended or time.monotonic() > deadline:
                return available
            time.sleep(POLL)

    def _skip(self, available: int) -> None:
        waiting = available - self._position
        if waiting > self._most:
            left_out = (waiting - BLOCK_FRAMES * self._frame) // self._frame * self._frame
            self._position += left_out
            self._skipped += left_out


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


class Microphone:
    """Where one visitor's microphone leaves its sound.

    Args:
        sampling_rate: at which the sound is kept, in Hz.
        max_seconds: sound that is kept at most; after it the recording ends.
    """

    def __init__(self, sampling_rate: int, max_seconds: float) -> None:
        self.spool = SpeechSpool.create()
        self._resampler = SpeechResampler(sampling_rate)
        self._limit = round(max_seconds * sampling_rate)

    def hear(self, rate: int, samples: np.ndarray) -> None:
        """Puts the next sound by, (n,) or (n, channels) of any number type; nothing where it is closed.

        Raises:
            ValueError: the rate changed.
        """
        with suppress(StreamClosed):
            if self.spool.available() < self._limit:
                self.spool.append(self._resampler.push(rate, samples))
            else:
                self.spool.end()

    def close(self) -> None:
        self.spool.close()


LiveInput = Microphone | PacedSpeech | PacedSource


class LiveSources:
    """What the visitors of a page speak into: one each, so that one visitor has one stream."""

    def __init__(self) -> None:
        self._inputs: dict[str, LiveInput] = {}

    def __len__(self) -> int:
        return len(self._inputs)

    def open(self, visitor: str, source: LiveInput) -> None:
        """Takes the place of what the visitor had before, which is closed."""
        self.close(visitor)
        self._inputs[visitor] = source

    def microphone(self, visitor: str) -> Microphone | None:
        """The visitor's microphone, if there is one."""
        source = self._inputs.get(visitor)
        return source if isinstance(source, Microphone) else None

    def close(self, visitor: str, source: LiveInput | None = None) -> None:
        """Closes what the visitor has; with `source`, only that."""
        if source is None or self._inputs.get(visitor) is source:
            source = self._inputs.pop(visitor, None)
        if source is not None:
            source.close()


def stream_live(
    pipeline: AsymTalkerPipeline,
    crop: PortraitCrop,
    source: SpeechSource,
    options: GenerateOptions,
    writer: type[FragmentWriter | SegmentWriter] = FragmentWriter,
) -> Iterator[LiveChunk]:
    """Makes the video while the speech is being spoken.

    Closing the iterator, or the source, frees the stream.

    Args:
        options: `max_seconds` is where the stream ends.
        writer: what makes the pieces.

    Raises:
        ValueError: no sound came.
    """
    steps = options.steps or pipeline.config.num_inference_steps
    layout = pipeline.live_layout
    speech = LiveSpeech(source, pipeline.sampling_rate, pipeline.fps, layout.new_frames, steps, options.max_seconds)
    view = frame_picture(pipeline, crop, options)
    seed, window = draw_seed(options), layout.window_frames
    stream = stream_chunks(pipeline, view.portrait, speech, seed, options, speech.choose_steps, window)
    video = writer(view.size, pipeline.fps, pipeline.sampling_rate, options.label, view.moving)
    end = 0.0
    with suppress(StreamClosed), closing(stream) as chunks:
        for chunk in chunks:
            source.available()  # raises where it was closed while the chunk was made: nobody wants to see that one
            start, end = end, end + chunk.frames / pipeline.fps
            data = video.push(view.place(chunk.render()), speech.take(chunk.frames))
            yield LiveChunk(
                data, video.mime, start, end - start, speech.age(start), speech.behind, speech.skipped, speech.steps
            )
        yield LiveChunk(
            video.close(), video.mime, end, 0.0, speech.age(end), speech.behind, speech.skipped, speech.steps
        )
