"""A performance: the sound of speech together with what an animated head does, 25 frames a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE
from train.animation.coarticulation import mouth_track
from train.animation.head import blink_track, face_track, gaze_track, head_track
from train.animation.manner import Manner
from train.animation.units import UNITS


@dataclass(frozen=True, eq=False)
class Utterance:
    """Sound whose phones are known.

    Attributes:
        speech: float32 (n,) in [-1, 1], 16 kHz.
        phones: names from the phone set; none for sound that is not speech.
        spans: start and end of each in seconds, (m, 2).
        phone_set: a key of `train.animation.phone_sets.PHONE_SETS`.
        voice: whose it is, "source/name".
        language: its code ("en"), or "" without speech.
        text: what is said.
    """

    speech: np.ndarray
    phones: list[str]
    spans: np.ndarray
    phone_set: str
    voice: str
    language: str
    text: str = ""


@dataclass(frozen=True, eq=False)
class Performance:
    """F frames of sound and motion.

    Attributes:
        speech: int16 (640·F,), 16 kHz.
        units: weights of `UNITS`, float32 (F, 30).
        head_pose_deg: pitch (down is positive), yaw and roll, float32 (F, 3).
        gaze_deg: sideways and up, float32 (F, 2).
        blink: how far the lids are closed, float32 (F,), 0 to 1.
        phones: names as the voice's phone set has them.
        phone_spans: start and end of each in seconds, float32 (m, 2).
        voice: whose it is, "source/name".
        language: its code, or "".
    """

    speech: np.ndarray
    units: np.ndarray
    head_pose_deg: np.ndarray
    gaze_deg: np.ndarray
    blink: np.ndarray
    phones: list[str]
    phone_spans: np.ndarray
    voice: str
    language: str

    def __post_init__(self) -> None:
        frames = len(self.units)
        shapes = {
            "speech": (self.speech, (SAMPLES_PER_FRAME * frames,)),
            "units": (self.units, (frames, len(UNITS))),
            "head_pose_deg": (self.head_pose_deg, (frames, 3)),
            "gaze_deg": (self.gaze_deg, (frames, 2)),
            "blink": (self.blink, (frames,)),
            "phone_spans": (self.phone_spans, (len(self.phones), 2)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise ValueError(f"{name} of a performance must have the shape {shape}, not {array.shape}.")

    @property
    def seconds(self) -> float:
        return len(self.units) / FPS

    def save(self, path: Path) -> None:
        """Writes an npz file that is complete as soon as it has its name. Motion is stored as float16."""
        beside = path.with_name(f".{path.name}.part")
        with open(beside, "wb") as file:
            np.savez(
                file,
                speech=self.speech,
                **{name: getattr(self, name).astype(np.float16) for name in MOTION},
                phones=np.array(self.phones, dtype=np.str_),
                phone_spans=self.phone_spans,
                voice=self.voice,
                language=self.language,
            )
        beside.rename(path)

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Reads what `save` wrote."""
        with np.load(path) as file:
            return cls(
                speech=file["speech"],
                **{name: file[name].astype(np.float32) for name in MOTION},
                phones=file["phones"].tolist(),
                phone_spans=file["phone_spans"],
                voice=str(file["voice"]),
                language=str(file["language"]),
            )


MOTION = ("units", "head_pose_deg", "gaze_deg", "blink")


def animate(utterance: Utterance, manner: Manner, rng: np.random.Generator) -> Performance:
    """Has a person of this manner perform an utterance; a last frame that is not full is dropped.

    Raises:
        ValueError: the phone set does not have one of the phones.
    """
    frames = len(utterance.speech) // SAMPLES_PER_FRAME
    speech = utterance.speech[: frames * SAMPLES_PER_FRAME]
    spans = np.asarray(utterance.spans, np.float32).reshape(-1, 2)
    loudness = frame_loudness(speech) if utterance.phones else np.zeros(frames)
    mouth = mouth_track(utterance.phones, spans, frames, loudness, manner, utterance.phone_set)
    head = head_track(loudness, manner, rng)
    gaze = gaze_track(head, manner, rng)
    blink = blink_track(frames, manner, rng)
    units = mouth + face_track(gaze, blink, loudness, manner, rng)
    return Performance(
        speech=to_int16(speech),
        units=units.astype(np.float32),
        head_pose_deg=head.astype(np.float32),
        gaze_deg=gaze.astype(np.float32),
        blink=blink.astype(np.float32),
        phones=utterance.phones,
        phone_spans=spans,
        voice=utterance.voice,
        language=utterance.language,
    )


def frame_loudness(speech: np.ndarray) -> np.ndarray:
    """Loudness (F,) of the sound around the start of each frame of speech (640·F,): 0 to 1.3, 1 where it is loud."""
    hundredths = SAMPLING_RATE // 100
    level = np.sqrt(np.square(speech.astype(np.float64)).reshape(-1, hundredths).mean(1))
    level = gaussian_filter1d(level, 3)
    level = np.clip(level / (np.percentile(level, 95) + 1e-6), 0, 1.3)
    return level[:: 100 // FPS]


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as 16-bit integers."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
