"""What the gallery shows of examples, made beforehand: `python -m asymtalker.previews FOLDER`, or `make previews`.

previews/NAME.webp is a moving picture without sound, previews/NAME.mp4 the whole video, small.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import tempfile
from pathlib import Path

import numpy as np
from moviepy import VideoFileClip
from PIL import Image

from asymtalker.generation import GenerateOptions, generate_video, load_pipeline
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.video import MARK, probe_video
from asymtalker.pipeline import AsymTalkerPipeline

SIDE = 256  # pixels: twice what a narrow column shows
SECONDS = (2.4, 3.4)  # shortest and longest loop
FRAMES_PER_SECOND = 12.5
FACE_SHARE = 0.45
"""Of a preview's side, at least, what is animated takes: a smaller face could not be made out."""
MAX_BYTES = 100_000
VIDEO_SIDES = (512, 448, 384, 320)  # pixels: the first that makes a small enough video
MAX_VIDEO_BYTES = 200_000
QUALITIES = (85, 75, 65, 50, 35)  # of WebP: the first that is small enough
SEED = 0
IMAGE_DESCRIPTION = 0x010E  # an Exif tag


def preview_path(portrait: Path) -> Path:
    """Where the preview of an example lies: previews/anna.webp for anna.jpg."""
    return portrait.parent / "previews" / f"{portrait.stem}.webp"


def video_path(portrait: Path) -> Path:
    """Where the video of an example lies: previews/anna.mp4 for anna.jpg."""
    return preview_path(portrait).with_suffix(".mp4")


def make_previews(pipeline: AsymTalkerPipeline, folder: Path) -> list[Path]:
    """Generates the video of each example, and the beginning of it as a preview; returns both files of each.

    Args:
        folder: portraits and recordings of the same name (anna.jpg, anna.wav).

    Raises:
        ValueError: the folder has no example, one cannot be used, or its video or preview does not get small enough.
        OSError: a file cannot be read or written.
    """
    portraits = [portrait for portrait in sorted(folder.glob("*.jpg")) if portrait.with_suffix(".wav").is_file()]
    if not portraits:
        raise ValueError(f"{folder} has no portrait (.jpg) with a recording (.wav) of the same name.")
    for portrait in portraits:
        with tempfile.TemporaryDirectory(prefix="asymtalker-") as work:
            video = Path(work) / "video.mp4"
            # The portrait is animated at the size at which the preview is shown, so that its label can be read.
            _generate(pipeline, portrait, show_face(portrait), video, SIDE, SECONDS[1] + 1)
            write_preview(video, preview_path(portrait))
        write_example(pipeline, portrait)
    return [path for portrait in portraits for path in (preview_path(portrait), video_path(portrait))]


def write_example(pipeline: AsymTalkerPipeline, portrait: Path) -> None:
    """Generates an example's whole video, as large as `MAX_VIDEO_BYTES` allow.

    Raises:
        ValueError: an input cannot be used, or the video has too many bytes even at the smallest size.
        OSError: a file cannot be read or written.
    """
    output = video_path(portrait)
    for side in VIDEO_SIDES:
        _generate(pipeline, portrait, portrait, output, side)
        if output.stat().st_size <= MAX_VIDEO_BYTES:
            return
    output.unlink()
    raise ValueError(f"The video of {portrait.stem} has more than {MAX_VIDEO_BYTES} bytes: shorten its recording.")


def show_face(portrait: Path) -> Image.Image:
    """The square of a picture that its preview shows: as large as it can be, or where the face is small, around that.

    Raises:
        ValueError: the picture cannot be used.
        OSError: the file cannot be read.
    """
    crop = crop_portrait(read_portrait(portrait))
    box, picture = crop.box, crop.picture
    side = min(round(box.side / FACE_SHARE), *picture.size)
    left, top = (
        min(max(start + (box.side - side) // 2, 0), length - side)
        for start, length in zip((box.left, box.top), picture.size, strict=True)
    )
    return picture.crop((left, top, left + side, top + side))


def _generate(
    pipeline: AsymTalkerPipeline,
    example: Path,
    portrait: Path | Image.Image,
    output: Path,
    side: int,
    seconds: float | None = None,
) -> None:
    """Generates the video of an example's recording, or of its first `seconds`, its long side `side` pixels at most."""
    speech = read_speech(example.with_suffix(".wav"), pipeline.sampling_rate)
    end = None if seconds is None else math.ceil(seconds * pipeline.sampling_rate)
    generate_video(pipeline, portrait, speech[:end], output, GenerateOptions(seed=SEED, max_side=side))


def write_preview(video: Path, output: Path) -> None:
    """Writes the beginning of a video as an animated WebP that repeats for ever.

    Args:
        video: at least `SECONDS[0]` long; a larger picture is reduced to `SIDE`.
        output: the file; its folder is made. It appears when it is complete.

    Raises:
        ValueError: it is not a video, or the preview has more than `MAX_BYTES` even at the lowest quality.
        OSError: a file cannot be read or written.
    """
    frames = _read_beginning(video)
    if (content := _encode(frames[: loop_length(frames)])) is None:
        raise ValueError(f"The preview of {output.stem} has more than {MAX_BYTES} bytes: choose a calmer picture.")
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f".{output.name}")
    beside.write_bytes(content)
    beside.replace(output)


def loop_length(frames: np.ndarray) -> int:
    """How many frames to repeat, `SECONDS` long, so that the jump from the last to the first is the smallest.

    Args:
        frames: uint8 (frames, height, width, 3), `FRAMES_PER_SECOND`.
    """
    shortest = min(round(SECONDS[0] * FRAMES_PER_SECOND), len(frames))
    # What follows the last frame is the first: a loop is good where the video's own next frame looks like the first.
    following = frames[shortest:].astype(np.float32)
    if not len(following):
        return len(frames)
    jumps = np.abs(following - frames[0]).mean(axis=(1, 2, 3))
    return shortest + int(jumps.argmin())


def _read_beginning(video: Path) -> np.ndarray:
    """uint8 (frames, height, width, 3): `SECONDS[1]` at `FRAMES_PER_SECOND`, and the frame after."""
    about = probe_video(video)
    scale = min(1.0, SIDE / max(about.width, about.height))
    there = math.ceil(about.frames / about.fps * FRAMES_PER_SECOND)
    count = min(there, round(SECONDS[1] * FRAMES_PER_SECOND) + 1)
    with VideoFileClip(str(video), audio=False) as clip:
        beginning = clip.with_duration((count + 0.5) / FRAMES_PER_SECOND)  # it rounds down
        reduced = beginning.resized((round(scale * about.width), round(scale * about.height)))
        return np.stack(list(reduced.iter_frames(fps=FRAMES_PER_SECOND, dtype="uint8")))


def _encode(frames: np.ndarray) -> bytes | None:
    """The frames as an animated WebP of at most `MAX_BYTES`, or None."""
    first, *rest = [Image.fromarray(frame) for frame in frames]
    description = Image.Exif()
    description[IMAGE_DESCRIPTION] = MARK
    timing = {"save_all": True, "append_images": rest, "duration": round(1000 / FRAMES_PER_SECOND), "loop": 0}
    for quality in QUALITIES:
        buffer = io.BytesIO()
        first.save(buffer, "WEBP", quality=quality, exif=description, **timing)
        if buffer.tell() <= MAX_BYTES:
            return buffer.getvalue()
    return None


def main() -> int:
    """The command; returns its exit status: 0, or 2 where an input cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m asymtalker.previews", description="Previews of examples.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="portraits and recordings of the same name")
    parser.add_argument("--checkpoint", metavar="NAME", help="embedded name, folder or Hub id (default: tiny)")
    arguments = parser.parse_args()
    try:
        for path in make_previews(load_pipeline(arguments.checkpoint), arguments.folder):
            print(f"{path}: {path.stat().st_size} bytes")
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
