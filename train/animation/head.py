"""What a face does beside speaking: head pose, gaze, blinks, brows, lids and mood."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from asymtalker.chunks import FPS
from train.animation.manner import Manner
from train.animation.units import INDEX, UNITS

BLINK = (0.0, 0.35, 0.85, 1.0, 0.8, 0.45, 0.18, 0.0)
"""How far the lids are closed, frame by frame."""
SHORTEST_BLINK_PAUSE, LONGEST_BLINK_PAUSE = 0.6, 8.0
GAZE_LIMIT = (26.0, 16.0)
"""Degrees to either side, and up or down."""
STRESS = 0.55
"""Loudness from which a peak counts as a stressed syllable."""


def slow_noise(rng: np.random.Generator, frames: int, seconds: float, deviation: float) -> np.ndarray:
    """Gaussian noise (F,) of a standard deviation, smoothed over so many seconds."""
    sigma = seconds * FPS
    margin = int(4 * sigma) + 1
    noise = gaussian_filter1d(rng.normal(0, 1, frames + 2 * margin), sigma)[margin : margin + frames]
    return deviation * noise * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def head_track(loudness: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Head pose (F, 3) in degrees: pitch (down is positive), yaw, roll.

    Args:
        loudness: of each frame, (F,).
        manner: of the person.
        rng: random numbers.
    """
    frames, energy = len(loudness), manner.head
    loud = gaussian_filter1d(loudness, 0.02 * FPS)
    pitch = slow_noise(rng, frames, 0.9, 2.2 * energy) + slow_noise(rng, frames, 0.3, 0.7 * energy)
    pitch += (gaussian_filter1d(loud, 0.08 * FPS) - loud.mean()) * manner.loud_pitch * energy
    pitch += _nods(loudness, manner, rng) + _breath(frames, manner, rng)
    yaw = slow_noise(rng, frames, 1.1, 4.5 * energy) + slow_noise(rng, frames, 0.35, 0.8 * energy)
    roll = slow_noise(rng, frames, 1.0, 2.2 * energy)
    return np.stack([pitch, yaw, roll], axis=1) + manner.head_rest


def _nods(loudness: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Degrees (F,) by which nods on stressed syllables lower the head; a nod is deepest on its syllable."""
    peaks, _ = find_peaks(gaussian_filter1d(loudness, 0.06 * FPS), height=STRESS, distance=int(0.4 * FPS))
    impulses = np.zeros(len(loudness))
    chosen = peaks[rng.random(len(peaks)) < manner.nod_share]
    impulses[chosen] = manner.nod * rng.uniform(0.5, 1.3, len(chosen))
    sigma = 0.13 * FPS
    return gaussian_filter1d(impulses, sigma, mode="constant") * np.sqrt(2 * np.pi) * sigma


def _breath(frames: int, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    rate = rng.uniform(0.2, 0.33)
    phase = 2 * np.pi * (rate * np.arange(frames) / FPS + rng.random() + 0.1 * slow_noise(rng, frames, 1.5, 1))
    return manner.breath * np.sin(phase)


def gaze_track(head: np.ndarray, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """Gaze (F, 2) in degrees, sideways and up: saccades between fixations, mostly on the listener, whatever the head
    (F, 3) does.
    """
    gaze, start = np.zeros((len(head), 2)), 0
    while start < len(head):
        stop = start + int(rng.uniform(0.3, 1.7) * manner.fixation * FPS)
        wanders = rng.random() < manner.wandering
        gaze[start:stop] = rng.normal(0, (10, 5) if wanders else (3.5, 2.2))
        start = stop
    gaze = gaussian_filter1d(gaze, 0.6, axis=0)
    gaze += head[:, [1, 0]] * (-0.75, 0.7)
    return np.clip(gaze, -np.array(GAZE_LIMIT), GAZE_LIMIT)


def blink_track(frames: int, manner: Manner, rng: np.random.Generator) -> np.ndarray:
    """How far blinks close the lids, (F,), 0 to 1."""
    closed, times = np.zeros(frames), np.arange(frames)
    onset = rng.uniform(0.1, 60 / manner.blinks) * FPS
    while onset < frames:
        length = rng.uniform(0.85, 1.3)
        blink = np.interp((times - onset) / length, np.arange(len(BLINK)), BLINK, left=0, right=0)
        closed = np.maximum(closed, rng.uniform(0.85, 1) * blink)
        pause = rng.exponential(60 / manner.blinks)
        onset += np.clip(pause, SHORTEST_BLINK_PAUSE, LONGEST_BLINK_PAUSE) * FPS
    return closed


def face_track(
    gaze: np.ndarray, blink: np.ndarray, loudness: np.ndarray, manner: Manner, rng: np.random.Generator
) -> np.ndarray:
    """Weights (F, 30) of the units of lids, brows, cheeks and the corners of the mouth.

    Args:
        gaze: (F, 2) in degrees.
        blink: (F,), 0 to 1.
        loudness: of each frame, (F,).
        manner: of the person.
        rng: random numbers.
    """
    frames = len(blink)
    weights = np.zeros((frames, len(UNITS)))
    loud = gaussian_filter1d(loudness, 0.08 * FPS)
    brow = slow_noise(rng, frames, 0.5, 0.22) + (loud - loud.mean()) * manner.expressive_brow
    brow = np.clip(brow, -0.25, 0.8) + manner.brow
    smile = np.maximum(manner.smile + slow_noise(rng, frames, 2.0, 0.2 * manner.smile), 0)
    for side in ("Left", "Right"):
        for name, values in {
            f"{side}UpperLidClosed": np.clip(blink + 0.022 * np.maximum(-gaze[:, 1], 0) + manner.lid, 0, 1),
            f"{side}UpperLidOpen": (np.clip(0.015 * gaze[:, 1], 0, 0.3) + manner.stare) * (1 - blink),
            f"{side}LowerLidUp": 0.25 * blink + manner.squint,
            f"{side}InnerBrowUp": 0.8 * np.maximum(brow, 0) + manner.inner_brow,
            f"{side}OuterBrowUp": 0.7 * np.maximum(brow, 0),
            f"{side}BrowDown": np.maximum(-brow, 0),
            f"{side}CheekUp": 0.5 * smile,
            f"Mouth{side}PullUp": 0.8 * smile,
            f"Mouth{side}PullSide": 0.25 * smile,
        }.items():
            weights[:, INDEX[name]] = values
    return weights
