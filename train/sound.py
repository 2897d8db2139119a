"""Augmentation of sound: what rooms, lines, codecs and surroundings do to speech. Nothing shifts it in time.

Every function takes float32 samples (n,) in [-1, 1] at 16 kHz and a generator of random numbers, and returns new ones
of the same kind. They are made for the training loop: filters are products of spectra, and noise and music are cut from
a minute of each that is made once a process and is always the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.ndimage import gaussian_filter1d

from asymtalker.chunks import SAMPLING_RATE

CLEAN = 1 / 3
"""Share of the samples of which only the loudness is changed, by up to `SLIGHTLY_DB`."""
SLIGHTLY_DB, LOUDNESS_DB = 6.0, 15.0
SNR_DB = (5.0, 40.0)
QUIET = 0.03
"""Noise is as loud as if the speech had at least this root mean square: silence is not without noise."""
STOCK_SECONDS = 60
NOISES = ("white", "pink", "babble")
MAX_ROOM = 0.4
"""Seconds after which a room is silent."""
EQUALISER_HZ = np.array([0, 60, 150, 350, 800, 1700, 3500, 6000, 8000])
MU = 255


def augment(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws a few changes; a third of the samples stays nearly clean."""
    if rng.random() < CLEAN:
        return change_loudness(samples, rng, SLIGHTLY_DB)
    for change, share in CHANGES:
        if rng.random() < share:
            samples = change(samples, rng)
    return change_loudness(samples, rng)


def change_loudness(samples: np.ndarray, rng: np.random.Generator, decibels: float = LOUDNESS_DB) -> np.ndarray:
    """Louder or softer by up to so many decibels; what does not fit is clipped."""
    return np.clip(samples * np.float32(10 ** (rng.uniform(-decibels, decibels) / 20)), -1, 1)


def add_noise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise, pink noise or something like a crowd behind the speech, 5 to 40 dB below it."""
    return _add(samples, cut(stock(NOISES[rng.integers(len(NOISES))]), len(samples), rng), rng)


def add_music(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Chords and beats behind the speech, 5 to 40 dB below it."""
    return _add(samples, cut(stock("music"), len(samples), rng), rng)


def reverberate(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small room: an echo that decays by 60 dB in 0.1 to 0.6 s, 0 to 20 dB below the direct sound."""
    times = np.arange(int(MAX_ROOM * SAMPLING_RATE), dtype=np.float32) / SAMPLING_RATE
    response = cut(stock("white"), len(times), rng) * np.exp(times * np.float32(-6.9 / rng.uniform(0.1, 0.6)))
    response[: int(rng.uniform(0.001, 0.01) * SAMPLING_RATE)] = 0  # no wall is nearer
    response *= 10 ** (rng.uniform(-20, 0) / 20) / np.sqrt(np.square(response).sum())
    response[0] = 1
    size = next_fast_len(len(samples) + len(times), real=True)
    return irfft(rfft(samples, size) * rfft(response, size), size)[: len(samples)]


def equalise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another microphone: a tilt of up to 4 dB an octave, and bumps."""
    octaves = np.log2(np.maximum(EQUALISER_HZ, 30) / 1000)
    gains = 10 ** ((rng.uniform(-4, 4) * octaves.clip(-3, 3) + rng.uniform(-5, 5, len(octaves))) / 20)
    return _filtered(samples, lambda hertz: np.interp(hertz, EQUALISER_HZ, gains))


def lowpass(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A codec that leaves out what is above 3 to 7.5 kHz."""
    limit = rng.uniform(3000, 7500)
    return _filtered(samples, lambda hertz: np.clip((limit + 100 - hertz) / 200, 0, 1))


def telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A telephone line: 300 to 3,400 Hz, 8 kHz, 8-bit mu-law."""
    low, high = rng.uniform(200, 350), rng.uniform(3200, 3700)
    size = 2 * next_fast_len(-(-len(samples) // 2) + 200, real=True)
    hertz = _frequencies(size)
    band = np.clip((hertz - low) / 100, 0, 1) * np.clip((high - hertz) / 100, 0, 1)
    spectrum = rfft(samples, size) * band.astype(np.float32)
    line = irfft(spectrum[: size // 4 + 1], size // 2) / 2  # every other sample
    coded = np.round(127 * np.sign(line) * np.log1p(MU * np.abs(line.clip(-1, 1))) / np.log1p(MU)) / 127
    line = np.sign(coded) * np.expm1(np.abs(coded) * np.log1p(MU)) / MU
    return 2 * irfft(rfft(line.astype(np.float32)), size)[: len(samples)]


CHANGES = (
    (equalise, 0.5),
    (reverberate, 0.35),
    (add_music, 0.15),
    (add_noise, 0.6),
    (lowpass, 0.15),
    (telephone, 0.12),
)
"""Changes in the order in which they happen to sound, and how often each is made."""


@cache
def _frequencies(size: int) -> np.ndarray:
    """Frequencies of a real spectrum of so many samples, in Hz."""
    return np.arange(size // 2 + 1) * (SAMPLING_RATE / size)


def _filtered(samples: np.ndarray, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Samples with the gain of each frequency in Hz, without delay."""
    size = next_fast_len(len(samples) + 400, real=True)
    return irfft(rfft(samples, size) * gain(_frequencies(size)).astype(np.float32), size)[: len(samples)]


def _add(samples: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    level = max(float(np.sqrt(np.square(samples).mean())), QUIET)
    below = 10 ** (-rng.uniform(*SNR_DB) / 20)
    return samples + noise * np.float32(level * below / (np.sqrt(np.square(noise).mean()) + 1e-6))


def cut(stock: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """So many samples of stock from a random place on; beyond its end it starts again."""
    start = rng.integers(len(stock))
    if start + count <= len(stock):
        return stock[start : start + count]
    return np.resize(np.roll(stock, -start), count)


@cache
def stock(kind: str) -> np.ndarray:
    """Minutes of a kind of noise or of music, float32, with a root mean square of 1."""
    rng = np.random.default_rng(0)
    count = STOCK_SECONDS * SAMPLING_RATE
    if kind == "music":
        stock = _music(count, rng)
    elif kind == "babble":
        stock = sum(_murmur(count, rng) for _ in range(5))
    else:
        stock = _coloured(count, rng, 0.0 if kind == "white" else -0.5)
    return (stock / np.sqrt(np.square(stock).mean())).astype(np.float32)


def _coloured(count: int, rng: np.random.Generator, exponent: float) -> np.ndarray:
    """Noise whose amplitude goes with a power of the frequency, from 50 Hz on."""
    hertz = _frequencies(count)
    return irfft(rfft(rng.standard_normal(count)) * np.maximum(hertz, 50) ** exponent, count)


def _murmur(count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with the spectrum of speech, some of whose bands come and go at the pace of syllables."""
    hertz = _frequencies(count)
    murmur = np.zeros(count)
    for middle in (300, 700, 1500, 2500, 4500):
        band = np.exp(-(np.log2(np.maximum(hertz, 1) / middle) ** 2) / 0.18) * 300 / middle
        noise = irfft(rfft(rng.standard_normal(count)) * band, count)
        syllables = gaussian_filter1d(rng.standard_normal(STOCK_SECONDS * 50), 4)
        murmur += noise * np.repeat(np.exp(1.2 * syllables / syllables.std()), SAMPLING_RATE // 50)
    return murmur


def _music(count: int, rng: np.random.Generator) -> np.ndarray:
    """Chords of several timbres, one after the other, with a beat."""
    music = np.zeros(count)
    start = 0
    while start < count:
        length = int(rng.uniform(0.25, 1.2) * SAMPLING_RATE)
        times = np.arange(min(length, count - start)) / SAMPLING_RATE
        root = 110 * 2 ** (rng.integers(0, 24) / 12)
        timbre = rng.uniform(0.3, 0.8)
        for interval in (0, rng.choice([3, 4]), 7):
            for harmonic in range(1, 8):
                pitch = root * 2 ** (interval / 12) * harmonic
                if pitch < SAMPLING_RATE / 2:
                    phase = rng.uniform(0, 2 * np.pi)
                    music[start : start + length] += timbre**harmonic * np.sin(2 * np.pi * pitch * times + phase)
        music[start : start + length] *= np.exp(-times * rng.uniform(0.5, 5)) * np.minimum(times / 0.01, 1)
        beat = np.exp(-times * rng.uniform(20, 60)) * rng.uniform(0, 1.5)
        music[start : start + length] += beat * rng.standard_normal(len(times))
        start += length
    return music
