"""Training data: windows cut from talking clips by the window contract."""

import contextlib
import itertools
import math
import queue
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.conditioning import cut_speech, speech_span
from asymtalker.models.motion import FACE_POINTS, LIP_POINTS, measure_displacement, move_face
from train.clips import Clip, StreamedClips, split_clips
from train.config import DataSettings, RunSettings

QUIET_WINDOW = 7
QUIET_SHARE = 0.003
"""A frame is quiet if the mean power of the frames around it is below this share of loud speech's (−25 dB)."""
BATCHES_AHEAD = 4
MOUTH = (0.2, 0.6, 0.8, 1.02)
"""Mouth and chin inside a face box: left, top, right, bottom, as shares of its size."""


@dataclass(frozen=True, kw_only=True)
class WindowLaw:
    """How windows are drawn for the teacher.

    Attributes:
        cold_start: probability of a window that starts from the portrait held still, its speech from silence.
        reference_reach: the reference frame is at most this many frames away from the window.
        quiet_reference: probability of a reference from a quiet moment of the clip, however far, where there is one:
            people give portraits with their mouth shut.
        jitter: vary crop, loudness and noise.
    """

    cold_start: float = 0.1
    reference_reach: int = 75
    quiet_reference: float = 0.8
    jitter: bool = True


@dataclass(frozen=True, kw_only=True)
class WindowStageSettings(DataSettings, RunSettings, WindowLaw):
    """Settings of a stage that trains on windows of real clips."""


def sample_window(
    clip: Clip, layout: WindowLayout, span: tuple[int, int], size: int, rng: np.random.Generator, law: WindowLaw
) -> dict[str, Tensor]:
    """Draws one window of a clip.

    Returns:
        `window` uint8 (F, H, W, 3), `portrait` uint8 (H, W, 3), `segment` float32 (samples,) of sound for
        `speech_windows`, `mouth` float32 (H, W), 1 where the mouth is; of the face, NaN where unknown: movements `lips`
        float32 (F, 80), how far `lids` are shut (F,), landmarks `points` (F, 70, 2), and those of the portrait,
        `portrait_lips`, `portrait_lids` and `portrait_points`.
    """
    start, portrait, cold = draw_window(len(clip.frames), layout, rng, law, quiet_frames(clip))
    view = _View(clip, size, rng if law.jitter else None)
    return view.portrait(portrait) | view.window(start, layout, span, rng, cold)


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


def quiet_frames(clip: Clip) -> np.ndarray:
    """Frames in which nothing is said, so that the mouth is likely to be shut: around them all is far below speech."""
    frames = min(len(clip.frames), len(clip.speech) // SAMPLES_PER_FRAME)
    sound = clip.speech[: frames * SAMPLES_PER_FRAME].reshape(frames, -1).astype(np.float32)
    power = np.square(sound).mean(1)
    around = np.convolve(power, np.ones(QUIET_WINDOW) / QUIET_WINDOW, mode="same")
    return np.flatnonzero(around < QUIET_SHARE * np.quantile(power, 0.9))


class ClipStream:
    """A real clip cut as the pipeline would cut its stream: cold start at `first`, then chunk after chunk.

    The jitter of crop, loudness and noise is that of `seed`; without one there is none.
    """

    def __init__(
        self,
        clip: Clip,
        first: int,
        layout: WindowLayout,
        span: tuple[int, int],
        size: int,
        seed: tuple[int, ...] | None,
    ) -> None:
        self._view = _View(clip, size, None if seed is None else np.random.default_rng(seed))
        self._first, self._layout, self._span, self._seed = first, layout, span, seed or ()
        self.chunks = (len(clip.frames) - first) // layout.new_frames

    def window(self, chunk: int) -> dict[str, Tensor]:
        """A chunk as `sample_window` returns it; the portrait is the stream's first frame."""
        start = self._first + self._layout.window_start(chunk)
        rng = np.random.default_rng((*self._seed, 1 + chunk))
        window = self._view.window(start, self._layout, self._span, rng, origin=self._first)
        return self._view.portrait(self._first) | window


class _View:
    """A clip through one crop and one microphone: the jitter is the same for all that is taken from it."""

    def __init__(self, clip: Clip, size: int, rng: np.random.Generator | None) -> None:
        self._clip, self._size = clip, size
        left, top, side = clip.crop
        self._gain, self._noisy = 1.0, False
        if rng is not None:
            limit = clip.frames.shape[1]
            scaled = min(side * rng.uniform(0.95, 1.06), limit)
            left += (side - scaled) / 2 + rng.uniform(-0.04, 0.04) * side
            top += (side - scaled) / 2 + rng.uniform(-0.04, 0.04) * side
            side = scaled
            self._gain = 10 ** rng.uniform(-0.5, 0.5)
            self._noisy = rng.random() < 0.5
        limit = clip.frames.shape[1]
        self._box = (np.clip(left, 0, limit - side), np.clip(top, 0, limit - side), side)

    def frames(self, indices: list[int]) -> Tensor:
        left, top, side = self._box
        scale = self._size / side
        affine = np.array([[scale, 0, (0.5 - left) * scale - 0.5], [0, scale, (0.5 - top) * scale - 0.5]])
        smooth = cv2.INTER_AREA if scale < 0.7 else cv2.INTER_LINEAR
        crops = [
            cv2.warpAffine(
                self._clip.frames[index],
                affine,
                (self._size, self._size),
                flags=smooth,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for index in indices
        ]
        return torch.from_numpy(np.stack(crops))

    def portrait(self, index: int) -> dict[str, Tensor]:
        """A frame as identity image, where the mouth is in the picture, and its motion, named after the portrait."""
        motion = {f"portrait_{name}": values[0] for name, values in self.motion([index]).items()}
        return {"portrait": self.frames([index])[0], "mouth": self._mouth(), **motion}

    def _mouth(self) -> Tensor:
        left, top, side = self._box
        x, y, width, height = self._clip.face
        mask = torch.zeros(self._size, self._size)
        scale = self._size / side
        x0, x1 = (round((x + share * width - left) * scale) for share in MOUTH[::2])
        y0, y1 = (round((y + share * height - top) * scale) for share in MOUTH[1::2])
        mask[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 1
        return mask

    def window(
        self,
        start: int,
        layout: WindowLayout,
        span: tuple[int, int],
        rng: np.random.Generator,
        cold: bool = False,
        origin: int | None = None,
    ) -> dict[str, Tensor]:
        """The frames and the sound of a window; before `origin` the first frame is held and there is silence."""
        if cold:
            origin = start + layout.continuity_frames
        origin = 0 if origin is None else origin
        indices = [max(index, origin) for index in range(start, start + layout.window_frames)]
        speech = torch.from_numpy(self._clip.speech[origin * SAMPLES_PER_FRAME :].astype(np.float32) / 32768)
        segment = cut_speech(speech, start - origin, layout, span) * self._gain
        if self._noisy:
            level = 10 ** rng.uniform(-4, -2.5)
            segment = segment + level * torch.from_numpy(rng.standard_normal(len(segment), dtype=np.float32))
        return {"window": self.frames(indices), "segment": segment, **self.motion(indices)}

    def motion(self, indices: list[int]) -> dict[str, Tensor]:
        """Of frames, NaN where unknown: `lips` (F, 80), `lids` (F,), and `points` (F, 70, 2) in pixels."""
        measured = self._clip.motion
        if measured is None or not len(measured):
            values = torch.full((len(indices), 2 * LIP_POINTS + 1 + 2 * FACE_POINTS), torch.nan)
        else:
            values = torch.from_numpy(measured[np.minimum(indices, len(measured) - 1)])
        lips, lids, points = values.split([2 * LIP_POINTS, 1, 2 * FACE_POINTS], dim=1)
        left, top, side = self._box
        points = (points.unflatten(1, (-1, 2)) - torch.tensor([left, top], dtype=torch.float32)) * (self._size / side)
        return {"lips": lips, "lids": lids.squeeze(1), "points": points}


class WindowDataset(torch.utils.data.Dataset):
    """Random windows of clips, without end; each has a number, by which it can be drawn again."""

    def __init__(
        self, clips: list[Clip], layout: WindowLayout, span: tuple[int, int], size: int, law: WindowLaw, seed: int
    ) -> None:
        shortest = layout.window_frames + 1
        self._clips = [clip for clip in clips if len(clip.frames) >= shortest]
        if not self._clips:
            raise ValueError(f"All clips are shorter than {shortest} frames, a window and a reference.")
        weights = np.array([len(clip.frames) - layout.window_frames for clip in self._clips], dtype=float)
        self._shares = weights / weights.sum()
        self._layout, self._span, self._size, self._law, self._seed = layout, span, size, law, seed

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self._seed, number))
        clip = self._clips[rng.choice(len(self._clips), p=self._shares)]
        return sample_window(clip, self._layout, self._span, self._size, rng, self._law)


class StoredWindows:
    """Batches of random windows of stored clips, without end; every process draws its own.

    Attributes:
        sample: a clip to make sample videos of, held out if any is.
    """

    def __init__(self, settings: WindowStageSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator) -> None:
        clips, held_out = split_clips(settings)
        self.sample = (held_out or clips)[0]
        self._settings, self._accelerator = settings, accelerator
        span = speech_span(pipeline.speech_encoder, pipeline.layout)
        self._dataset = WindowDataset(clips, pipeline.layout, span, settings.size, settings, settings.seed)

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
        self._settings, self._layout = settings, pipeline.layout
        self._process = accelerator.process_index
        self._samples = settings.samples(accelerator.num_processes)
        self._span = speech_span(pipeline.speech_encoder, pipeline.layout)
        frames = pipeline.layout.window_frames + 1  # a window and a reference
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
        row = sample_window(clip, self._layout, self._span, self._settings.size, rng, self._settings)
        self._windows += 1
        self._uses[slot] += 1
        if self._uses[slot] >= math.ceil(self._settings.passes * len(clip.frames) / self._layout.new_frames):
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
    """uint8 (B, F, H, W, 3) or (B, H, W, 3) to [-1, 1] with channels first: (B, 3, F, H, W) or (B, 3, H, W)."""
    return frames.movedim(-1, 1).contiguous().float().div_(127.5).sub_(1)  # contiguous: what follows is faster so


def facial_movement(batch: dict[str, Tensor], frames: list[int] | Tensor) -> tuple[Tensor, Tensor]:
    """How lips (B, F, 80) and lids (B, F) moved from the portrait to frames of a batch; NaN where unknown.

    Lids that are wider open than the portrait's count as those.
    """
    lips = batch["lips"][:, frames] - batch["portrait_lips"].unsqueeze(1)
    before = batch["portrait_lids"].unsqueeze(1)
    return lips, ((batch["lids"][:, frames] - before) / (1 - before).clamp(min=0.1)).clamp(0, 1)


def window_displacement(batch: dict[str, Tensor], portrait: Tensor, frames: Tensor, continuity_frames: int) -> Tensor:
    """The head's displacement of a batch of `sample_window` in κ's first frame, κ's last, and the new frames.

    Args:
        portrait, frames: those of the batch by `to_unit`.

    Returns:
        (B, 2, 2 + r·N, H/4, W/4) in pixels.
    """
    shown = [0, *range(continuity_frames - 1, frames.shape[2])]
    return head_displacement(portrait, frames[:, :, shown], batch["portrait_points"], *facial_movement(batch, shown))


def head_displacement(portrait: Tensor, frames: Tensor, points: Tensor, lips: Tensor, lids: Tensor) -> Tensor:
    """Where frames look in a portrait whose lips and lids have moved as theirs: what is left is the head's movement.

    Args:
        portrait: (B, 3, H, W) in [-1, 1].
        frames: (B, 3, F, H, W).
        points: landmarks of the portrait, (B, 70, 2) in pixels; NaN where unknown.
        lips, lids: movements from the portrait to the frames, (B, F, 80) and (B, F); NaN where unknown: they are left
            alone.

    Returns:
        (B, 2, F, H/4, W/4) in pixels.
    """
    count = frames.shape[2]
    portraits, points = (values.repeat_interleave(count, 0) for values in (portrait, points.nan_to_num()))
    talking = move_face(portraits, points, *(moves.flatten(0, 1).nan_to_num() for moves in (lips, lids)))
    displacement = measure_displacement(talking, frames.transpose(1, 2).flatten(0, 1).unsqueeze(2)).squeeze(2)
    return displacement.unflatten(0, (-1, count)).transpose(1, 2)


def mouth_weights(mouth: Tensor, latent_size: tuple[int, int], weight: float) -> Tensor:
    """Loss weights per latent pixel, `weight` on the mouth and 1 elsewhere, normalised to mean 1: (B, 1, 1, h, w)."""
    share = F.adaptive_max_pool2d(mouth.unsqueeze(1), latent_size)
    weights = 1 + (weight - 1) * share
    return (weights / weights.mean((-2, -1), keepdim=True)).unsqueeze(2)
