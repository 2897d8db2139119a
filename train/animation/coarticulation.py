"""Coarticulation: targets of phones become smooth curves, in which lips still close where they must.

Dominance blending after Cohen and Massaro ("Modeling coarticulation in synthetic visual speech", 1993): the weights at
a time are the mean of all targets, weighted by how dominant each phone is there. Contacts of the lips are then imposed,
as blending alone would leave short ones open.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from asymtalker.chunks import FPS
from train.animation.manner import Manner
from train.animation.phone_sets import visemes_of
from train.animation.units import INDEX, UNITS
from train.animation.visemes import VISEMES, Viseme

RATE = 8 * FPS
"""Of the curves before one of eight values is kept, in Hz."""
FIRST_PART = 0.55
"""Of a diphthong's duration."""
LONG_PAUSE = 0.12
SHORT_PAUSE_DOMINANCE = 0.25
"""Pauses below `LONG_PAUSE` seconds count so much: the mouth hardly returns to rest in them."""
RELAXATION = 0.12
"""Seconds at both ends of a long pause in which the mouth is still, or already, on its way."""
BLEND = 0.016
CONTACT_BLEND = 0.008
"""Seconds by which curves and contacts are smoothed."""
HOLD = 0.75
LEAST_HOLD = 0.03
"""A contact lasts for `HOLD` of a phone, and at least so many seconds to either side of its middle, so that a frame
falls into it."""
APPROACH = 0.035
"""Seconds in which lips come together."""
WIDEST_JAW = 0.8
JAW = [INDEX["JawDrop"]]
LIPS = [INDEX[name] for name in ("lowerLipDown", "UpperLipUp", "MouthLeftPullSide", "MouthRightPullSide")]
ROUNDING = [INDEX[name] for name in ("LipsKiss", "lowerLipForward", "UpperLipForward")]
OPENING = [INDEX[name] for name in ("JawDrop", "lowerLipDown", "UpperLipUp", "TongueOut")]

Segment = tuple[Viseme, float, float]


def mouth_track(
    phones: list[str], spans: np.ndarray, frames: int, loudness: np.ndarray, manner: Manner, phone_set: str = "arpabet"
) -> np.ndarray:
    """Weights of the units that speech moves.

    Args:
        phones: names from the phone set. Where there is none, the mouth comes to rest.
        spans: start and end of each in seconds, (n, 2).
        frames: how many.
        loudness: of each frame, (F,), about 1 where speech is loud.
        manner: of the person.
        phone_set: a key of `PHONE_SETS`.

    Returns:
        (F, 30), at 25 frames a second; frame i shows the time i / 25 s.

    Raises:
        ValueError: the phone set does not have one of the phones.
    """
    segments = _segments(phones, spans, phone_set)
    if not segments:
        return np.zeros((frames, len(UNITS)))
    times = np.arange((frames - 1) * RATE // FPS + 1) / RATE
    weights = _blend(times, segments, manner)
    frame_times = np.arange(frames) / FPS
    weights[:, JAW] *= np.clip(0.72 + manner.effort * np.interp(times, frame_times, loudness), 0.65, 1.25)[:, None]
    weights = gaussian_filter1d(weights, RATE * BLEND * manner.smoothness, axis=0)
    _touch_teeth(weights, _contact(times, segments, "teeth"))
    _close_lips(weights, _contact(times, segments, "lips"))
    weights[:, JAW] = np.minimum(weights[:, JAW], WIDEST_JAW)
    return weights[:: RATE // FPS]


def _segments(phones: list[str], spans: np.ndarray, phone_set: str) -> list[Segment]:
    segments = []
    for phone, (start, end) in zip(phones, np.asarray(spans).tolist(), strict=True):
        first, *rest = visemes_of(phone, phone_set)
        middle = start + (end - start) * FIRST_PART if rest else end
        segments.append((VISEMES[first], start, middle))
        segments += [(VISEMES[name], middle, end) for name in rest]
    return segments


def _blend(times: np.ndarray, segments: list[Segment], manner: Manner) -> np.ndarray:
    """The dominance-weighted mean of all targets at these times, (T, 30)."""
    visemes, starts, ends = (np.array(column) for column in zip(*segments, strict=True))
    rest = visemes == VISEMES["rest"]
    dominance = np.array([viseme.dominance for viseme in visemes])
    dominance[rest & (ends - starts <= LONG_PAUSE)] *= SHORT_PAUSE_DOMINANCE
    reach = np.array([viseme.reach for viseme in visemes]) * manner.width
    half = _half(starts, ends)
    core = np.where(rest, np.maximum(half / 2, half - RELAXATION), half / 2)
    away = np.maximum(np.abs(times[:, None] - (starts + ends) / 2) - core, 0)  # (T, S)
    influence = dominance * np.exp(-((away / reach) ** 1.2))
    scale = np.full(len(UNITS), manner.amount)
    scale[JAW] *= manner.jaw
    scale[LIPS] *= manner.lips
    scale[ROUNDING] *= manner.rounding
    targets = np.stack([viseme.target * (1 if viseme.contact else scale) for viseme in visemes])
    return influence @ targets / (influence.sum(1, keepdims=True) + 1e-3)


def _half(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    return np.maximum((ends - starts) / 2, 0.015)


def _contact(times: np.ndarray, segments: list[Segment], kind: str) -> np.ndarray:
    """How much of a contact there is at these times, (T,), 0 to 1."""
    spans = np.array([(start, end) for viseme, start, end in segments if viseme.contact == kind]).reshape(-1, 2)
    if not len(spans):
        return np.zeros(len(times))
    hold = np.maximum(HOLD * _half(*spans.T), LEAST_HOLD)
    away = np.maximum(np.abs(times[:, None] - spans.mean(1)) - hold, 0)
    return gaussian_filter1d((1 - away / APPROACH).clip(0, 1).max(1), RATE * CONTACT_BLEND)


def _touch_teeth(weights: np.ndarray, contact: np.ndarray) -> None:
    """Brings the lower lip to the upper teeth, in place."""
    target = VISEMES["labiodental"].target
    share = 0.8 * contact[:, None]
    weights += share * (target - weights)


def _close_lips(weights: np.ndarray, contact: np.ndarray) -> None:
    """Brings the lips together, in place, and lets them keep some of their rounding."""
    contact = contact[:, None]
    weights[:, OPENING] *= 1 - contact
    weights *= 1 - 0.35 * contact
    weights += 0.9 * contact * VISEMES["bilabial"].target
