"""The layers of a mouth's inside, made once a portrait: from the photograph where it shows them, else painted."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.landmarks import EYES, LIPS_INNER, LIPS_OUTER
from asymtalker.renderer.mouth_frame import MouthFrame
from asymtalker.renderer.own_teeth import OwnTeeth, find_teeth
from asymtalker.renderer.teeth import Palette, paint_lower, paint_upper

REACH = 0.46, 0.24, 0.34
"""How far the layers reach beside, above and below the middle of the upper lip's edge, in eye distances."""
FINE = 180
"""Faces of fewer pixels between the eyes are painted at a multiple of their resolution and reduced."""
SHOWN = 0.022
"""How far the upper teeth reach below the line of shut lips, in eye distances."""
LOWER_SHOWN = 0.012
"""How far the lower teeth reach above it."""
OVERBITE = 0.022
"""How far upper teeth cover lower ones when the jaws are shut."""
CHEEKS = (50, 280, 117, 346, 205, 425)
TEETH_TO_WHITES = 0.96
"""Painted teeth are at most this share as bright as the whites of the eyes."""
NEUTRAL_TEETH = np.array([1.04, 1.0, 0.92])
"""Colour of teeth in white light, relative to green."""


class Layers(NamedTuple):
    """What is in a mouth, in pixels of the portrait.

    Attributes:
        corner: pixel of the portrait at which the layers' first pixel is, (2,).
        upper: upper gum and teeth, uint8 (h, w, 4), premultiplied RGBA.
        lower: tongue, lower gum and teeth, the same.
        own_upper: share of `upper` that is the photograph's own, (h, w) float32; None if all is painted.
        own_lower: the same of `lower`.
        cavity: colour behind, RGB (3,) float32.
        blur: how blurred the portrait is, standard deviation in pixels.
    """

    corner: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    own_upper: np.ndarray | None
    own_lower: np.ndarray | None
    cavity: np.ndarray
    blur: float


def build_layers(image: np.ndarray, points: np.ndarray, frame: MouthFrame) -> Layers:
    """The layers of a portrait, uint8 (S, S, 3), whose landmarks are `points`, (478, 3) in pixels."""
    inner = points[list(LIPS_INNER), :2].astype(np.float64)
    lips = _around(image, (inner + points[list(LIPS_OUTER), :2]) / 2, frame.unit)
    cheek = float(np.median(_around(image, points[list(CHEEKS), :2], frame.unit)))
    own = find_teeth(image, inner, frame, lips, cheek)
    palette, blur = _palette(image, points, lips, cheek, own), _blur(image, points, frame.unit)
    ring = frame.to_face(inner)
    upper_edge, lower_edge = _edges(ring, own)
    corner, size = _extent(frame)
    upper = _painted(paint_upper, frame, corner, size, upper_edge, palette, blur)
    lower = _painted(paint_lower, frame, corner, size, lower_edge, palette, blur)
    for layer in (upper, lower):
        layer[..., :3] *= _side_light(image, points, frame, corner, size)[..., None]
    own_upper = own_lower = None
    if own is not None:
        places = _places(corner, size)
        own_upper, own_lower = _own_shares(frame.to_face(places), ring, own, frame.unit)
        _lay_own(upper, own_upper, image, frame, places, ring, True)
        _lay_own(lower, own_lower, image, frame, places, ring, False)
    upper[..., 3] *= 255
    lower[..., 3] *= 255
    return Layers(
        corner,
        _uint8(upper),
        _uint8(lower),
        _or_none(own_upper),
        _or_none(own_lower),
        palette.cavity.astype(np.float32),
        blur,
    )


def _extent(frame: MouthFrame) -> tuple[np.ndarray, tuple[int, int]]:
    """First pixel (2,) and width and height of the layers."""
    beside, above, below = REACH
    corners = np.array([(u, v) for u in (-beside, beside) for v in (-above, below)])
    corners = frame.to_pixels(corners)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    return low, (int(high[0] - low[0]), int(high[1] - low[1]))


def _places(corner: np.ndarray, size: tuple[int, int], fine: int = 1) -> np.ndarray:
    """Pixels of the portrait (h·fine, w·fine, 2) at which a layer's pixels are."""
    x, y = (corner[axis] + (np.arange(size[axis] * fine) + 0.5) / fine - 0.5 for axis in (0, 1))
    return np.stack(np.meshgrid(x, y), axis=-1)


def _painted(paint, frame, corner, size, edge, palette, blur) -> np.ndarray:  # noqa: ANN001
    fine = int(np.clip(np.ceil(FINE / frame.unit), 1, 4))
    places = frame.to_face(_places(corner, size, fine)).astype(np.float32)
    layer = paint(places, edge, frame.turn, palette, 1 / (frame.unit * fine))
    layer = cv2.resize(layer, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(layer, (0, 0), blur)


def _edges(ring: np.ndarray, own: OwnTeeth | None) -> tuple[float, float]:
    """v of the edges of upper and lower incisors for lips (20, 2) in the mouth's frame."""
    upper_lip, lower_lip = ring[15, 1], max(ring[5, 1], ring[15, 1])
    upper = (upper_lip + lower_lip) / 2 if lower_lip - upper_lip < 0.02 else upper_lip
    upper += SHOWN
    lower = lower_lip - LOWER_SHOWN
    if own is not None:
        middle = np.abs(own.u - own.u.mean()) < 0.09
        if np.isfinite(own.upper[middle]).any():
            upper = float(np.nanmedian(own.upper[middle]))
            lower = max(upper - OVERBITE, lower_lip - 0.03)
        if np.isfinite(own.lower[middle]).any():
            lower = float(np.nanmedian(own.lower[middle]))
    return upper, lower


def _own_shares(
    places: np.ndarray, ring: np.ndarray, own: OwnTeeth, unit: float
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Where the layers take the photograph's own pixels, (h, w) each, or None."""
    u, v = places[..., 0], places[..., 1]
    bottom = np.interp(u, *ring[:11].T)
    texel = 1 / unit
    shares = []
    for edge, sign in ((own.upper, 1), (own.lower, -1)):
        seen = np.flatnonzero(np.isfinite(edge))
        if not len(seen):
            shares.append(None)
            continue
        first, last = own.u[seen[0]], own.u[seen[-1]]
        at = np.interp(u, own.u[seen], edge[seen])
        beside = np.maximum(first - u, u - last)
        share = np.clip(0.5 + (at - v) * sign / (1.5 * texel), 0, 1) * np.clip(1 - beside / 0.02, 0, 1)
        shares.append(share.astype(np.float32))
    del bottom
    return shares[0], shares[1]


def _lay_own(layer, share, image, frame, places, ring, upper) -> None:  # noqa: ANN001
    if share is None:
        return
    margin = 0.008
    face = frame.to_face(places)
    u, v = face[..., 0], face[..., 1]
    if upper:
        v = np.maximum(v, np.interp(u, *ring[[0, *range(19, 9, -1)]].T) + margin)
    else:
        v = np.minimum(v, np.interp(u, *ring[:11].T) - margin)
    source = frame.to_pixels(np.stack([u, v], axis=-1)).astype(np.float32)
    colors = cv2.remap(image, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    layer *= 1 - share[..., None]
    layer[..., :3] += share[..., None] * colors
    layer[..., 3] += share


def _palette(image, points, lips, cheek, own) -> Palette:  # noqa: ANN001
    lip = np.median(lips, axis=0)
    whites = _eye_whites(image, points)
    light = whites / (np.array([1.0, 0.97, 0.95]) * whites[1])
    brightness = min(TEETH_TO_WHITES * whites[1], (whites[1] * 1.25 * cheek) ** 0.5)
    teeth = brightness * NEUTRAL_TEETH * light
    if own is not None:
        teeth = own.color
    chroma = lip / max(lip.mean(), 1)
    floor = np.percentile(image[::4, ::4].reshape(-1, 3), 1, axis=0) * 0.6
    cavity = np.maximum(0.14 * lip.mean() * chroma**2, floor)
    if own is not None and own.cavity is not None:
        cavity = own.cavity
    return Palette(teeth, 0.78 * lip.mean() * chroma**1.1, 0.62 * lip.mean() * chroma**1.3, cavity)


def _eye_whites(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    mask = np.zeros(image.shape[:2], np.uint8)
    for eye in EYES:
        cv2.fillPoly(mask, [np.round(points[list(eye), :2]).astype(np.int32)], 1)
    pixels = image[mask > 0].astype(np.float64)
    if not len(pixels):
        return np.full(3, 160.0)
    brightness = pixels.mean(1)
    return pixels[brightness >= np.percentile(brightness, 80)].mean(0).clip(min=1)


def _side_light(image, points, frame, corner, size) -> np.ndarray:  # noqa: ANN001
    left, right = (_around(image, points[[a, b], :2], frame.unit).mean() for a, b in ((205, 50), (425, 280)))
    u = frame.to_face(_places(corner, size))[..., 0]
    slope = np.clip((right - left) / max(left + right, 1), -0.5, 0.5)
    return (1 + 0.6 * slope * np.clip(u / 0.25, -1, 1)).astype(np.float32)


def _around(image: np.ndarray, places: np.ndarray, unit: float) -> np.ndarray:
    """Pixels near places (n, 2), (m, 3) float."""
    reach = max(1, round(0.015 * unit))
    offsets = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 2), axis=-1).reshape(-1, 2)
    at = np.round(places[:, None] + offsets).astype(int).reshape(-1, 2)
    at = at.clip(0, (image.shape[1] - 1, image.shape[0] - 1))
    return image[at[:, 1], at[:, 0]].astype(np.float64)


def _blur(image: np.ndarray, points: np.ndarray, unit: float) -> float:
    """How blurred the sharpest edges around eyes and mouth are (standard deviation in pixels): by how much another
    blur flattens them."""
    face = points[[*EYES[0], *EYES[1], *LIPS_OUTER], :2]
    low = np.maximum(face.min(0) - 0.1 * unit, 0).astype(int)
    high = np.minimum(face.max(0) + 0.1 * unit, image.shape[1::-1]).astype(int)
    grey = cv2.cvtColor(image[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY).astype(np.float32)
    again = max(1.0, 0.01 * unit)
    before, after = (_steepness(x) for x in (grey, cv2.GaussianBlur(grey, (0, 0), again)))
    edges = before >= np.percentile(before, 98)
    ratio = max(float(before[edges].mean() / max(after[edges].mean(), 1e-3)), 1.02)
    return float(np.clip(again / np.sqrt(ratio**2 - 1), 0.4, max(0.5, 0.03 * unit)))


def _steepness(grey: np.ndarray) -> np.ndarray:
    return np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))


def _uint8(layer: np.ndarray) -> np.ndarray:
    return layer.round().clip(0, 255).astype(np.uint8)


def _or_none(share: np.ndarray | None) -> np.ndarray | None:
    return share
