"""Pictures of faces with the face mesh's landmarks: photographs that come with them, and frames of clips.

A folder of photographs has `images/*.jpg` (or any other format that Pillow reads) and `landmarks.npz`: for each image
an array under the file's stem, (478, 3) in pixels. Frames of clips are labelled once by the face mesh and stored.
"""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from asymtalker.media.portrait import read_portrait
from asymtalker.media.video import read_frames
from asymtalker.metrics.face_mesh import FaceMesh
from asymtalker.renderer.landmarks import POINTS
from train.clips import open_rows

logger = logging.getLogger(__name__)

FRAME_SIDE = 256
"""Frames of clips are stored with so many pixels a side."""


class LabelledFace(NamedTuple):
    """Attributes:
    image: uint8 (H, W, 3) RGB.
    points: float32 (478, 3) in pixels of it.
    """

    image: np.ndarray
    points: np.ndarray


def read_photographs(folder: str | Path) -> list[LabelledFace]:
    """The photographs of a folder that have landmarks, in the order of their names.

    Raises:
        ValueError: the folder has no landmarks, or none for its images.
    """
    folder = Path(folder)
    if not (folder / "landmarks.npz").exists():
        raise ValueError(f"{folder} has no landmarks.npz: it holds (478, 3) in pixels under the stem of each image.")
    with np.load(folder / "landmarks.npz") as labels:
        paths = [path for path in sorted((folder / "images").iterdir()) if path.stem in labels]
        if not paths:
            raise ValueError(f"{folder / 'landmarks.npz'} has landmarks for none of the files in {folder / 'images'}.")
        for path in paths:
            if labels[path.stem].shape != (POINTS, 3):
                raise ValueError(f"The landmarks of {path} are {labels[path.stem].shape}, not ({POINTS}, 3).")
        return [LabelledFace(np.asarray(read_portrait(path)), labels[path.stem].astype(np.float32)) for path in paths]


def read_clip_faces(dataset: str, split: str, frames: int, store: str | Path) -> list[list[LabelledFace]]:
    """Labelled frames of each clip of a dataset, from `store`; the face mesh is asked for what is not there yet.

    Args:
        dataset: folder or Hub id.
        split: of the dataset.
        frames: of each clip, evenly spaced.
        store: folder.

    Raises:
        ValueError: the dataset cannot be read.
        MetricUnavailableError: frames have to be labelled and there is no face mesh.
    """
    images, labels = store_files(dataset, split, frames, store)
    if not labels.exists():
        _label_clips(dataset, split, frames, images, labels)
    stored = np.load(images, mmap_mode="r")
    points = np.load(labels)
    clips = [
        [LabelledFace(stored[clip, frame], points[clip, frame]) for frame in np.flatnonzero(found)]
        for clip, found in enumerate(np.isfinite(points).all(axis=(2, 3)))
    ]
    return [clip for clip in clips if clip]


def store_files(dataset: str, split: str, frames: int, store: str | Path) -> tuple[Path, Path]:
    """Where `read_clip_faces` keeps frames, uint8 (clips, frames, S, S, 3), and landmarks (clips, frames, 478, 3)."""
    digest = hashlib.sha1(f"{dataset}|{split}|{frames}|{FRAME_SIDE}".encode()).hexdigest()[:12]
    return Path(store) / f"faces-{digest}-images.npy", Path(store) / f"faces-{digest}-points.npy"


def _label_clips(dataset: str, split: str, frames: int, images: Path, labels: Path) -> None:
    rows, column = open_rows(dataset, split)
    videos = [row[column] for row in rows]
    images.parent.mkdir(parents=True, exist_ok=True)
    shape = (len(videos), frames, FRAME_SIDE, FRAME_SIDE, 3)
    stored = np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=shape)
    points = np.full((*shape[:2], POINTS, 3), np.nan, np.float32)
    with FaceMesh() as mesh:
        for clip, video in enumerate(tqdm(videos, desc="landmarks")):
            mesh.reset()
            for frame, image in enumerate(_spaced_frames(video["bytes"] or video["path"], frames)):
                stored[clip, frame] = image
                twice = np.stack([image, image])  # the mesh looks where the last frame's face was
                points[clip, frame] = mesh.landmarks(twice)[1]
    stored.flush()
    np.save(labels, points)


def _spaced_frames(video: str | bytes, count: int) -> Iterator[np.ndarray]:
    """Evenly spaced frames of a video, their middle square, `FRAME_SIDE` pixels a side."""
    frames = list(read_frames(video))
    for index in np.linspace(0, len(frames) - 1, count + 2)[1:-1].round().astype(int):
        height, width = frames[index].shape[:2]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = frames[index][top : top + side, left : left + side]
        yield cv2.resize(square, (FRAME_SIDE, FRAME_SIDE), interpolation=cv2.INTER_AREA)
