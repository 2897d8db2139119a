"""Motion of real people: the motion frames of talking clips, measured once by MediaPipe's face mesh.

    python -m train.motion_store you/talking-heads data/motion

writes a folder that the stages take as `dataset`, alone or beside performances (`train/perform.py`). Clips in which the
face is lost for long are left out, with the reason.
"""

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME
from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.metrics.face_mesh import FaceMesh, fill_gaps
from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.motion_frame import CHANNELS, LAYOUT, measure
from train.clips import decode_clip, open_rows
from train.config import start_logging
from train.face_model import FaceModel

logger = logging.getLogger(__name__)

SIDE = 384
"""Clips are looked at in crops of so many pixels a side."""
LONGEST_GAP = 8
"""Frames in a row without a face that are bridged."""


@dataclass(frozen=True, eq=False)
class MeasuredMotion:
    """Attributes:
    speech: int16 (640·F,) at 16 kHz.
    frames: motion frames, float32 (F, 93).
    """

    speech: np.ndarray
    frames: np.ndarray

    def save(self, path: Path) -> None:
        """Writes an npz file."""
        np.savez(path, speech=self.speech, frames=self.frames.astype(np.float32), layout=LAYOUT, fps=FPS)

    @classmethod
    def load(cls, path: Path) -> "MeasuredMotion":
        """Reads what `save` wrote.

        Raises:
            ValueError: it was measured with other channels or another frame rate.
        """
        with np.load(path) as file:
            layout, fps, frames = str(file["layout"]), float(file["fps"]), file["frames"]
            if layout != LAYOUT or frames.shape[1:] != (CHANNELS,):
                raise ValueError(f"{path} was measured with other landmarks ({layout}, not {LAYOUT}): measure it anew.")
            if fps != FPS:
                raise ValueError(f"{path} has {fps:g} frames a second; {FPS} are needed.")
            return cls(file["speech"], frames)


def measure_clip(landmarks: np.ndarray, skull: np.ndarray) -> np.ndarray:
    """Motion frames (F, 93) of landmarks (F, 478, 3) in pixels, NaN where no face was found.

    Raises:
        ValueError: the face is lost for too long.
    """
    missing = ~np.isfinite(landmarks).all((1, 2))
    run = longest = 0
    for lost in missing:
        run = run + 1 if lost else 0
        longest = max(longest, run)
    if longest > LONGEST_GAP:
        raise ValueError(f"the face is lost for {longest} frames in a row; at most {LONGEST_GAP} are bridged")
    return np.stack([measure(points, HeadPose.of(points, skull)) for points in fill_gaps(landmarks)])


def store_motion(dataset: str, split: str, target: Path, face_model: str) -> int:
    """Measures the clips of a dataset that are not in the folder yet; returns how many it holds.

    Raises:
        ValueError: the dataset cannot be read.
        MetricUnavailableError: there is no face mesh.
    """
    target.mkdir(parents=True, exist_ok=True)
    rows, column = open_rows(dataset, split)
    skull, index = FaceModel.load(face_model).skull.astype(np.float64), target / "metadata.jsonl"
    done = {json.loads(line)["file_name"] for line in index.read_text().splitlines()} if index.exists() else set()
    with FaceMesh() as mesh, open(index, "a") as file:
        for number, row in enumerate(tqdm(rows, desc="clips")):
            video = row[column]
            name = f"{Path(video['path'] or f'{number:06d}').stem}.npz"
            if name in done:
                continue
            try:
                clip = decode_clip(video["bytes"] or video["path"], name, SIDE)
                mesh.reset()
                frames = measure_clip(mesh.landmarks(clip.frames), skull)
            except (ValueError, OSError) as error:
                logger.warning("left out %s: %s", name, error)
                continue
            count = min(len(frames), len(clip.speech) // SAMPLES_PER_FRAME)
            MeasuredMotion(clip.speech[: count * SAMPLES_PER_FRAME], frames[:count]).save(target / name)
            file.write(json.dumps({"file_name": name, "kind": "motion", "seconds": count / FPS}) + "\n")
            file.flush()
            done.add(name)
    return len(done)


def main() -> None:
    start_logging()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="Hub id or folder of talking clips")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--split", default="train")
    parser.add_argument("--face-model", default=str(Path(__file__).with_name("face_model.safetensors")))
    args = parser.parse_args()
    try:
        logger.info("%d clips", store_motion(args.dataset, args.split, args.target, args.face_model))
    except (ValueError, MetricUnavailableError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
