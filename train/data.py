"""Training data: windows cut from talking clips by the window contract."""

import contextlib
import itertools
import math
import queue
import signal
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import ModelMixin
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.conditioning import speech_span
from train.clips import StreamedClips
from train.config import DataSettings, RunSettings
from train.recordings import split_recordings
from train.views import Recording, View

QUIET_WINDOW = 7
QUIET_SHARE = 0.003
"""A frame is quiet if the mean power of the frames around it is below this share of loud speech's (−25 dB)."""
BATCHES_AHEAD = 4


@dataclass(frozen=True, kw_only=True)
class WindowLaw:
    """How windows are drawn for the teacher.

    Attributes:
        cold_start: probability of a window that starts from the portrait held still, its speech from silence.
        reference_reach: the reference frame is at most this many frames away from the window.
        quiet_reference: probability of a reference from a quiet moment of the clip, however far, where there is one:
            people give portraits with their mouth shut.
        jitter: vary crop or person, and the sound (`train.sound`).
        new_latents: numbers of new latents in a window, one of which is drawn for each batch; none: the checkpoint's.
    """

    cold_start: float = 0.1
    reference_reach: int = 75
    quiet_reference: float = 0.8
    jitter: bool = True
    new_latents: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WindowStageSettings(DataSettings, RunSettings, WindowLaw):
    """Settings of a stage that trains on windows of real clips."""


def sample_window(
    recording: Recording,
    layout: WindowLayout,
    span: tuple[int, int],
    size: int,
    rng: np.random.Generator,
    law: WindowLaw,
) -> dict[str, Tensor]:
    """Draws one window of a recording.

    Returns:
        `window` (F, H, W, C) and `portrait` (H, W, C): uint8 pictures of a clip, float32 motion frames of a track;
        `segment` float32 (samples,) of sound for `speech_windows`; of a clip, `mouth` float32 (H, W), 1 where the
        mouth is.
    """
    start, portrait, cold = draw_window(len(recording), layout, rng, law, quiet_frames(recording))
    view = View(recording, size, rng if law.jitter else None)
    origin = start + layout.continuity_frames if cold else 0
    return view.portrait(portrait) | view.window(start, layout, span, origin)


def draw_window(
    frames: int, layout: WindowLayout, rng: np.random.Generator, law: WindowLaw, quiet: np.ndarray | None = None
) -> tuple[int, int, bool]:
    """Draws (first frame of the window, frame of the reference, whether it is a cold start) in a clip.

    The reference is never a frame of the window, or the network would learn to read the answer, or κ, from it. In a
    cold start it is the first new frame itself, as at inference.

    Args:
        frames: of the clip.
        quiet: frames in which nothing is said, see `quiet_frames`.
    """
    if quiet is None or rng.random() >= law.quiet_reference:
        quiet = np.empty(0, dtype=int)
    if rng.random() < law.cold_start:
        possible = quiet[quiet <= frames - layout.new_frames]
        first = int(rng.choice(possible) if len(possible) else rng.integers(0, frames - layout.new_frames + 1))
        return first - layout.continuity_frames, first, True
    start = int(rng.integers(0, frames - layout.window_frames + 1))
    end = start + layout.window_frames
    possible = quiet[(quiet < start) | (quiet >= end)]
    if not len(possible):
        reach = law.reference_reach
        possible = [*range(max(0, start - reach), start), *range(end, min(frames, end + reach))]
    return start, int(rng.choice(possible)), False


_quiet: weakref.WeakKeyDictionary[Recording, np.ndarray] = weakref.WeakKeyDictionary()
"""What was found before. A streamed clip that is let go takes its entry along."""


def quiet_frames(recording: Recording) -> np.ndarray:
    """Frames in which nothing is said, so that the mouth is likely to be shut: around them all is far below speech."""
    found = _quiet.get(recording)
    if found is None:
        found = _quiet[recording] = _find_quiet_frames(recording)
    return found


def _find_quiet_frames(recording: Recording) -> np.ndarray:
    frames = min(len(recording), len(recording.speech) // SAMPLES_PER_FRAME)
    sound = recording.speech[: frames * SAMPLES_PER_FRAME].reshape(frames, -1).astype(np.float32)
    power = np.square(sound).mean(1)
    around = np.convolve(power, np.ones(QUIET_WINDOW) / QUIET_WINDOW, mode="same")
    return np.flatnonzero(around < QUIET_SHARE * np.quantile(power, 0.9))


class RecordingStream:
    """A recording cut as the pipeline would cut its stream: cold start at frame `first`, then window after window.

    The jitter is that of `seed`; without one there is none.
    """

    def __init__(
        self, recording: Recording, first: int, encoder: ModelMixin, size: int, seed: tuple[int, ...] | None
    ) -> None:
        rng = None if seed is None else np.random.default_rng(seed)
        self._view, self._first, self._encoder = View(recording, size, rng, whole=True), first, encoder
        self.frames = len(recording) - first

    def window(self, position: int, layout: WindowLayout) -> dict[str, Tensor]:
        """The window whose new frames begin so many frames after the start, where the portrait is."""
        start = self._first + position - layout.continuity_frames
        span = speech_span(self._encoder, layout)
        return self._view.portrait(self._first) | self._view.window(start, layout, span, origin=self._first)


class WindowDataset(torch.utils.data.Dataset):
    """Random windows of recordings, without end; each has a number, by which it can be drawn again.

    Args:
        layouts: of the windows; one is drawn for each `batch` of consecutive numbers.
    """

    def __init__(
        self,
        recordings: list[Recording],
        layouts: list[WindowLayout],
        encoder: ModelMixin,
        size: int,
        law: WindowLaw,
        seed: int,
        batch: int = 1,
    ) -> None:
        longest = max(layout.window_frames for layout in layouts)
        self._recordings = [recording for recording in recordings if len(recording) > longest]
        if not self._recordings:
            raise ValueError(f"All recordings are shorter than {longest + 1} frames, a window and a reference.")
        weights = np.array([len(recording) - longest for recording in self._recordings], dtype=float)
        self._shares = weights.cumsum() / weights.sum()
        self._layouts, self._spans = layouts, [speech_span(encoder, layout) for layout in layouts]
        self._size, self._law, self._seed, self._batch = size, law, seed, batch

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, number))
        recording = self._recordings[min(int(self._shares.searchsorted(rng.random())), len(self._recordings) - 1)]
        choice = draw_choice(len(self._layouts), self._seed, number // self._batch)
        return sample_window(recording, self._layouts[choice], self._spans[choice], self._size, rng, self._law)


def draw_choice(choices: int, seed: int, number: int) -> int:
    """One of so many choices for batch `number`, the same on all processes."""
    return int(np.random.default_rng((seed, number, 2)).integers(choices))


def window_layouts(layout: WindowLayout, new_latents: tuple[int, ...]) -> list[WindowLayout]:
    """The layouts of windows that carry over what `layout` does and have so many new latents, or `layout` itself."""
    lengths = [layout.continuity_frames + layout.temporal_ratio * count for count in new_latents]
    return [layout.holding(length) for length in lengths] or [layout]


class StoredWindows:
    """Batches of random windows of stored clips, without end; every process draws its own.

    Attributes:
        sample: a clip to make sample videos of, held out if any is.
    """

    def __init__(self, settings: WindowStageSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator) -> None:
        recordings, held_out = split_recordings(settings)
        self.sample = (held_out or recordings)[0]
        self._settings, self._accelerator = settings, accelerator
        layouts = window_layouts(pipeline.layout, settings.new_latents)
        self._dataset = WindowDataset(
            recordings, layouts, pipeline.speech_encoder, settings.size, settings, settings.seed, settings.batch_size
        )

    def batches(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches of `sample_window`, those that follow after `step` steps of the optimiser."""
        processes = self._accelerator.num_processes
        first = step * self._settings.batch_size + self._accelerator.process_index
        return iter(
            torch.utils.data.DataLoader(
                self._dataset,
                self._settings.samples(processes),
                sampler=itertools.count(first, processes),
                num_workers=self._settings.workers,
                worker_init_fn=_leave_signals_to_parent,
                pin_memory=torch.cuda.is_available(),
                # of the workers' seeds, which nobody uses: the noise of training stays as it is
                generator=torch.Generator(),
            )
        )

    def state_dict(self) -> dict[str, Any]:
        """Nothing: the step tells the windows."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do, see `state_dict`."""


def _leave_signals_to_parent(_: int) -> None:
    """Whoever ends a job signals all of its processes; without its workers the run could not end cleanly."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


class StreamedWindows:
    """Batches of random windows of streamed clips, without end; every process reads its own part of the dataset.

    Windows are drawn from all open clips at random; a clip whose frames were used often enough makes room for the next
    of the stream. A thread works ahead; the state is that of the last batch that was taken.

    Attributes:
        sample: as in `StoredWindows`.
    """

    def __init__(self, settings: WindowStageSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator) -> None:
        self._settings = settings
        self._layouts = window_layouts(pipeline.layout, settings.new_latents)
        self._spans = [speech_span(pipeline.speech_encoder, layout) for layout in self._layouts]
        self._process = accelerator.process_index
        self._samples = settings.samples(accelerator.num_processes)
        frames = max(layout.window_frames for layout in self._layouts) + 1  # a window and a reference
        self._clips = StreamedClips(settings, frames, self._process, accelerator.num_processes)
        self.sample = self._clips.held_out() or self._clips.clip(0)
        self._numbers = list(range(settings.open_clips))  # of the clips that are open
        self._uses = [0] * settings.open_clips
        self._windows = 0
        self._state = self._snapshot()

    def batches(self, step: int) -> Iterator[dict[str, Tensor]]:
        """Batches of `sample_window`; the state tells where to go on, whatever the step."""
        made = queue.Queue(maxsize=BATCHES_AHEAD)
        over = threading.Event()
        worker = threading.Thread(target=self._work, args=(made, over), name="windows", daemon=True)
        worker.start()
        try:
            while True:
                batch, self._state = made.get()
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            over.set()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream was when the last batch was made."""
        return self._state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on after the batch of `state_dict`, of a stream with the same settings."""
        self._numbers, self._uses, self._windows = list(state["numbers"]), list(state["uses"]), state["windows"]
        self._clips.load_state_dict(state["clips"])
        self._state = state

    def _snapshot(self) -> dict[str, Any]:
        numbers, uses = list(self._numbers), list(self._uses)
        return {"numbers": numbers, "uses": uses, "windows": self._windows, "clips": self._clips.state_dict()}

    def _work(self, made: queue.Queue, over: threading.Event) -> None:
        while not over.is_set():
            try:
                rows = [self._draw() for _ in range(self._samples)]
                result = torch.utils.data.default_collate(rows), self._snapshot()
            except Exception as error:  # is raised where the batches are taken
                result = error, self._state
            while not over.is_set():
                with contextlib.suppress(queue.Full):
                    made.put(result, timeout=1)
                    break

    def _draw(self) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._settings.seed, self._process, self._windows))
        slot = int(rng.integers(len(self._numbers)))
        clip = self._clips.clip(self._numbers[slot])
        choice = draw_choice(len(self._layouts), self._settings.seed, self._windows // self._samples)
        layout = self._layouts[choice]
        row = sample_window(clip, layout, self._spans[choice], self._settings.size, rng, self._settings)
        self._windows += 1
        self._uses[slot] += 1
        if self._uses[slot] >= math.ceil(self._settings.passes * len(clip.frames) / layout.new_frames):
            self._numbers[slot], self._uses[slot] = max(self._numbers) + 1, 0
            self._clips.keep(self._numbers)
        return row


def open_windows(
    settings: WindowStageSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator
) -> StoredWindows | StreamedWindows:
    """The windows to train on.

    Raises:
        ValueError: the dataset cannot be used.
    """
    kind = StreamedWindows if settings.streaming else StoredWindows
    return kind(settings, pipeline, accelerator)


def to_unit(frames: Tensor) -> Tensor:
    """Frames with channels first, in [-1, 1]: (B, F, H, W, C) or (B, H, W, C) to (B, C, F, H, W) or (B, C, H, W).

    uint8 pictures are scaled; motion frames, which are floats, are so already.
    """
    frames = frames.movedim(-1, 1).contiguous()  # what follows is faster so
    return frames if frames.is_floating_point() else frames.float().div_(127.5).sub_(1)


def latent_weights(mouth: Tensor | None, latent_size: tuple[int, int], weight: float) -> Tensor | float:
    """Loss weights per latent pixel, `weight` on the mouth (B, H, W) and 1 elsewhere, normalised to mean 1:
    (B, 1, 1, h, w); 1 without a mouth in the picture."""
    if mouth is None:
        return 1.0
    share = F.adaptive_max_pool2d(mouth.unsqueeze(1), latent_size)
    weights = 1 + (weight - 1) * share
    return (weights / weights.mean((-2, -1), keepdim=True)).unsqueeze(2)
