"""Performances and tracks made by hand: small, of no voice, and in the form that training reads."""

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME
from train.animation.performance import Performance
from train.animation.units import UNITS
from train.face_model import FaceModel
from train.tracks import Track

ROOT = Path(__file__).parents[1]
FACE_MODEL = ROOT / "train" / "face_model.safetensors"


def tiny_performance(frames: int = 60, seed: int = 0, phones: bool = False) -> Performance:
    """Noise for a voice, whose loudness opens the jaw, and a head that sways; with phones, a b every half second."""
    rng = np.random.default_rng(seed)
    loudness = gaussian_filter1d(rng.normal(0, 1, frames), 3).clip(0) * 4
    units = gaussian_filter1d(rng.normal(0, 0.2, (frames, len(UNITS))), 3, axis=0).clip(0, 1)
    units[:, UNITS.index("JawDrop")] = loudness.clip(0, 1)
    sound = rng.normal(0, 3000, (frames, SAMPLES_PER_FRAME)) * (0.02 + loudness[:, None])
    begins = np.arange(0, frames / FPS - 0.5, 0.5) if phones else np.zeros(0)
    spans = np.stack([begins, begins + 0.1], axis=1).astype(np.float32)
    return Performance(
        speech=sound.clip(-32768, 32767).astype(np.int16).ravel(),
        units=units.astype(np.float32),
        head_pose_deg=gaussian_filter1d(rng.normal(0, 8, (frames, 3)), 4, axis=0).astype(np.float32),
        gaze_deg=gaussian_filter1d(rng.normal(0, 8, (frames, 2)), 4, axis=0).astype(np.float32),
        blink=np.zeros(frames, np.float32),
        phones=["b"] * len(spans),
        phone_spans=spans,
        voice="noise/white",
        language="",
    )


def tiny_track(frames: int = 60, seed: int = 0) -> Track:
    return Track(f"noise-{seed}", tiny_performance(frames, seed), FaceModel.load(FACE_MODEL))


def write_performances(folder: Path, count: int = 4, frames: int = 60, phones: bool = False, **row: object) -> Path:
    """A folder as `train/perform.py` writes it; `row` goes into every line of its metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        tiny_performance(frames, number, phones).save(folder / f"noise-{number:05d}.npz")
        lines.append(json.dumps({"file_name": f"noise-{number:05d}.npz"} | row))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder
