"""Sound that is not speech: the mouth stays at rest, whatever is heard."""

from __future__ import annotations

import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from train.animation.performance import Utterance
from train.sound import cut, stock

KINDS = ("silence", "noise", "music", "clicks", "breaths", "tones")
LEVEL_DB = (-50.0, -12.0)
"""Root mean square of the sound against full scale, drawn uniformly; of silence it is 30 dB less."""


def nonspeech(kind: str, seconds: float, rng: np.random.Generator) -> Utterance:
    """Sound of one of `KINDS`, without phones."""
    count = int(seconds * SAMPLING_RATE)
    sound = {
        "silence": lambda: 10 ** (-30 / 20) * cut(stock("white"), count, rng),
        "noise": lambda: cut(stock(("white", "pink", "babble")[rng.integers(3)]), count, rng),
        "music": lambda: cut(stock("music"), count, rng),
        "clicks": lambda: _events(count, rng, (0.002, 0.03), (2.0, 8.0)),
        "breaths": lambda: _events(count, rng, (0.3, 0.9), (0.3, 0.7)),
        "tones": lambda: _tones(count, rng),
    }[kind]()
    level = 10 ** (rng.uniform(*LEVEL_DB) / 20)
    speech = np.clip(level * sound, -1, 1).astype(np.float32)
    return Utterance(speech, [], np.zeros((0, 2)), "arpabet", f"nonspeech/{kind}", "")


def _events(
    count: int, rng: np.random.Generator, seconds: tuple[float, float], per_second: tuple[float, float]
) -> np.ndarray:
    """Bursts of noise of some length that swell and fade, so many a second."""
    sound, position, rate = np.zeros(count), 0.0, rng.uniform(*per_second)
    while (start := int(position * SAMPLING_RATE)) < count:
        length = min(int(rng.uniform(*seconds) * SAMPLING_RATE), count - start)
        burst = np.hanning(length) * cut(stock("pink"), length, rng)
        sound[start : start + length] += rng.uniform(0.5, 3) * burst
        position += rng.exponential(1 / rate) + seconds[0]
    return sound


def _tones(count: int, rng: np.random.Generator) -> np.ndarray:
    """Notes and glides of one voice, with a few harmonics: a melody without words."""
    sound, start = np.zeros(count), 0
    while start < count:
        length = min(int(rng.uniform(0.1, 1.0) * SAMPLING_RATE), count - start)
        times = np.arange(length) / SAMPLING_RATE
        pitch = rng.uniform(150, 900) * 2 ** (rng.normal(0, 0.3) * times)
        phase = 2 * np.pi * np.cumsum(pitch) / SAMPLING_RATE
        note = sum(0.5**harmonic * np.sin(harmonic * phase) for harmonic in range(1, 5))
        sound[start : start + length] = note * np.hanning(length)
        start += length + int(rng.exponential(0.1) * SAMPLING_RATE)
    return 2 * sound
