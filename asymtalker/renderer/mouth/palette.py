"""The colours of a mouth's inside, and the light on it, from the face around it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.landmarks import EYES, LIPS_INNER, LIPS_OUTER
from asymtalker.renderer.mouth.frame import MouthFrame

CHEEKS = (50, 280, 117, 346, 205, 425)
SIDES = (50, 205), (280, 425)
"""Cheeks on the viewer's left and right."""
WHITES = 80
"""The whites of the eyes are what is brighter than this percentile of the pixels between the lids."""
WHITES_LIGHTEN = 1.12
"""The whites lie in the shade of lids and brows; teeth in a smile are brighter by about this factor."""
MOST_OF_WHITES = 0.92
"""Painted teeth are at most this share as bright as the whites of the eyes."""
TEETH = np.array([1.07, 1.0, 0.90])
"""Colour of teeth in white light, relative to green."""
COLORED = 0.2
"""From this much more red than green in the lips on, a picture counts as coloured: teeth in a grey one are grey."""
NEUTRAL_WHITES = np.array([1.02, 1.0, 0.99])
"""Colour of the whites of the eyes in white light, relative to green."""
SIDE_LIGHT = 0.6
"""Share of the difference between the cheeks' brightness that is seen on the teeth."""
NEIGHBOURHOOD = 0.015
"""A colour is read from pixels so near, in eye distances."""


class Palette(NamedTuple):
    """Colours inside a mouth, RGB (3,) from 0 to 255, as the face's light shows them at the front of the mouth.

    Attributes:
        teeth: the upper incisors.
        gum: the gums.
        tongue: the tongue.
        cavity: the dark behind them.
        warmth: of each channel, how much more of its light is left in the shade of the lips (negative: less), as a
            share; that shade is reddish.
    """

    teeth: np.ndarray
    gum: np.ndarray
    tongue: np.ndarray
    cavity: np.ndarray
    warmth: np.ndarray


def palette(image: np.ndarray, points: np.ndarray, unit: float) -> Palette:
    """The colours of a portrait, uint8 (S, S, 3), with landmarks (478, 3) in pixels and an eye distance `unit`."""
    lip = np.median(lip_pixels(image, points, unit), axis=0)
    chroma = lip / max(lip.mean(), 1)
    # A faded print has no deep black, but a picture without any black is not a faded print.
    black = min(0.45 * np.percentile(image[::4, ::4].mean(-1), 1), 0.2 * lip.mean())
    return Palette(
        teeth=_teeth(image, points, unit, lip),
        gum=0.80 * lip.mean() * chroma**1.1,
        tongue=0.72 * lip.mean() * chroma**1.2,
        cavity=max(0.12 * lip.mean(), black) * np.minimum(chroma**1.8, [1.8, 1, chroma[1] ** 1.8]),
        warmth=0.9 * (chroma - 1),
    )


def lip_pixels(image: np.ndarray, points: np.ndarray, unit: float) -> np.ndarray:
    """Pixels of the lips, (n, 3)."""
    return pixels_around(image, (points[list(LIPS_INNER), :2] + points[list(LIPS_OUTER), :2]) / 2, unit)


def cheek_brightness(image: np.ndarray, points: np.ndarray, unit: float) -> float:
    """Brightness of the cheeks, 0 to 255."""
    return float(np.median(pixels_around(image, points[list(CHEEKS), :2], unit)))


def side_light(image: np.ndarray, points: np.ndarray, frame: MouthFrame, u: np.ndarray) -> np.ndarray:
    """How much brighter or darker than in the middle the light is at each u, as a factor."""
    left, right = (pixels_around(image, points[list(side), :2], frame.unit).mean() for side in SIDES)
    slope = SIDE_LIGHT * (right - left) / max(left + right, 1)
    return (1 + slope * np.clip(u / 0.25, -1, 1)).astype(np.float32)


def pixels_around(image: np.ndarray, places: np.ndarray, unit: float) -> np.ndarray:
    """Pixels near places (n, 2), (m, 3) float64."""
    reach = max(1, round(NEIGHBOURHOOD * unit))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    at = np.round(places[:, None] + offsets).astype(int).reshape(-1, 2)
    at = at.clip(0, (image.shape[1] - 1, image.shape[0] - 1))
    return image[at[:, 1], at[:, 0]].astype(np.float64)


def blur_of(image: np.ndarray, points: np.ndarray, unit: float) -> float:
    """How blurred the sharpest edges around eyes and mouth are, as a standard deviation in pixels: the less another
    blur flattens them, the more blurred they already are."""
    face = points[[*EYES[0], *EYES[1], *LIPS_OUTER], :2]
    low = np.clip(face.min(0) - 0.1 * unit, 0, None).astype(int)
    high = np.minimum(face.max(0) + 0.1 * unit, image.shape[1::-1]).astype(int)
    if (high - low).min() < 8:
        return 0.5
    grey = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    again = max(1.0, 0.01 * unit)
    before, after = (_steepness(x) for x in (grey, cv2.GaussianBlur(grey, (0, 0), again)))
    edges = before >= np.percentile(before, 98)
    ratio = max(float(before[edges].mean() / max(after[edges].mean(), 1e-3)), 1.02)
    return float(np.clip(again / np.sqrt(ratio**2 - 1), 0.4, max(0.5, 0.03 * unit)))


def grain_of(image: np.ndarray, points: np.ndarray) -> float:
    """Standard deviation of the noise on the cheeks, 0 to 255 (Immerkær 1996, with the median for robustness)."""
    cheeks = points[list(CHEEKS), :2]
    low, high = cheeks.min(0).clip(0).astype(int), np.minimum(cheeks.max(0), image.shape[1::-1]).astype(int)
    if (high - low).min() < 8:
        return 0.0
    grey = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    difference = cv2.filter2D(grey, -1, np.float32([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]))
    return float(np.median(np.abs(difference)) / (0.6745 * 6))


def _teeth(image: np.ndarray, points: np.ndarray, unit: float, lip: np.ndarray) -> np.ndarray:
    whites = _eye_whites(image, points)
    lit = np.sqrt(WHITES_LIGHTEN * whites[1] * cheek_brightness(image, points, unit))
    colored = np.clip((lip[0] / max(lip[1], 1) - 1) / COLORED, 0, 1)
    chroma = TEETH**colored * whites / (NEUTRAL_WHITES**colored * whites[1])
    limits = np.array([[1.02, 1, 0.6], [1.5, 1, 0.98]]) if colored > 0 else np.ones((2, 3))
    return min(MOST_OF_WHITES * whites[1], lit) * np.clip(chroma, *limits)


def _eye_whites(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], np.uint8)
    for eye in EYES:
        cv2.fillPoly(mask, [np.round(points[list(eye), :2]).astype(np.int32)], 1)
    pixels = image[mask > 0].astype(np.float64)
    if not len(pixels):  # the face is cut off above its mouth
        return 160 * NEUTRAL_WHITES
    return pixels[pixels.mean(1) >= np.percentile(pixels.mean(1), WHITES)].mean(0).clip(min=1)


def _steepness(grey: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
