"""From speech that is still being spoken to a video that follows it: what the Live tab and its endpoint share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from asymtalker import AsymTalkerPipeline
from asymtalker.generation import GenerateOptions, draw_seed, frame_picture, stream_chunks
from asymtalker.listening import LiveSpeech
from asymtalker.media.packets import PacketWriter
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.speech import SpeechResampler
from asymtalker.media.spool import Handover, SpeechSource, SpeechSpool, StreamClosed
from asymtalker.media.video import FragmentWriter
from asymtalker.pace import Cost, Pace, choose_pace, live_layouts
from asymtalker.pipeline import Chunk

Writer = Callable[..., FragmentWriter | PacketWriter]
"""Of `size`, `fps`, `sampling_rate`, `label` and `moving`, as these classes take them."""


@dataclass(frozen=True)
class LiveChunk:
    """The next piece of a live video.

    Attributes:
        data: the next piece; see `FragmentWriter` and `PacketWriter`.
        mime: type and codecs of these pieces.
        size: (width, height) of its frames in pixels; another one after another portrait was given.
        start, seconds: where in the video it belongs, and how long it is.
        age: seconds since its first sound was spoken.
        behind: seconds of sound that waited when it was begun; near 0 where generation keeps up.
        skipped: seconds of speech left out so far because generation did not keep up.
        steps: denoising steps it was made with.
    """

    data: bytes
    mime: str
    size: tuple[int, int]
    start: float
    seconds: float
    age: float
    behind: float
    skipped: float
    steps: int


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

    def end(self) -> None:
        """Nothing more will be heard; what was said is still used."""
        self.spool.end()

    def close(self) -> None:
        self.spool.close()


class _Act:
    """The part of a stream in which one face speaks.

    Args:
        crop: the portrait.
        pace: window and size.
    """

    def __init__(
        self,
        pipeline: AsymTalkerPipeline,
        crop: PortraitCrop,
        speech: LiveSpeech,
        options: GenerateOptions,
        pace: Pace,
        writer: Writer,
    ) -> None:
        options = replace(options, max_side=min(options.max_side, pace.max_side))
        self._view = frame_picture(pipeline, crop, options)
        settings = (self._view.size, pipeline.fps, pipeline.sampling_rate, options.label, self._view.moving)
        self._open = lambda: writer(*settings)
        self.writer, self.size = self._open(), self._view.size
        steps, seed = speech.choose_steps, draw_seed(options)
        self.chunks = stream_chunks(pipeline, self._view.portrait, speech, seed, options, steps, pace.window_frames)

    def push(self, chunk: Chunk, speech: LiveSpeech, omitted: int = 0) -> bytes:
        """Renders a chunk but for its first frames, and encodes it with its sound; returns the piece."""
        frames = chunk.render()[omitted:]
        speech.take(omitted)
        return self.writer.push(self._view.place(frames), speech.take(len(frames)))

    def measure(self, speech: LiveSpeech) -> Cost:
        """Makes the first chunk, of silence, and throws it away."""
        began = time.monotonic()
        chunk = next(self.chunks)
        made = time.monotonic()
        self._open().push(self._view.place(chunk.render()), speech.take(chunk.frames))
        return Cost(made - began, (time.monotonic() - made) / chunk.frames)


def make_ready(pipeline: AsymTalkerPipeline, crop: PortraitCrop, options: GenerateOptions) -> None:
    """Does now what a stream of this portrait would begin with, if its frames are rendered."""
    if pipeline.renderer is not None:
        portrait = np.asarray(frame_picture(pipeline, crop, options).portrait)
        pipeline.renderer.prepare(portrait, pipeline.renderer.observe(portrait))


def stream_live(
    pipeline: AsymTalkerPipeline,
    crop: PortraitCrop,
    source: SpeechSource,
    options: GenerateOptions,
    writer: Writer = FragmentWriter,
    portraits: Handover | None = None,
) -> Iterator[LiveChunk]:
    """Makes the video while the speech is being spoken, in chunks as short and pictures as large as the machine allows.

    Closing the iterator, or the source, frees the stream.

    Args:
        options: `max_seconds` is where the stream ends.
        writer: what makes the pieces.
        portraits: pairs of a portrait and options that are to take over while the stream goes on. The writer then
            makes pieces that begin anew, so it has to be a `PacketWriter`.

    Raises:
        ValueError: no sound came.
    """
    shortest = live_layouts(pipeline)[0]
    lookahead = pipeline.speech_encoder.lookahead_frames
    lead = shortest.new_frames + lookahead  # silence, just enough for the chunk that is measured
    steps = options.steps or pipeline.config.num_inference_steps
    speech = LiveSpeech(
        source, pipeline.sampling_rate, pipeline.fps, shortest.new_frames, steps, options.max_seconds, lead
    )
    with suppress(StreamClosed), ThreadPoolExecutor(2, "live") as threads:
        try:
            act = _Act(pipeline, crop, speech, options, Pace(shortest.window_frames, options.max_side), writer)
            cost = act.measure(speech)
            pace = choose_pace(pipeline, cost, options.max_side, max(act.size))
            if pace != Pace(shortest.window_frames, options.max_side):
                act.chunks.close()
                speech.take(lookahead)
                act, lookahead = _Act(pipeline, crop, speech, options, pace, writer), 0
                speech.hold(pipeline.layout.holding(pace.window_frames).new_frames)
            begin = _beginner(pipeline, speech, pace, writer)
            yield from _perform(act, source, speech, threads, pipeline.fps, lookahead, begin, portraits)
        finally:
            speech.close()


def _beginner(
    pipeline: AsymTalkerPipeline, speech: LiveSpeech, pace: Pace, writer: Writer
) -> Callable[[PortraitCrop, GenerateOptions], _Act]:
    """What makes another portrait ready to take over."""
    return lambda crop, options: _Act(pipeline, crop, speech, options, pace, writer)


def _perform(
    act: _Act,
    source: SpeechSource,
    speech: LiveSpeech,
    threads: ThreadPoolExecutor,
    fps: int,
    omitted: int,
    begin: Callable[[PortraitCrop, GenerateOptions], _Act],
    portraits: Handover | None,
) -> Iterator[LiveChunk]:
    """Renders and encodes chunks while the next are generated; one chunk waits at the most."""
    end, coming = 0.0, None
    pending = threads.submit(next, act.chunks, None)
    while (chunk := pending.result()) is not None:
        source.available()  # raises where it was closed while the chunk was made: nobody wants to see that one
        steps = speech.steps
        coming = coming or _next_act(threads, begin, portraits)
        taking_over = coming is not None and coming.done()
        if not taking_over:
            pending = threads.submit(next, act.chunks, None)
        omitted = min(omitted, chunk.frames)  # a recording may be as short as that
        data = act.push(chunk, speech, omitted)
        start, end = end, end + (chunk.frames - omitted) / fps
        omitted = 0
        yield _as_chunk(act, data, start, end, speech, steps)
        if taking_over:
            act.chunks.close()
            speech.rewind()
            act, coming = coming.result(), None
            pending = threads.submit(next, act.chunks, None)
    yield _as_chunk(act, act.writer.close(), end, end, speech, speech.steps)


def _next_act(threads: ThreadPoolExecutor, begin: Callable[..., _Act], portraits: Handover | None) -> Future | None:
    """Has the next portrait made ready, if one was given."""
    given = portraits.take() if portraits is not None else None
    return None if given is None else threads.submit(begin, *given)


def _as_chunk(act: _Act, data: bytes, start: float, end: float, speech: LiveSpeech, steps: int) -> LiveChunk:
    return LiveChunk(
        data,
        act.writer.mime,
        act.size,
        start,
        end - start,
        speech.age(start),
        speech.behind,
        speech.skipped,
        steps,
    )
