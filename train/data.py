"""Training data: talking clips, cropped as the app crops, cut into windows by the window contract.

A dataset is anything `datasets.load_dataset` reads as rows with a video column: a Hub id, or a folder of mp4 files with
metadata. Each clip is decoded and cropped once into a store on disk, from which windows are drawn at random.
"""

import hashlib
import itertools
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import datasets
import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE, WindowLayout
from asymtalker.conditioning import cut_speech, speech_span
from asymtalker.media.portrait import CROP_MARGIN, FaceBox, crop_box, find_faces
from asymtalker.media.speech import read_speech
from asymtalker.media.video import probe_video, read_frames
from train.config import DataSettings, RunSettings

logger = logging.getLogger(__name__)

STORE_ROOM = 1.125
"""The store keeps this much more than the crop, so that the crop can be jittered."""
FACE_PROBES = 8
QUIET_WINDOW = 7
QUIET_SHARE = 0.003
"""A frame is quiet if the mean power of the frames around it is below this share of loud speech's (−25 dB)."""
MOUTH = (0.2, 0.6, 0.8, 1.02)
"""Mouth and chin inside a face box: left, top, right, bottom, as shares of its size."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of the store.

    Attributes:
        name: where it came from.
        frames: uint8 (F, S, S, 3), a memory map.
        speech: int16 (samples,) at 16 kHz.
        crop: left, top, side of the app's crop, in pixels of `frames`.
        face: left, top, width, height of the face box, in pixels of `frames`.
    """

    name: str
    frames: np.ndarray
    speech: np.ndarray
    crop: tuple[float, float, float]
    face: tuple[float, float, float, float]


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


def load_clips(source: str, split: str, size: int, store: str | Path, workers: int = 2) -> list[Clip]:
    """Loads the clips of a dataset, decoding into `store` those that are not there yet.

    Args:
        source: Hub id or folder.
        split: split of the dataset.
        size: side of the training frames in pixels.
        store: folder for decoded clips.
        workers: decoding threads.

    Raises:
        ValueError: if the dataset has no video column or none of its clips can be used.
    """
    rows = datasets.load_dataset(source, split=split, streaming=True)
    column = _video_column(rows, source)
    folder = Path(store) / hashlib.sha1(f"{source}|{split}|{size}|{STORE_ROOM}|{CROP_MARGIN}".encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    videos = [row[column] for row in rows.decode(False)]
    names = [Path(video["path"] or f"{index:06d}").stem for index, video in enumerate(videos)]
    jobs = [
        (video["bytes"] or video["path"], folder / name, size)
        for video, name in zip(videos, names, strict=True)
        if not (folder / f"{name}.json").exists()
    ]
    with ThreadPoolExecutor(workers) as pool:  # what decodes and resizes runs outside Python's lock
        list(tqdm(pool.map(_store_clip, *zip(*jobs, strict=True)), total=len(jobs), desc="clips")) if jobs else None
    clips = [clip for name in names if (clip := _load_clip(folder / name)) is not None]
    if not clips:
        raise ValueError(f"No clip of {source} ({split}) can be used: see the warnings above.")
    logger.info("%s (%s): %d clips of %d, %.2f h", source, split, len(clips), len(names), _hours(clips))
    return clips


def split_clips(settings: DataSettings) -> tuple[list[Clip], list[Clip]]:
    """The clips to train on, and those held out."""
    clips = load_clips(settings.dataset, settings.split, settings.size, settings.store)[: settings.clips]
    if not settings.holdout:
        return clips, []
    held_out = clips[:: settings.holdout]
    return [clip for clip in clips if clip not in held_out], held_out


def sample_window(
    clip: Clip, layout: WindowLayout, span: tuple[int, int], size: int, rng: np.random.Generator, law: WindowLaw
) -> dict[str, Tensor]:
    """Draws one window of a clip.

    Returns:
        `window` uint8 (F, H, W, 3), `portrait` uint8 (H, W, 3), `segment` float32 (samples,) of sound for
        `speech_windows`, `mouth` float32 (H, W), 1 where the mouth is.
    """
    start, portrait, cold = draw_window(len(clip.frames), layout, rng, law, quiet_frames(clip))
    view = _View(clip, size, rng if law.jitter else None)
    return {
        "portrait": view.frames([portrait])[0],
        "mouth": view.mouth(),
        **view.window(start, layout, span, rng, cold),
    }


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

    def portrait(self) -> Tensor:
        """The identity image: the stream's first frame, uint8 (H, W, 3)."""
        return self._view.frames([self._first])[0]

    def mouth(self) -> Tensor:
        """1 where the mouth is, float32 (H, W)."""
        return self._view.mouth()

    def window(self, chunk: int) -> dict[str, Tensor]:
        """`window` and `segment` of a chunk, as `sample_window` returns them."""
        start = self._first + self._layout.window_start(chunk)
        rng = np.random.default_rng((*self._seed, 1 + chunk))
        return self._view.window(start, self._layout, self._span, rng, origin=self._first)


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

    def mouth(self) -> Tensor:
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
        return {"window": self.frames(indices), "segment": segment}


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


def window_loader(
    clips: list[Clip], settings: WindowStageSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator, step: int
) -> torch.utils.data.DataLoader:
    """Batches of `sample_window` from the training clips, without end; every process draws its own.

    Args:
        step: steps already taken; the batches are those that follow.
    """
    dataset = WindowDataset(
        clips,
        pipeline.layout,
        speech_span(pipeline.speech_encoder, pipeline.layout),
        settings.size,
        settings,
        settings.seed,
    )
    first = step * settings.batch_size * accelerator.num_processes + accelerator.process_index
    return torch.utils.data.DataLoader(
        dataset,
        settings.batch_size,
        sampler=itertools.count(first, accelerator.num_processes),
        num_workers=settings.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # of the workers' seeds, which nobody uses: the noise of training stays as it is
    )


def to_unit(frames: Tensor) -> Tensor:
    """uint8 (B, F, H, W, 3) or (B, H, W, 3) to [-1, 1] with channels first: (B, 3, F, H, W) or (B, 3, H, W)."""
    return frames.movedim(-1, 1).contiguous().float().div_(127.5).sub_(1)  # contiguous: what follows is faster so


def mouth_weights(mouth: Tensor, latent_size: tuple[int, int], weight: float) -> Tensor:
    """Loss weights per latent pixel, `weight` on the mouth and 1 elsewhere, normalised to mean 1: (B, 1, 1, h, w)."""
    share = F.adaptive_max_pool2d(mouth.unsqueeze(1), latent_size)
    weights = 1 + (weight - 1) * share
    return (weights / weights.mean((-2, -1), keepdim=True)).unsqueeze(2)


def _video_column(rows: datasets.IterableDataset, source: str) -> str:
    for name, feature in (rows.features or {}).items():
        if isinstance(feature, datasets.Video):
            return name
    raise ValueError(f"{source} has no video column; its columns are {', '.join(rows.features or {})}.")


def _store_clip(video: bytes | str, target: Path, size: int) -> None:
    """Decodes one clip into the store; what cannot be used is noted there with the reason, and skipped."""
    try:
        record = _decode_clip(video, target, size)
    except (ValueError, OSError) as error:
        record = {"error": str(error)}
    target.with_suffix(".json").write_text(json.dumps(record))


def _decode_clip(video: bytes | str, target: Path, size: int) -> dict:
    if round(probe_video(video).fps) != FPS:
        raise ValueError(f"{probe_video(video).fps:g} frames per second; {FPS} are needed")
    speech = read_speech(video, SAMPLING_RATE)
    frames = np.stack(list(read_frames(video)))
    face = _median_face(frames)
    image_size = frames.shape[2], frames.shape[1]
    box, room = crop_box(face, image_size), crop_box(face, image_size, CROP_MARGIN * STORE_ROOM)
    side = round(size * room.side / box.side)
    frames = frames[:, room.top : room.top + room.side, room.left : room.left + room.side]
    scale = side / room.side
    np.save(target.with_suffix(".frames.npy"), np.stack([_resize(frame, side) for frame in frames]))
    np.save(target.with_suffix(".speech.npy"), np.round(np.clip(speech, -1, 1) * 32767).astype(np.int16))
    crop = [(box.left - room.left) * scale, (box.top - room.top) * scale, box.side * scale]
    corner = [(face.left - room.left) * scale, (face.top - room.top) * scale]
    return {"crop": crop, "face": [*corner, face.width * scale, face.height * scale]}


def _median_face(frames: np.ndarray) -> FaceBox:
    probes = np.linspace(0, len(frames) - 1, FACE_PROBES).astype(int)
    faces = [found[0] for probe in probes if (found := find_faces(Image.fromarray(frames[probe])))]
    if len(faces) < FACE_PROBES // 2:
        raise ValueError(f"a face was found in only {len(faces)} of {FACE_PROBES} frames")
    return FaceBox(*(int(value) for value in np.median(faces, axis=0)))


def _resize(frame: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA if side < len(frame) else cv2.INTER_LINEAR)


def _load_clip(target: Path) -> Clip | None:
    record = json.loads(target.with_suffix(".json").read_text())
    if "error" in record:
        logger.warning("skipped %s: %s", target.name, record["error"])
        return None
    return Clip(
        name=target.name,
        frames=np.load(target.with_suffix(".frames.npy"), mmap_mode="r"),
        speech=np.load(target.with_suffix(".speech.npy")),
        crop=tuple(record["crop"]),
        face=tuple(record["face"]),
    )


def _hours(clips: list[Clip]) -> float:
    return sum(len(clip.frames) for clip in clips) / FPS / 3600
