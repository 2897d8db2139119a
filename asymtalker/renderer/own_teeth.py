"""Finding the teeth that a portrait shows: which are upper and which are lower, and where they end."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.mouth_frame import MouthFrame

OPEN = 0.03
"""Inner lips that are less apart than this, in eye distances, show no teeth that could be told from lips."""
LEAST_SHARE = 0.12
"""Teeth fill at least this share of an open mouth."""
CONTRAST = 0.16
"""Teeth are brighter than lips by at least this share of the cheek's brightness."""
TOP = 0.55
"""Teeth that begin in this upper part of the opening are upper teeth."""
SEAM_DEPTH = 0.06
"""Share of the light that is lost in the line between upper and lower teeth that touch."""
ROW = 0.028
"""Least visible height of a row of teeth, in eye distances."""


class OwnTeeth(NamedTuple):
    """The teeth of a portrait, by column of the mouth; u, v as in `MouthFrame`.

    Attributes:
        u: of the columns, (n,), ascending, from corner to corner of the mouth.
        upper: v of the lower edge of the upper teeth, (n,); NaN where none are seen.
        lower: v of the upper edge of the lower teeth, (n,); NaN where none are seen.
        color: of well-lit teeth, RGB (3,).
        cavity: of the dark behind them, RGB (3,); None where none is seen.
        brightness: brightness above which a pixel is a tooth rather than the dark, 0 to 255.
    """

    u: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    color: np.ndarray
    cavity: np.ndarray | None
    brightness: float


def find_teeth(
    image: np.ndarray, points: np.ndarray, frame: MouthFrame, lips: np.ndarray, cheek: float
) -> OwnTeeth | None:
    """The teeth seen in a portrait, or None if its mouth is shut or shows none.

    Args:
        image: uint8 (S, S, 3), RGB.
        points: inner lips, (20, 2) in pixels, as `LIPS_INNER`.
        frame: of the mouth.
        lips: pixels of the lips, (n, 3).
        cheek: brightness of the cheeks.
    """
    ring = frame.to_face(points)
    if (ring[5] - ring[15])[1] < OPEN:
        return None
    colors, inside, u, v = _columns(image, ring, frame)
    score, of_lips = whiteness(colors), whiteness(lips)
    if not inside.any():
        return None
    threshold = _threshold(score[inside], of_lips)
    teeth = inside & (score > threshold)
    contrast = (np.median(score[teeth]) - np.median(of_lips)) / max(cheek, 1) if teeth.any() else 0
    if teeth.sum() < LEAST_SHARE * inside.sum() or contrast < CONTRAST:
        return None
    upper, lower = _rows(teeth, colors.mean(-1), inside, v)
    upper, lower = _plausible(u, upper), _plausible(u, lower)
    if np.isnan(upper).all() and np.isnan(lower).all():
        return None
    bright = colors[teeth]
    bright = bright[bright[:, 1] >= np.percentile(bright[:, 1], 50)].mean(0)
    dark = colors[inside & (colors.mean(-1) < 0.4 * bright.mean())]
    return OwnTeeth(
        u,
        upper,
        lower,
        bright,
        np.median(dark, axis=0) if len(dark) > 0.05 * inside.sum() else None,
        0.45 * bright.mean(),
    )


def whiteness(colors: np.ndarray) -> np.ndarray:
    """High for teeth, low for lips, gums and the dark: (...,) of RGB (..., 3)."""
    colors = colors.astype(np.float32)
    return 2 * colors[..., 1] - colors[..., 0]


def _columns(
    image: np.ndarray, ring: np.ndarray, frame: MouthFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The open mouth, upright: colours (h, w, 3), which of them are inside the lips (h, w), u (w,) and v (h,)."""
    step = 1 / frame.unit
    u = np.arange(ring[0, 0], ring[10, 0], step)
    v = np.arange(ring[:, 1].min(), ring[:, 1].max() + step, step)
    places = frame.to_pixels(np.stack(np.meshgrid(u, v), axis=-1)).astype(np.float32)
    colors = cv2.remap(image, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    top, bottom = np.interp(u, *ring[[0, *range(19, 9, -1)]].T), np.interp(u, *ring[:11].T)
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
    touching = np.full(teeth.shape[1], -1)
    for column in range(teeth.shape[1]):
        runs = _runs(teeth[:, column])
        rows = np.flatnonzero(inside[:, column])
        if not len(runs) or len(rows) < 3:
            continue
        (start, end), middle = runs[0], rows[0] + TOP * (rows[-1] - rows[0])
        if start > middle:
            lower[column] = v[start]
            continue
        upper[column] = v[end - 1]
        if len(runs) > 1:
            lower[column] = v[runs[1][0]]
        else:
            touching[column] = start
    return _split(upper, lower, touching, teeth, brightness, v)


def _runs(column: np.ndarray) -> np.ndarray:
    """Starts and ends (n, 2) of the runs of at least two true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], column.astype(np.int8), [0]]))).reshape(-1, 2)
    return edges[edges[:, 1] - edges[:, 0] >= 2]


def _split(
    upper: np.ndarray, lower: np.ndarray, start: np.ndarray, teeth: np.ndarray, brightness: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Divides upper from lower teeth where they touch, along the dark line between them, if there is one."""
    least = max(2, round(ROW / (v[1] - v[0])))
    columns = [c for c in np.flatnonzero(start >= 0) if teeth[:, c].sum() >= 2 * least + 2]
    if len(columns) < 0.3 * len(upper):
        return upper, lower
    smooth = cv2.GaussianBlur(brightness, (0, 0), max(1.0, 0.01 / (v[1] - v[0])), sigmaY=0.7)
    seam, depth = _seam(smooth, columns, start, teeth.sum(0), least)
    if np.median(depth) < SEAM_DEPTH:
        return upper, lower
    for column, row in zip(columns, seam, strict=True):
        upper[column], lower[column] = v[row], v[min(row + 1, len(v) - 1)]
    return upper, lower


def _seam(
    brightness: np.ndarray, columns: list[int], start: np.ndarray, length: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """The darkest connected line through columns, and how much darker it is than what is above and below."""
    rows = np.arange(len(brightness))
    costs = []
    for c in columns:
        cost = brightness[:, c].copy()
        cost[(rows < start[c] + least) | (rows >= start[c] + length[c] - least)] = 1e4
        costs.append(cost)
    total, back = [costs[0]], []
    for cost in costs[1:]:
        padded = np.pad(total[-1], 1, constant_values=1e6)
        options = np.stack([padded[:-2], padded[1:-1] - 0.5, padded[2:]])
        back.append(options.argmin(0) - 1)
        total.append(cost + options.min(0))
    seam = [int(total[-1].argmin())]
    for step in reversed(back):
        seam.append(int(np.clip(seam[-1] + step[seam[-1]], 0, len(rows) - 1)))
    seam = np.array(seam[::-1])
    depth = [
        _dip(brightness[start[c] : start[c] + length[c], c], row - start[c])
        for c, row in zip(columns, seam, strict=True)
    ]
    return seam, np.array(depth)


def _dip(profile: np.ndarray, row: int) -> float:
    row = int(np.clip(row, 1, len(profile) - 2))
    return 1 - profile[row] / max(min(profile[:row].max(), profile[row + 1 :].max()), 1)


def _plausible(u: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """An edge without outliers; all NaN if it is seen in too few columns."""
    seen = np.flatnonzero(~np.isnan(edge))
    result = np.full_like(edge, np.nan)
    if len(seen) < max(4, 0.2 * len(u)):
        return result
    trend = np.polyval(np.polyfit(u[seen], edge[seen], 2), u[seen])
    near = np.abs(edge[seen] - trend) < max(0.03, 2.5 * np.median(np.abs(edge[seen] - trend)))
    seen = seen[near]
    window = max(1, round(0.012 / (u[1] - u[0])))
    filled = np.interp(u, u[seen], edge[seen])
    smooth = [np.median(filled[max(0, c - window) : c + window + 1]) for c in range(len(u))]
    result[seen[0] : seen[-1] + 1] = smooth[seen[0] : seen[-1] + 1]
    return result
