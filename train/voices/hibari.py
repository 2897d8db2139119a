"""The natural American voice of PyPI's hibari-tts, and more of them by other vocal tract lengths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import librosa
import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from train.animation.performance import Utterance
from train.voices.recordings import aligned

TRACTS = (1.0, 0.9, 1.1, 0.82)
NATIVE_RATE = 24_000


@dataclass(frozen=True)
class HibariVoice:
    """The voice, played back faster or slower (see `FliteVoice`).

    Attributes:
        tract: factor of pitch and formants; 1 is the voice itself.
        language: of its sounds.
        reads: language of the texts that it is given.
    """

    tract: float = 1.0
    language: str = "en"
    reads: str = "en"

    @property
    def name(self) -> str:
        return "hibari/heart" + (f"@{self.tract:g}" if self.tract != 1 else "")

    def speak(self, text: str, rng: np.random.Generator) -> Utterance:
        """Reads a text, at a tempo drawn at random; phones are found by forced alignment.

        Raises:
            ValueError: the alignment failed.
            AlignmentUnavailableError: pocketsphinx is not installed.
        """
        sound = _synthesiser()(text, speed=rng.uniform(0.85, 1.2) / self.tract, seed=int(rng.integers(2**31)))
        speech = librosa.resample(sound, orig_sr=round(NATIVE_RATE * self.tract), target_sr=SAMPLING_RATE)
        return aligned(speech, text, self.name)


def hibari_voices() -> list[HibariVoice]:
    """The voice with every vocal tract."""
    return [HibariVoice(tract) for tract in TRACTS]


@cache
def _synthesiser() -> Any:
    from hibari import Hibari

    return Hibari(threads=1)
