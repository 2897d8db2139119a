"""Finding the teeth that a portrait shows: which are upper and which are lower, and where they end."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.landmarks import LIPS_INNER
from asymtalker.renderer.mouth.frame import LOWER_RING, UPPER_RING, MouthFrame
from asymtalker.renderer.mouth.palette import cheek_brightness, lip_pixels

OPEN = 0.03
"""Inner lips that are less apart than this, in eye distances, show no teeth that could be told from lips."""
LEAST_SHARE = 0.12
"""Teeth fill at least this share of an open mouth."""
CONTRAST = 0.16
"""Teeth are brighter than lips by at least this share of the cheek's brightness."""
TOP = 0.55
"""Teeth that begin in this upper part of the opening are upper teeth."""
SEAM_DEPTH = 0.03
"""Share of the light that is lost in the line between upper and lower teeth that touch."""
STRAIGHT = 0.003
"""Of that light, what a step up or down costs the line."""
TIP_DEPTH = 0.06
"""Share of the light that is lost between upper teeth and the tips of lower ones, seen in a few columns only."""
BOTH = 0.3
"""Upper and lower teeth are seen in at least this share of the columns if they are seen both."""
DARK = 0.35
"""What is less bright than this share of the teeth is the dark behind them."""
LEAST_DARK = 0.04
"""Its colour is taken from the photograph if it fills at least this share of the mouth."""
LANDMARK_ERROR = 0.035
"""Landmarks of lips lie at most so far, in eye distances, within the teeth that they should lie around."""
BESIDE = np.array([-0.015, 0, 0.015])
"""Where it is checked around a landmark of a lip, in eye distances."""
MIDLINE_REACH = 0.035
"""The gap between the central incisors is at most so far from the middle of the upper lip, in eye distances."""
LEAST_HEIGHT = 0.03
"""Where less of the upper teeth is seen, in eye distances, they count as hidden."""
ROW = 0.028
"""Least visible height of a row of teeth, in eye distances."""
LEAST_WIDTH = 0.1
"""A narrower mouth is not looked at, in eye distances."""
LEAST_PIXELS = 12
"""An open mouth of fewer pixels is not looked at."""
BUMP = 0.022
"""An edge of teeth leaves its general course by no more than this, in eye distances."""
SMOOTH = 0.025, 0.008
"""Half the width of the median, and the standard deviation, that smooth an edge of teeth, in eye distances."""


class OwnTeeth(NamedTuple):
    """The teeth of a portrait, by column of the mouth; u, v as in `MouthFrame`.

    Attributes:
        u: of the columns, (n,), ascending, from corner to corner of the mouth.
        upper: v of the lower edge of the upper teeth, (n,); NaN where none are seen.
        lower: v of the upper edge of the lower teeth, (n,); NaN where none are seen.
        dark: share of each column in which the dark is seen, (n,).
        threshold: whiteness from which on a pixel is a tooth's.
        middle: u of the gap between the central incisors.
        color: of well-lit teeth, RGB (3,).
        cavity: of the dark behind them, RGB (3,); None where none is seen.
    """

    u: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    dark: np.ndarray
    threshold: float
    middle: float
    color: np.ndarray
    cavity: np.ndarray | None


def find_teeth(image: np.ndarray, points: np.ndarray, frame: MouthFrame) -> OwnTeeth | None:
    """The teeth seen in a portrait, uint8 (S, S, 3), with landmarks (478, 3) in pixels; None if its mouth is shut or
    shows none."""
    ring = frame.to_face(points[list(LIPS_INNER), :2])
    if (ring[5] - ring[15])[1] < OPEN or (ring[10] - ring[0])[0] < LEAST_WIDTH:
        return None
    colors, inside, u, v = _columns(image, ring, frame)
    if inside.sum() < LEAST_PIXELS:
        return None
    score, of_lips = whiteness(colors), whiteness(lip_pixels(image, points, frame.unit))
    threshold = _threshold(score[inside], of_lips)
    teeth = inside & (score > threshold)
    if teeth.sum() <= LEAST_SHARE * inside.sum():
        return None
    contrast = np.median(score[teeth]) - np.median(of_lips)
    if contrast < CONTRAST * cheek_brightness(image, points, frame.unit):
        return None
    upper, lower = _rows(teeth, colors.mean(-1), inside, v)
    top = np.interp(u, *ring[UPPER_RING].T)
    upper[upper - top < LEAST_HEIGHT] = np.nan  # cut off by the lower lip: this is not where the teeth end
    upper, lower = _plausible(u, upper), _plausible(u, lower)
    if np.isnan(upper).all() and np.isnan(lower).all():
        return None
    return _described(u, upper, lower, colors, inside, teeth, threshold)


def _described(
    u: np.ndarray,
    upper: np.ndarray,
    lower: np.ndarray,
    colors: np.ndarray,
    inside: np.ndarray,
    teeth: np.ndarray,
    threshold: float,
) -> OwnTeeth:
    """Adds to the edges of teeth what else is known about them."""
    brightness = colors.mean(-1)
    white = colors[teeth]
    white = white[white[:, 1] >= np.median(white[:, 1])].mean(0)
    dark = inside & (brightness < DARK * white.mean())
    cavity = np.percentile(colors[dark], 30, axis=0) if dark.sum() > LEAST_DARK * inside.sum() else None
    dark_share = dark.sum(0) / np.maximum(inside.sum(0), 1)
    return OwnTeeth(u, upper, lower, dark_share, threshold, _midline(u, brightness, teeth), white, cavity)


def _midline(u: np.ndarray, brightness: np.ndarray, teeth: np.ndarray) -> float:
    """The u of the darkest column of teeth near the middle of the mouth, 0 if no column is darker than others."""
    count = teeth.sum(0)
    column = (brightness * teeth).sum(0) / np.maximum(count, 1)
    near = np.flatnonzero((np.abs(u) < MIDLINE_REACH) & (count >= 2))
    if len(near) < 5:
        return 0.0
    darkest = near[column[near].argmin()]
    return float(u[darkest]) if column[darkest] < 0.95 * np.median(column[near]) else 0.0


def whiteness(colors: np.ndarray) -> np.ndarray:
    """High for teeth, low for lips, gums and the dark: (...,) of RGB (..., 3)."""
    colors = colors.astype(np.float32)
    return 2 * colors[..., 1] - colors[..., 0]


def lips_around_teeth(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Landmarks whose inner lips leave no teeth outside: those that lie on teeth are moved to the edge of the lip.

    Args:
        image: the portrait, uint8 (S, S, 3), RGB.
        points: landmarks of its face, (478, 3) in pixels.

    Returns:
        The same landmarks but for the inner lips, in an array of their own.
    """
    points, frame = points.copy(), MouthFrame.of(points)
    own = find_teeth(image, points, frame)
    if own is not None:
        ring = frame.to_face(points[list(LIPS_INNER), :2])
        for row, outwards in ((UPPER_RING, -1), (LOWER_RING, 1)):
            ring[row[1:-1], 1] += outwards * _covered(image, ring[row], outwards, frame, own.threshold)
        points[list(LIPS_INNER), :2] = frame.to_pixels(ring)
    return points


def _covered(image: np.ndarray, lip: np.ndarray, outwards: int, frame: MouthFrame, threshold: float) -> np.ndarray:
    """How far teeth reach beyond the points of a lip (n, 2), without its corners: (n-2,)."""
    steps = np.arange(0, LANDMARK_ERROR, 0.5 / frame.unit)
    u = lip[:, :1, None] + BESIDE[:, None]  # where teeth meet, a single column would be dark
    v = np.interp(u, *lip.T) + outwards * steps
    places = frame.to_pixels(np.stack(np.broadcast_arrays(u, v), axis=-1)).astype(np.float32)
    x, y = cv2.split(places.reshape(len(lip), -1, 2))
    colors = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    teeth = (whiteness(colors) > threshold).reshape(len(lip), len(BESIDE), -1)
    covered = np.where(teeth.all(-1), 0, teeth.argmin(-1)) * steps[1]  # if no end is in sight these are not teeth
    covered = np.pad(np.median(covered, axis=1)[1:-1], 1, mode="edge")
    return np.convolve(covered, [0.25, 0.5, 0.25], mode="valid")


def _columns(
    image: np.ndarray, ring: np.ndarray, frame: MouthFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The open mouth, upright: colours (h, w, 3), which of them are inside the lips (h, w), u (w,) and v (h,)."""
    step = 1 / frame.unit
    u = np.arange(ring[0, 0], ring[10, 0], step)
    v = np.arange(ring[:, 1].min(), ring[:, 1].max() + step, step)
    places = frame.to_pixels(np.stack(np.meshgrid(u, v), axis=-1)).astype(np.float32)
    colors = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    top, bottom = np.interp(u, *ring[UPPER_RING].T), np.interp(u, *ring[LOWER_RING].T)
    return colors.astype(np.float32), (v[:, None] >= top) & (v[:, None] <= bottom), u, v


def _threshold(mouth: np.ndarray, lips: np.ndarray) -> float:
    """Otsu's threshold between teeth and the rest, with as many pixels of lips as of the mouth."""
    values = np.concatenate([mouth, np.resize(np.sort(lips), len(mouth))])
    low, high = values.min(), max(values.max(), values.min() + 1)
    scaled = ((values - low) * (255 / (high - low))).astype(np.uint8)
    return low + cv2.threshold(scaled, 0, 255, cv2.THRESH_OTSU)[0] * (high - low) / 255


def _rows(
    teeth: np.ndarray, brightness: np.ndarray, inside: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The edge of the upper and that of the lower teeth in each column, (w,) each; NaN where there is none."""
    upper, lower = np.full((2, teeth.shape[1]), np.nan)
    extent = np.full((teeth.shape[1], 2), -1)
    for column in range(teeth.shape[1]):
        runs, rows = _runs(teeth[:, column]), np.flatnonzero(inside[:, column])
        if not len(runs):
            continue
        if runs[0, 0] > rows[0] + TOP * (rows[-1] - rows[0]):
            lower[column] = v[runs[0, 0]]
            continue
        extent[column] = runs[0, 0], runs[-1, 1]
        upper[column] = v[runs[0, 1] - 1]
        if len(runs) > 1:
            lower[column] = v[runs[1, 0]]
    _divide(upper, lower, extent, teeth, brightness, v)
    return upper, lower


def _runs(column: np.ndarray) -> np.ndarray:
    """Starts and ends (n, 2) of the runs of at least two true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(np.int8), [0]]))).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= 2]


def _divide(
    upper: np.ndarray, lower: np.ndarray, extent: np.ndarray, teeth: np.ndarray, brightness: np.ndarray, v: np.ndarray
) -> None:
    """Divides upper from lower teeth, in place, along the dark line between them, if there is one: they may touch."""
    step = v[1] - v[0]
    least = max(2, round(ROW / step))
    smooth = cv2.GaussianBlur(brightness, (0, 0), max(1.0, 0.01 / step), sigmaY=0.7)
    upright = np.ones((2 * least + 1, 1), np.uint8)
    between = cv2.morphologyEx(smooth, cv2.MORPH_CLOSE, upright, borderType=cv2.BORDER_REPLICATE)
    valley = (between - smooth) / np.maximum(between, 1)
    columns = np.flatnonzero(extent[:, 1] - extent[:, 0] >= 2 * least + 2)
    if len(columns) >= BOTH * len(upper):
        seam = _seam(valley, columns, extent, least)
        if _dip(brightness, columns, seam, least) >= SEAM_DEPTH:
            for column, row in zip(columns, seam, strict=True):
                above, below = np.flatnonzero(teeth[: row + 1, column]), np.flatnonzero(teeth[row:, column])
                upper[column] = v[above[-1]] if len(above) else np.nan
                lower[column] = v[row + below[0]] if len(below) else np.nan
            return
    for column in np.flatnonzero(np.isfinite(upper)):  # the tips of lower teeth at the edge of the upper ones
        end = int(np.searchsorted(v, upper[column]))
        first = max(end - least, extent[column, 0] + least)
        if first < end and valley[first:end, column].max() > TIP_DEPTH:
            upper[column] = v[first + valley[first:end, column].argmax()]


def _seam(valley: np.ndarray, columns: np.ndarray, extent: np.ndarray, least: int) -> np.ndarray:
    """The deepest connected valley through columns of teeth, as a row of each."""
    rows, costs = np.arange(len(valley)), []
    for c in columns:
        cost = -valley[:, c]
        cost[(rows < extent[c, 0] + least) | (rows >= extent[c, 1] - least)] = 1e4
        costs.append(cost)
    total, back = [costs[0]], []
    for cost in costs[1:]:
        padded = np.pad(total[-1], 1, constant_values=1e6)
        options = np.stack([padded[:-2], padded[1:-1] - STRAIGHT, padded[2:]])
        back.append(options.argmin(0) - 1)
        total.append(cost + options.min(0))
    seam = [int(total[-1].argmin())]
    for step in reversed(back):
        seam.append(int(np.clip(seam[-1] + step[seam[-1]], 0, len(rows) - 1)))
    return np.array(seam[::-1])


def _dip(brightness: np.ndarray, columns: np.ndarray, seam: np.ndarray, reach: int) -> float:
    """How much darker a line is on average than what is above and below it within a reach, as a share."""
    offsets = np.arange(-reach, reach + 1)
    rows = np.clip(seam[:, None] + offsets, 0, len(brightness) - 1)
    profile = brightness[rows, columns[:, None]].mean(0)
    return float(1 - profile[reach] / max(min(profile[:reach].max(), profile[reach + 1 :].max()), 1))


def _plausible(u: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """An edge without outliers; all NaN if it is seen in too few columns."""
    seen = np.flatnonzero(~np.isnan(edge))
    result = np.full_like(edge, np.nan)
    if len(seen) < max(4, 0.2 * len(u)):
        return result
    away = np.abs(edge[seen] - np.polyval(np.polyfit(u[seen], edge[seen], 2), u[seen]))
    seen = seen[away <= max(BUMP, 2.5 * np.median(away))]
    step = u[1] - u[0]
    half, sigma = max(1, round(SMOOTH[0] / step)), max(0.8, SMOOTH[1] / step)
    filled = np.interp(u, u[seen], edge[seen])
    smooth = np.array([np.median(filled[max(0, c - half) : c + half + 1]) for c in range(len(u))], np.float32)
    smooth = cv2.GaussianBlur(smooth[None], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[0]
    result[seen[0] : seen[-1] + 1] = smooth[seen[0] : seen[-1] + 1]
    return result
