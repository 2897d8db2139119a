"""Clips of a dataset for evaluation: reference, speech, and the real frames in the reference's crop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import datasets
import numpy as np
from PIL import Image

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.media.dataset import open_dataset
from asymtalker.media.portrait import CropBox, crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.video import probe_video, read_frames

IMAGES = (".jpg", ".jpeg", ".png", ".webp")
RECORDINGS = (".wav", ".mp3", ".m4a", ".ogg", ".flac")
TEXT_COLUMN = "text"
"""Of a dataset: what is said in each clip."""
FACE_STEP = 10
"""Frames from one in which a face is looked for to the next."""


@dataclass(frozen=True, eq=False)
class EvaluationClip:
    """A real clip as it is compared with; or a portrait that comes without one.

    Attributes:
        name: stem of its file.
        portrait: crop of its first frame at native resolution: what is animated.
        frames: the clip in that crop at the checkpoint's size, uint8 (F, H, W, 3); of a portrait only itself.
        speech: mono, 16 kHz, float32 (F · 640,): as long as the frames; of a portrait none.
        recording: the whole clip's sound, from which the speech is cut; float32 (samples,).
        text: what is said in the recording; None where the dataset does not say.
    """

    name: str
    portrait: Image.Image
    frames: np.ndarray
    speech: np.ndarray
    recording: np.ndarray
    text: str | None = None

    @property
    def is_real(self) -> bool:
        """Whether there is a clip to compare with."""
        return len(self.frames) > 1


def open_clips(settings: EvaluationSettings, size: tuple[int, int]) -> Clips:
    """The clips that the settings name: of a dataset, or of a folder of portraits and recordings.

    Raises:
        ValueError: see `EvaluationDataset` and `PortraitFolder`.
    """
    folder = Path(settings.dataset)
    kind = PortraitFolder if folder.is_dir() and _files(folder, IMAGES) else EvaluationDataset
    return kind(settings, size)


class Clips(ABC):
    """What is evaluated on.

    Attributes:
        names: of the clips.
        people: who is shown in each.
    """

    names: list[str]
    people: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def clip(self, number: int) -> EvaluationClip:
        """Decodes a clip.

        Raises:
            ValueError: it cannot be used; the message says why.
            OSError: it cannot be read.
        """

    @abstractmethod
    def speech(self, number: int) -> np.ndarray:
        """The speech of a clip, mono 16 kHz, float32 (samples,).

        Raises:
            ValueError: it has none.
        """

    def long_speech(self, number: int, seconds: float) -> np.ndarray:
        """Speech of `seconds`: that of a clip and of those after it, again from the first where they end.

        Raises:
            ValueError: no clip has sound.
        """
        parts, length, wanted = [], 0, round(seconds * SAMPLING_RATE)
        for step in range(len(self)):
            try:
                parts.append(self.speech((number + step) % len(self)))
            except (ValueError, OSError):
                continue
            length += len(parts[-1])
            if length >= wanted:
                break
        if not length:
            raise ValueError("No clip has sound.")
        speech = np.concatenate(parts)
        return np.tile(speech, -(-wanted // length))[:wanted]


class PortraitFolder(Clips):
    """A folder of portraits and recordings, for long rollouts.

    A recording of a portrait's name is its own; a portrait without one gets the recordings in turn.

    Raises:
        ValueError: there is no recording, no portrait of a wanted name, or the videos are not to be long rollouts.
    """

    def __init__(self, settings: EvaluationSettings, size: tuple[int, int]) -> None:
        if settings.seconds is None:
            raise ValueError(
                f"{settings.dataset} holds portraits, which no video can be compared with: give --seconds for long "
                "rollouts, or a folder of mp4 clips."
            )
        folder = Path(settings.dataset)
        self._settings, self._size = settings, size
        portraits, self._recordings = _files(folder, IMAGES), _files(folder, RECORDINGS)
        if not self._recordings:
            raise ValueError(f"{folder} has portraits but no speech: add recordings ({', '.join(RECORDINGS)}).")
        chosen = _choose([path.stem for path in portraits], settings)
        self._portraits = [portraits[index] for index in chosen]
        self.names = _distinct([path.stem for path in self._portraits])
        self.people = self.names

    def clip(self, number: int) -> EvaluationClip:
        portrait = crop_portrait(read_portrait(self._portraits[number]), find_face=self._settings.crop).image
        frame = np.asarray(portrait.resize(self._size))
        silence = np.zeros(0, np.float32)
        return EvaluationClip(self.names[number], portrait, frame[None], silence, silence)

    def speech(self, number: int) -> np.ndarray:
        own = [path for path in self._recordings if path.stem == self._portraits[number].stem]
        recording = own[0] if own else self._recordings[number % len(self._recordings)]
        return read_speech(recording, SAMPLING_RATE)


class EvaluationDataset(Clips):
    """The clips of a dataset that the settings choose, opened one at a time.

    Raises:
        ValueError: the dataset cannot be read, has no videos, none with the wanted names, or lacks a column.
    """

    def __init__(self, settings: EvaluationSettings, size: tuple[int, int]) -> None:
        self._settings, self._size = settings, size
        rows, self._column = _open_rows(settings.dataset, settings.split)
        self._rows = rows.select_columns([self._column])
        self._texts = list(rows[TEXT_COLUMN]) if TEXT_COLUMN in rows.features else [None] * len(rows)
        names = _distinct([Path(row[self._column]["path"] or "clip").stem for row in self._rows])
        self._indices = chosen = _choose(names, settings)
        people = _people(rows, settings) or names
        self.names = [names[index] for index in chosen]
        self.people = [str(people[index]) for index in chosen]

    def clip(self, number: int) -> EvaluationClip:
        frames = list(self._frames(self._video(number)))
        if not frames:
            raise ValueError("it has no frames")
        box = self._crop(frames)
        region = slice(box.top, box.top + box.side), slice(box.left, box.left + box.side)
        cropped = [self._resized(frame[region]) for frame in frames]
        recording = read_speech(self._video(number), SAMPLING_RATE)
        speech = self._cut(recording)
        count = min(len(cropped), len(speech) // SAMPLES_PER_FRAME)
        if count < 2:
            raise ValueError(f"it has {count} frames with sound; 2 are needed")
        return EvaluationClip(
            self.names[number],
            Image.fromarray(frames[0][region]),
            np.stack(cropped[:count]),
            speech[: count * SAMPLES_PER_FRAME],
            recording,
            self._texts[self._indices[number]] or None,
        )

    def _crop(self, frames: list[np.ndarray]) -> CropBox:
        """The app's crop of the first frame, or of the first in which the detector finds the face (it may blink)."""
        error = None
        for frame in frames[::FACE_STEP]:
            try:
                return crop_portrait(Image.fromarray(frame), find_face=self._settings.crop).box
            except ValueError as found:
                error = error or found
        raise ValueError(f"{error}")

    def speech(self, number: int) -> np.ndarray:
        return self._cut(read_speech(self._video(number), SAMPLING_RATE))

    def _cut(self, speech: np.ndarray) -> np.ndarray:
        limit = self._settings.max_seconds
        return speech if limit is None else speech[: round(limit * SAMPLING_RATE)]

    def _video(self, number: int) -> bytes | str:
        video = self._rows[self._indices[number]][self._column]
        return video["bytes"] or video["path"]

    def _frames(self, video: bytes | str) -> Iterator[np.ndarray]:
        rate = probe_video(video).fps
        if round(rate) != FPS:
            raise ValueError(f"it has {rate:g} frames per second; {FPS} are needed (ffmpeg -i in.mp4 -r {FPS} out.mp4)")
        limit = self._settings.max_seconds
        return islice(read_frames(video), None if limit is None else round(limit * FPS))

    def _resized(self, frame: np.ndarray) -> np.ndarray:
        smaller = self._size[0] < frame.shape[1]
        return cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in endings)


def _open_rows(source: str, split: str) -> tuple[datasets.Dataset, str]:
    rows, column = open_dataset(source, split)
    if column is None:
        raise ValueError(f"{source} has no video column; its columns are {', '.join(rows.features)}.")
    return rows.cast_column(column, datasets.Video(decode=False)), column


def _people(rows: datasets.Dataset, settings: EvaluationSettings) -> list | None:
    """Who is shown in each row; None where the settings name no column."""
    if settings.person_column is None:
        return None
    if settings.person_column not in rows.features:
        columns = ", ".join(rows.features)
        raise ValueError(f"{settings.dataset} has no column {settings.person_column!r}; its columns are {columns}.")
    return list(rows[settings.person_column])


def _distinct(names: list[str]) -> list[str]:
    """The names, with their row's number where several are alike (folders may repeat them)."""
    return [name if names.count(name) == 1 else f"{name}-{row:05d}" for row, name in enumerate(names)]


def _choose(names: list[str], settings: EvaluationSettings) -> list[int]:
    """Indices of the wanted clips: those listed, of them `clips` evenly spread."""
    if settings.names is not None:
        missing = sorted(set(settings.names) - set(names))
        if missing:
            raise ValueError(
                f"{settings.dataset} lacks {len(missing)} clips of the protocol: {', '.join(missing[:5])} ..."
            )
    indices = [index for index, name in enumerate(names) if settings.names is None or name in settings.names]
    if not indices:
        raise ValueError(f"{settings.dataset} ({settings.split}) has no clips.")
    count = min(settings.clips or len(indices), len(indices))
    return [indices[step * len(indices) // count] for step in range(count)]
