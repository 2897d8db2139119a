"""Turns a folder of raw videos into a dataset of talking clips, which the stages of training read.

    python -m train.prepare raw_videos data/mine --push-to-hub owner/name

Every video is brought to 25 frames a second and cut into shots; a shot with one steady face, a still background and
speech is cropped around the face and written as clips (mp4, with 16 kHz sound). What is left out is named with the
reason. An interrupted run goes on with the videos that are missing.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import argparse
import hashlib
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import cv2
import datasets
import librosa
import numpy as np
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError, LocalTokenNotFoundError
from tqdm import tqdm

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE
from asymtalker.media.faces import FaceBox, find_faces
from asymtalker.media.portrait import CropBox, crop_box
from asymtalker.media.speech import read_speech
from asymtalker.media.video import VideoWriter, open_video
from train.config import start_logging

logger = logging.getLogger(__name__)

EXTENSIONS = {".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts"}
SIDE = 256
"""Of a clip in pixels, if nothing else is asked for."""
MARGIN = 2.4
"""Side of a clip in widths of the face: more than the app's crop, so that training can vary it."""
MIN_SECONDS, MAX_SECONDS = 3.0, 30.0
CUT_SCORE = 4
"""Of FFmpeg's scdet, from 0 to 100. A talking head stays below 1; a jump in an interview can be as little as 6."""
PROBE_EVERY = 5
"""Frames from one search for faces to the next."""
MIN_FACE_SHARE = 0.8
MAX_TRAVEL = 0.35
"""How far the face may be from its median place, in widths of the face."""
THUMBNAIL = 64
MAX_BACKGROUND = 3.0
"""Mean change a frame, of 255, of what is not the person."""
PERSON = (0.95, 0.6)
"""A head reaches so many face widths to either side of its middle, and so many heights above the face box."""
SPEECH_BELOW_PEAK, SILENCE_LEVEL = 35, 0.005
MIN_SPEECH_SHARE = 0.25


@dataclass
class Shot:
    """What the first pass over a video notes of a shot.

    Attributes:
        start: first frame, at 25 a second.
        frames: how many.
        faces: of every `PROBE_EVERY`th frame the largest face, or None.
        changes: summed absolute changes of thumbnails, (h, w).
    """

    start: int
    frames: int = 0
    faces: list[FaceBox | None] = field(default_factory=list)
    changes: np.ndarray | float = 0.0

    @property
    def seconds(self) -> float:
        return self.frames / FPS


@dataclass(frozen=True)
class Crop:
    """A part of a shot that becomes a clip: frames [start, stop) of the video, and the square around the face."""

    start: int
    stop: int
    box: CropBox


def find_shots(path: Path) -> tuple[list[Shot], tuple[int, int]]:
    """Cuts a video into shots and finds the faces in them: (shots, (width, height) of the video).

    Raises:
        ValueError: it cannot be decoded.
    """
    shots, before, size = [], None, (0, 0)
    for index, (frame, is_cut) in enumerate(read_steadily(path)):
        if is_cut or not shots:
            shots.append(Shot(start=index))
            before = None
        shot, size = shots[-1], (frame.shape[1], frame.shape[0])
        if shot.frames % PROBE_EVERY == 0:
            shot.faces.append(next((face.box for face in find_faces(frame)), None))
        scale = THUMBNAIL / max(size)
        small = cv2.resize(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
        if before is not None:
            shot.changes = shot.changes + np.abs(small.astype(np.float32) - before)
        before = small
        shot.frames += 1
    return shots, size


def read_steadily(path: Path) -> Iterator[tuple[np.ndarray, bool]]:
    """Decodes a video at 25 frames a second: frames uint8 (H, W, 3), and whether a new scene begins with each."""
    with open_video(path) as (container, stream):
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(template=stream),
            graph.add("fps", str(FPS)),
            graph.add("scdet", f"threshold={CUT_SCORE}"),
            graph.add("format", "rgb24"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        turns = 0
        for frame in container.decode(stream):
            turns = round(frame.rotation / 90)  # telephones film on their side and say so
            graph.push(frame)
            yield from _pull(graph, turns)
        graph.push(None)
        yield from _pull(graph, turns)


def _pull(graph: av.filter.Graph, turns: int) -> Iterator[tuple[np.ndarray, bool]]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield np.rot90(frame.to_ndarray(), turns), float(frame.metadata.get("lavfi.scd.score", 0)) >= CUT_SCORE


def judge(shot: Shot, speech: np.ndarray, size: tuple[int, int]) -> CropBox:
    """The square to crop from a shot.

    Args:
        shot: see `find_shots`.
        speech: sound of the shot, (samples,) at 16 kHz.
        size: (width, height) of the video.

    Raises:
        ValueError: the shot cannot be used, with the reason.
    """
    if shot.seconds < MIN_SECONDS:
        raise ValueError(f"shorter than {MIN_SECONDS:g} s")
    faces = [face for face in shot.faces if face is not None]
    if len(faces) < MIN_FACE_SHARE * len(shot.faces):
        raise ValueError(f"a face in only {len(faces)} of {len(shot.faces)} frames")
    face = FaceBox(*(int(value) for value in np.median(faces, axis=0)))
    travel = np.abs(np.array([_centre(other) for other in faces]) - _centre(face)).max() / face.width
    if travel > MAX_TRAVEL:
        raise ValueError(f"the face moves by {travel:.2f} of its width")
    box = crop_box(face, size, MARGIN)
    change = _background_change(shot, face, box, size)
    if change > MAX_BACKGROUND:
        raise ValueError(f"the background changes by {change:.1f} of 255 a frame")
    spoken = _speech_share(speech)
    if spoken < MIN_SPEECH_SHARE:
        raise ValueError(f"speech in only {spoken:.0%} of the time")
    return box


def _centre(face: FaceBox) -> np.ndarray:
    return np.array([face.left + face.width / 2, face.top + face.height / 2])


def _background_change(shot: Shot, face: FaceBox, box: CropBox, size: tuple[int, int]) -> float:
    """Mean change a frame inside the crop above and beside the head; 0 where the head fills it."""
    height, width = shot.changes.shape
    x, y = (np.arange(count) * full / count for count, full in ((width, size[0]), (height, size[1])))
    inside = ((y >= box.top) & (y < box.top + box.side))[:, None] & ((x >= box.left) & (x < box.left + box.side))
    beside = np.abs(x - _centre(face)[0]) > PERSON[0] * face.width
    above, chin = y < face.top - PERSON[1] * face.height, face.top + face.height
    background = inside & (above[:, None] | (beside & (y < chin)[:, None]))
    return float((shot.changes[background] / max(1, shot.frames - 1)).mean()) if background.any() else 0.0


def _speech_share(speech: np.ndarray) -> float:
    if not len(speech) or np.abs(speech).max() < SILENCE_LEVEL:
        return 0.0
    spans = librosa.effects.split(speech, top_db=SPEECH_BELOW_PEAK)
    return float((spans[:, 1] - spans[:, 0]).sum() / len(speech))


def choose_crops(shots: list[Shot], speech: np.ndarray, size: tuple[int, int]) -> tuple[list[Crop], list[str]]:
    """The parts of a video that become clips, and why the other shots do not."""
    crops, refused = [], []
    for shot in shots:
        stop = shot.start + shot.frames
        try:
            box = judge(shot, speech[shot.start * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME], size)
        except ValueError as error:
            refused.append(f"{shot.start / FPS:.1f}–{stop / FPS:.1f} s: {error}")
            continue
        parts = int(np.ceil(shot.seconds / MAX_SECONDS))
        edges = np.linspace(shot.start, stop, parts + 1).round().astype(int)
        crops += [Crop(int(first), int(last), box) for first, last in itertools.pairwise(edges)]
    return crops, refused


def write_clips(
    path: Path, crops: list[Crop], speech: np.ndarray, folder: Path, name: str, side: int = SIDE
) -> list[dict]:
    """Writes the clips of a video in a second pass over it; returns their rows of metadata."""
    rows, frames = [], enumerate(read_steadily(path))
    for number, crop in enumerate(crops):
        target = folder / f"{name}-{number:03d}.mp4"
        with VideoWriter(target, (side, side), FPS, SAMPLING_RATE, label=False, generated=False) as writer:
            for index, (frame, _) in frames:
                if index >= crop.start:
                    writer.write(_cut(frame, crop.box, side)[None])
                if index == crop.stop - 1:
                    break
            sound = speech[crop.start * SAMPLES_PER_FRAME : crop.stop * SAMPLES_PER_FRAME]
            count = (crop.stop - crop.start) * SAMPLES_PER_FRAME
            writer.write_speech(np.pad(sound, (0, count - len(sound))))
        rows.append(
            {
                "file_name": f"clips/{target.name}",
                "frames": crop.stop - crop.start,
                "fps": FPS,
                "source": path.name,
                "start": crop.start / FPS,
            }
        )
    return rows


def _cut(frame: np.ndarray, box: CropBox, side: int) -> np.ndarray:
    square = frame[box.top : box.top + box.side, box.left : box.left + box.side]
    return cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA if box.side > side else cv2.INTER_CUBIC)


def prepare_video(path: Path, folder: Path, name: str, side: int = SIDE) -> dict:
    """Writes the clips of one video; returns `{"rows", "refused"}`. What cannot be decoded is refused, never fatal."""
    try:
        speech = read_speech(path, SAMPLING_RATE)
        shots, size = find_shots(path)
        crops, refused = choose_crops(shots, speech, size)
        return {"rows": write_clips(path, crops, speech, folder, name, side), "refused": refused}
    except (ValueError, OSError) as error:
        return {"rows": [], "refused": [str(error)]}


def prepare(raw: Path, output: Path, side: int = SIDE) -> int:
    """Prepares all videos under a folder; returns the number of clips. Done ones are not done again.

    Args:
        raw: folder of videos.
        output: folder of the dataset.
        side: of the clips, in pixels.

    Raises:
        ValueError: there is no video, or none of them gave a clip.
    """
    videos = sorted(path for path in raw.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not videos:
        raise ValueError(f"There is no video in {raw}: give a folder with {', '.join(sorted(EXTENSIONS))} files.")
    split = output / "train"
    records = output / ".prepared"
    for folder in (split / "clips", records):
        folder.mkdir(parents=True, exist_ok=True)
    rows, refused = [], 0
    for path in tqdm(videos, desc="videos", unit="video"):
        stamp = f"{path.relative_to(raw)}|{path.stat().st_size}|{path.stat().st_mtime_ns}|{side}"
        name = f"{path.stem[:40]}-{hashlib.sha1(stamp.encode()).hexdigest()[:8]}"
        record = records / f"{name}.json"
        if not record.exists():
            _write(record, json.dumps(prepare_video(path, split / "clips", name, side), ensure_ascii=False))
            for reason in json.loads(record.read_text())["refused"]:
                logger.warning("left out: %s, %s", path.name, reason)
        done = json.loads(record.read_text())
        rows += done["rows"]
        refused += len(done["refused"])
    _write(split / "metadata.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    hours = sum(row["frames"] for row in rows) / FPS / 3600
    logger.info("%d clips, %.2f h, of %d videos; %d shots left out", len(rows), hours, len(videos), refused)
    if not rows:
        raise ValueError(f"None of the videos in {raw} gave a clip: see the reasons above.")
    return len(rows)


def push(output: Path, repo_id: str, private: bool) -> None:
    """Uploads the clips as Parquet shards to a dataset repository of the Hub.

    Raises:
        ValueError: the Hub does not take them; they stay where they are.
    """
    rows = datasets.load_dataset("videofolder", data_dir=str(output), split="train")
    try:
        rows.push_to_hub(repo_id, split="train", private=private, max_shard_size="500MB")
    except (HfHubHTTPError, HTTPError, HFValidationError, OSError) as error:
        raise ValueError(
            f"The clips could not be uploaded to {repo_id} ({error}). They are in {output}: once that is right, the "
            "same command prepares nothing again, and uploads them."
        ) from error


def check_login() -> None:
    """Finds out before hours of work whether pushing can succeed.

    Raises:
        ValueError: there is no valid token.
    """
    try:
        HfApi().whoami()
    except (LocalTokenNotFoundError, HfHubHTTPError) as error:
        raise ValueError("There is no valid Hub token: run `hf auth login`, or set HF_TOKEN.") from error


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)


def main(argv: list[str] | None = None) -> None:
    start_logging()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=Path, help="folder of raw videos")
    parser.add_argument("output", type=Path, help="folder of the dataset")
    parser.add_argument("--side", type=int, default=SIDE, help=f"pixels of a clip's side ({SIDE}); 512 for 512² models")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="dataset repository to upload to")
    parser.add_argument("--private", action="store_true", help="make the repository private")
    args = parser.parse_args(argv)
    try:
        if args.push_to_hub:
            check_login()
        prepare(args.raw, args.output, args.side)
        if args.push_to_hub:
            push(args.output, args.push_to_hub, args.private)
    except ValueError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
