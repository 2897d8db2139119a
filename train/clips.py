"""Talking clips of a dataset, cropped as the app crops.

A dataset is anything `datasets.load_dataset` reads as rows with a video column: a Hub id, or a folder of mp4 files with
metadata, of Parquet files or of WebDataset archives. A small one is decoded and cropped once, into a store on disk; a
large one is streamed, each process its own part, and a few clips at a time are held in memory.
"""

import hashlib
import itertools
import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node
from PIL import Image
from tqdm import tqdm

from asymtalker.chunks import FPS, SAMPLING_RATE
from asymtalker.media.dataset import open_dataset
from asymtalker.media.faces import FaceBox, find_faces
from asymtalker.media.portrait import CROP_MARGIN, crop_box
from asymtalker.media.speech import read_speech
from asymtalker.media.video import probe_video, read_frames
from train.config import DataSettings

logger = logging.getLogger(__name__)

STORE_ROOM = 1.125
"""A clip keeps this much more than the crop, so that the crop can be jittered."""
FACE_PROBES = 8
DECODED_AHEAD = 2
"""Clips that each thread of a stream decodes before they are asked for."""
PATIENCE = 64
"""A stream whose first rows are all unusable, so many of them, is given up."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip, cropped a little wider than the app crops.

    Attributes:
        name: where it came from.
        frames: uint8 (F, S, S, 3).
        speech: int16 (samples,) at 16 kHz.
        crop: left, top, side of the app's crop, in pixels of `frames`.
        face: left, top, width, height of the face box, in pixels of `frames`.
    """

    name: str
    frames: np.ndarray
    speech: np.ndarray
    crop: tuple[float, float, float]
    face: tuple[float, float, float, float]

    def __len__(self) -> int:
        return len(self.frames)


class Position(NamedTuple):
    """A place in a stream of rows: the epoch, and datasets' own state within it (None at its start)."""

    epoch: int = 0
    rows: dict[str, Any] | None = None


def open_rows(source: str, split: str) -> tuple[datasets.IterableDataset, str]:
    """Opens a dataset for streaming; returns it, with its videos as bytes or paths, and the name of their column.

    Raises:
        ValueError: there is no such dataset or split, or it has no video column.
    """
    rows, column = open_dataset(source, split, streaming=True)
    if column is None:
        columns = ", ".join(rows.features or {})
        raise ValueError(f"{source} has no video column (its columns: {columns}); `python -m train.prepare` makes one.")
    return rows.decode(False), column


def store_folder(source: str, split: str, size: int, store: str | Path) -> Path:
    """Where `load_clips` keeps the clips of a dataset."""
    return Path(store) / hashlib.sha1(f"{source}|{split}|{size}|{STORE_ROOM}|{CROP_MARGIN}".encode()).hexdigest()[:12]


def load_clips(source: str, split: str, size: int, store: str | Path, workers: int = 2) -> list[Clip]:
    """Loads the clips of a dataset, decoding into `store` those that are not there yet.

    Args:
        source: Hub id or folder.
        split: split of the dataset.
        size: side of the training frames in pixels.
        store: folder for decoded clips.
        workers: decoding threads.

    Raises:
        ValueError: if the dataset cannot be read or none of its clips can be used.
    """
    rows, column = open_rows(source, split)
    folder = store_folder(source, split, size, store)
    folder.mkdir(parents=True, exist_ok=True)
    videos = [row[column] for row in rows]
    names = [Path(video["path"] or f"{index:06d}").stem for index, video in enumerate(videos)]
    jobs = [
        (video["bytes"] or video["path"], folder / name, size)
        for video, name in zip(videos, names, strict=True)
        if not (folder / f"{name}.json").exists()
    ]
    with ThreadPoolExecutor(workers) as pool:  # what decodes and resizes runs outside Python's lock
        list(tqdm(pool.map(_store_clip, *zip(*jobs, strict=True)), total=len(jobs), desc="clips")) if jobs else None
    clips = [clip for name in names if (clip := _read_stored(folder / name)) is not None]
    if not clips:
        raise ValueError(f"No clip of {source} ({split}) can be used: see the warnings above.")
    logger.info("%s (%s): %d clips of %d, %.2f h", source, split, len(clips), len(names), _hours(clips))
    return clips


class StreamedClips:
    """Clips of a dataset too large to be stored, in the order of a stream that never ends.

    Every process reads its own part, shard after shard in an order drawn anew for each epoch. A clip has a number,
    counted from 0; it stays open until `keep` lets it go. What cannot be used is left out, counted and named. The state
    tells where each open clip was read, so that resuming does not read the epoch again.

    Args:
        settings: of the data.
        frames: clips shorter than this are left out.
        process, processes: which part of the dataset is read.

    Raises:
        ValueError: the dataset cannot be read.
    """

    def __init__(self, settings: DataSettings, frames: int, process: int = 0, processes: int = 1) -> None:
        self._rows, self._column = open_rows(settings.dataset, settings.split)
        self._settings, self._frames = settings, frames
        self._process, self._processes = process, processes
        self._pool = ThreadPoolExecutor(max(1, settings.workers))
        self._open: dict[int, Clip] = {}
        self._marks: dict[int, Position] = {}
        self._next, self._position = 0, Position()
        self._ahead = self._decoded_ahead()
        self.read, self.left_out = 0, 0

    def clip(self, number: int) -> Clip:
        """The clip of a number, which is open or the next one.

        Raises:
            ValueError: none of the dataset's first rows can be used.
        """
        while number >= self._next:
            self._marks[self._next], self._open[self._next] = self._read()
            self._next += 1
        return self._open[number]

    def keep(self, numbers: Iterable[int]) -> None:
        """Lets all clips go but these."""
        for number in set(self._open) - set(numbers):
            del self._open[number], self._marks[number]

    def held_out(self) -> Clip | None:
        """A clip that is not trained on; None if there is none."""
        if not self._settings.holdout:
            return None
        held = (self._decode(row) for row in self._epoch(0) if self._is_held_out(row))
        return next((clip for clip in held if isinstance(clip, Clip)), None)

    def state_dict(self) -> dict[str, Any]:
        """Where the open clips and the next one are in the dataset."""
        marks = {number: mark._asdict() for number, mark in self._marks.items()}
        return {"next": self._next, "position": self._position._asdict(), "marks": marks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Opens the clips of `state_dict` again."""
        self._next, self._position = state["next"], Position(**state["position"])
        self._marks = {number: Position(**mark) for number, mark in state["marks"].items()}
        self._open = {number: self._decode(next(self._walk(mark))[1]) for number, mark in self._marks.items()}
        self._ahead = self._decoded_ahead()

    def _read(self) -> tuple[Position, Clip]:
        while True:
            name, mark, self._position, decoded = next(self._ahead)
            self.read += 1
            clip = decoded.result()
            if isinstance(clip, Clip):
                return mark, clip
            self.left_out += 1
            logger.warning("left out %s: %s (%d of %d so far)", name, clip, self.left_out, self.read)
            if self.left_out == self.read == PATIENCE:
                raise ValueError(f"None of the first {PATIENCE} clips of {self._settings.dataset} can be used.")

    def _decoded_ahead(self) -> Iterator[tuple[str, Position, Position, Future[Clip | str]]]:
        """Rows to be trained on, while threads decode those after them: name, position before and after, the clip."""
        pending = deque()
        for before, row, after in self._walk(self._position):
            if not self._is_held_out(row):
                pending.append((self._name(row), before, after, self._pool.submit(self._decode, row)))
            if len(pending) > DECODED_AHEAD * max(1, self._settings.workers):
                yield pending.popleft()

    def _walk(self, position: Position) -> Iterator[tuple[Position, dict, Position]]:
        """Rows from a position on, epoch after epoch, with the position before and after each."""
        for epoch in itertools.count(position.epoch):
            rows = self._epoch(epoch)
            if position.rows is not None:
                rows.load_state_dict(position.rows)
            for row in rows:
                after = Position(epoch, rows.state_dict())
                yield position, row, after
                position = after
            position = Position(epoch + 1)

    def _epoch(self, epoch: int) -> datasets.IterableDataset:
        """This process's rows of an epoch. The buffer is of one row: it shuffles the shards, and its state is whole."""
        rng = np.random.default_rng((self._settings.seed, epoch))
        rows = self._rows.shuffle(generator=rng, buffer_size=1, max_buffer_input_shards=1)
        return split_dataset_by_node(rows, self._process, self._processes)

    def _name(self, row: dict) -> str:
        return Path(row[self._column]["path"] or "a clip without a name").name

    def _is_held_out(self, row: dict) -> bool:
        if not self._settings.holdout:
            return False
        digest = hashlib.sha1(self._name(row).encode()).digest()  # every process has to come to the same
        return int.from_bytes(digest[:4]) % self._settings.holdout == 0

    def _decode(self, row: dict) -> Clip | str:
        """A clip, or why it cannot be used."""
        video = row[self._column]
        try:
            clip = decode_clip(video["bytes"] or video["path"], self._name(row), self._settings.size)
        except (ValueError, OSError) as error:
            return str(error)
        if len(clip.frames) < self._frames:
            return f"{len(clip.frames)} frames; {self._frames} are needed"
        return clip


def decode_clip(video: bytes | str, name: str, size: int) -> Clip:
    """Decodes and crops a clip; `size` is the side of the training frames in pixels.

    Raises:
        ValueError: it cannot be decoded, has another frame rate, no sound or no face.
    """
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
    return Clip(
        name=name,
        frames=np.stack([_resize(frame, side) for frame in frames]),
        speech=np.round(np.clip(speech, -1, 1) * 32767).astype(np.int16),
        crop=((box.left - room.left) * scale, (box.top - room.top) * scale, box.side * scale),
        face=((face.left - room.left) * scale, (face.top - room.top) * scale, face.width * scale, face.height * scale),
    )


def _store_clip(video: bytes | str, target: Path, size: int) -> None:
    """Decodes one clip into the store; what cannot be used is noted there with the reason, and left out."""
    try:
        clip = decode_clip(video, target.name, size)
    except (ValueError, OSError) as error:
        record = {"error": str(error)}
    else:
        np.save(target.with_suffix(".frames.npy"), clip.frames)
        np.save(target.with_suffix(".speech.npy"), clip.speech)
        record = {"crop": clip.crop, "face": clip.face}
    target.with_suffix(".json").write_text(json.dumps(record))


def _read_stored(target: Path) -> Clip | None:
    record = json.loads(target.with_suffix(".json").read_text())
    if "error" in record:
        logger.warning("left out %s: %s", target.name, record["error"])
        return None
    return Clip(
        name=target.name,
        frames=np.load(target.with_suffix(".frames.npy"), mmap_mode="r"),
        speech=np.load(target.with_suffix(".speech.npy")),
        crop=tuple(record["crop"]),
        face=tuple(record["face"]),
    )


def _median_face(frames: np.ndarray) -> FaceBox:
    probes = np.linspace(0, len(frames) - 1, FACE_PROBES).astype(int)
    faces = [found[0].box for probe in probes if (found := find_faces(Image.fromarray(frames[probe])))]
    if len(faces) < FACE_PROBES // 2:
        raise ValueError(f"a face was found in only {len(faces)} of {FACE_PROBES} frames")
    return FaceBox(*(int(value) for value in np.median(faces, axis=0)))


def _resize(frame: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA if side < len(frame) else cv2.INTER_LINEAR)


def _hours(clips: list[Clip]) -> float:
    return sum(len(clip.frames) for clip in clips) / FPS / 3600
