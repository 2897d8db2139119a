"""The voices of Debian's flite, and more of them by other pitch and vocal tract lengths."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from asymtalker.media.speech import read_speech
from train.animation.performance import Utterance

PITCH = {"slt": 175.0, "rms": 100.0, "awb": 125.0, "kal16": 105.0}
"""The voices, and about how high they speak, in Hz."""
TRACTS = (1.0, 0.88, 1.12, 0.94, 1.2, 1.06)


@dataclass(frozen=True)
class FliteVoice:
    """A voice of flite, played back faster or slower.

    Playback at another speed moves pitch and formants together; flite speaks slower or faster by the same factor, so
    that the tempo stays natural, and at a pitch of its own.

    Attributes:
        base: a key of `PITCH`.
        tract: factor of the formants; 1 is the voice itself.
        language: of its sounds.
        reads: language of the texts that it is given.
    """

    base: str
    tract: float = 1.0
    language: str = "en"
    reads: str = "en"

    @property
    def name(self) -> str:
        return f"flite/{self.base}" + (f"@{self.tract:g}" if self.tract != 1 else "")

    def speak(self, text: str, rng: np.random.Generator) -> Utterance:
        """Reads a text, at a tempo, pitch and liveliness drawn at random.

        Raises:
            subprocess.CalledProcessError: flite failed.
        """
        options = {
            "int_f0_target_mean": PITCH[self.base] * rng.uniform(0.85, 1.2),
            "int_f0_target_stddev": PITCH[self.base] * rng.uniform(0.05, 0.16),
            "duration_stretch": self.tract * rng.uniform(0.8, 1.2),
        }
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "speech.wav"
            command = ["flite", "-voice", self.base, "-t", text, "-psdur", "-o", str(wav)]
            for name, value in options.items():
                command += ["--setf", f"{name}={value:.4g}"]
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            speech = read_speech(wav)
        phones, spans = read_durations(listing)
        if self.tract != 1:
            rate = round(SAMPLING_RATE * self.tract)
            speech, spans = librosa.resample(speech, orig_sr=rate, target_sr=SAMPLING_RATE), spans / self.tract
        return Utterance(speech, phones, spans, "arpabet", self.name, self.language, text)


def read_durations(listing: str) -> tuple[list[str], np.ndarray]:
    """Phones, and their spans (n, 2) in seconds, from flite's `-psdur`: "phone:end phone:end ..."."""
    phones, spans, start = [], [], 0.0
    for item in listing.split():
        phone, end = item.rsplit(":", 1)
        if float(end) > start:
            phones.append(phone)
            spans.append((start, float(end)))
            start = float(end)
    return phones, np.array(spans).reshape(-1, 2)


def flite_voices() -> list[FliteVoice]:
    """Every voice of flite with every vocal tract."""
    return [FliteVoice(base, tract) for tract in TRACTS for base in PITCH]
