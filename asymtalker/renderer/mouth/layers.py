"""The layers of a mouth's inside, made once a portrait: the photograph's pixels where it shows teeth, else painted."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.landmarks import LIPS_INNER
from asymtalker.renderer.mouth.frame import LOWER_RING, UPPER_RING, MouthFrame
from asymtalker.renderer.mouth.own_teeth import OwnTeeth, find_teeth
from asymtalker.renderer.mouth.palette import Palette, blur_of, grain_of, palette, side_light
from asymtalker.renderer.mouth.teeth import paint_lower, paint_upper

REACH = 0.46, 0.24, 0.34
"""How far the layers reach beside, above and below the middle of the upper lip's edge, in eye distances."""
FINE = 180
"""Faces of fewer pixels between the eyes are painted at a multiple of their resolution and reduced."""
SHOWN = 0.017
"""How far the upper teeth reach below the line of shut lips, in eye distances."""
LOWER_SHOWN = 0.006
"""How far the lower teeth reach above it."""
LIP_LIFT = 0.25
"""Share of an open mouth that is due to a raised upper lip."""
SHUT = 0.02
"""Lips that are less apart, in eye distances, are shut."""
LIPS_ALONE = 0.35
"""Share of a small opening in which the jaw has no part: by so much the lower teeth are seen above the lower lip."""
OVERBITE = 0.022
"""How far upper teeth cover lower ones when the jaws are shut."""
LIP_MARGIN = 0.008
"""Pixels nearer to the lips than this may be lips; those beside them are repeated instead, in eye distances."""
TEETH_MARGIN = 0.004
"""What is below the upper teeth begins so far from their edge, in eye distances."""
FADE = 0.04
"""Behind the lips of the portrait its own teeth pass into painted ones over this distance."""
END = 0.03
"""The same beside the last tooth seen, and above what is seen below the upper teeth."""
EMPTY = 0.025, 0.045
"""Dark without teeth counts from an opening of the first height on, and fully from the second on."""
HIDDEN = 0.006
"""Painted teeth end so far above the edge of the portrait's own before them."""
DARKEST = 0.12
"""The dark behind the portrait's own teeth is at most this share as bright as they are."""
BEND = 0.12
"""The row of painted teeth that continues the portrait's own rises at most so steeply towards the corners."""
LEAST_DEPTH = 0.04
"""What is seen below the upper teeth is taken from the photograph if it is at least so high."""


class OwnPart(NamedTuple):
    """The part of a layer that is the photograph's own.

    Attributes:
        share: how much of each pixel is, (h, w) float32 from 0 to 1.
        source: the pixel of the portrait that it was, (h, w, 2) float32.
    """

    share: np.ndarray
    source: np.ndarray


class Layers(NamedTuple):
    """What is in a mouth, in pixels of the portrait.

    Attributes:
        corner: pixel of the portrait at which the layers' first pixel is, (2,).
        upper: upper gum and teeth, uint8 (h, w, 4), premultiplied RGBA.
        lower: tongue, lower gum and teeth, the same.
        portrait: the portrait itself, uint8 (h, w, 3).
        own_upper: which part of `upper` is the photograph's own; None if all is painted.
        own_lower: the same of `lower`.
        cavity: colour behind them, RGB (3,) float32.
        warmth: see `Palette`.
        blur: how blurred the portrait is, standard deviation in pixels.
    """

    corner: np.ndarray
    upper: np.ndarray
    lower: np.ndarray
    portrait: np.ndarray
    own_upper: OwnPart | None
    own_lower: OwnPart | None
    cavity: np.ndarray
    warmth: np.ndarray
    blur: float


class _Builder:
    """Builds the layers of one portrait, uint8 (S, S, 3), with landmarks (478, 3) in pixels."""

    def __init__(self, image: np.ndarray, points: np.ndarray, frame: MouthFrame) -> None:
        self.image, self.points, self.frame = image, points, frame
        self.ring = frame.to_face(points[list(LIPS_INNER), :2])
        self.corner, self.size = _extent(frame)
        self.u, self.v = np.moveaxis(frame.to_face(_places(self.corner, self.size)), -1, 0)
        self.own = find_teeth(image, points, frame)
        self.blur = blur_of(image, points, frame.unit)
        self.grain = grain_of(image, points)
        self.palette = _with_own(palette(image, points, frame.unit), self.own)

    def build(self) -> Layers:
        upper_edge, lower_edge = _edges(self.ring, self.own)
        upper = self._painted(paint_upper, upper_edge, _seen_edge(self.own))
        lower = self._painted(paint_lower, lower_edge, None)
        own_upper = own_lower = None
        if self.own is not None:
            upper *= 1 - self._without_teeth()[..., None]
            own_upper, own_lower = self._own_upper(upper), self._own_lower(lower)
        colors = self.palette.cavity.astype(np.float32), self.palette.warmth.astype(np.float32)
        return Layers(
            self.corner, _uint8(upper), _uint8(lower), self._cut_out(), own_upper, own_lower, *colors, self.blur
        )

    def _painted(self, paint: Callable[..., np.ndarray], edge: float, own_edge: np.ndarray | None) -> np.ndarray:
        """Paints a row; behind teeth of the photograph it follows their edge and stays hidden."""
        fine = int(np.clip(np.ceil(FINE / self.frame.unit), 1, 4))
        places = self.frame.to_face(_places(self.corner, self.size, fine)).astype(np.float32)
        if own_edge is not None:
            edge = np.interp(places[..., 0], *_trend(self.own.u, own_edge)).astype(np.float32) - HIDDEN
        if self.own is not None:
            places[..., 0] -= self.own.middle
        layer = paint(places, edge, self.frame.turn, self.palette, 1 / (self.frame.unit * fine))
        layer = cv2.GaussianBlur(cv2.resize(layer, self.size, interpolation=cv2.INTER_AREA), (0, 0), self.blur)
        layer[..., :3] *= side_light(self.image, self.points, self.frame, self.u)[..., None]
        grain = np.random.default_rng(0).normal(0, self.grain, layer.shape[:2]).astype(np.float32)
        layer[..., :3] += (grain * layer[..., 3])[..., None]
        return layer

    def _without_teeth(self) -> np.ndarray:
        """Where the open mouth of the portrait shows that there are no upper teeth, (h, w) from 0 to 1."""
        own = self.own
        top, bottom = (np.interp(own.u, *self.ring[half].T) for half in (UPPER_RING, LOWER_RING))
        low, high = EMPTY
        empty = np.clip((bottom - top - low) / (high - low), 0, 1) * (np.isnan(own.upper) & (own.dark > 0.5))
        if np.isnan(own.upper).all():
            empty *= 0  # they are behind the upper lip
        sigma = max(1.0, 0.015 / (own.u[1] - own.u[0]))
        empty = cv2.GaussianBlur(empty[None], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)[0]
        return np.interp(self.u, own.u, empty).astype(np.float32)

    def _own_upper(self, layer: np.ndarray) -> OwnPart | None:
        own, seen = self.own, np.flatnonzero(np.isfinite(self.own.upper))
        if not len(seen):
            return None
        texel = 1 / self.frame.unit
        soft = max(1.5, self.blur) * texel
        edge = np.interp(self.u, own.u[seen], own.upper[seen])
        lip = np.interp(self.u, *self.ring[UPPER_RING].T) + LIP_MARGIN
        beside = np.maximum(own.u[seen[0]] - self.u, self.u - own.u[seen[-1]])
        share = np.clip(0.5 + (edge + texel / 2 - self.v) / soft, 0, 1) * np.clip(1 - beside / END, 0, 1)
        share *= np.clip(1 - (lip - self.v) / FADE, 0, 1)
        # The edge itself is mixed with the lip behind it: the tooth is continued from within.
        within = np.clip(self.v, lip, np.maximum(edge - soft - 0.5 * texel, lip))
        return self._lay(layer, share, within)

    def _own_lower(self, layer: np.ndarray) -> OwnPart | None:
        """All that is seen below the upper teeth goes with the jaw: lower teeth, tongue, and the dark between."""
        own = self.own
        top, bottom = (np.interp(own.u, *self.ring[half].T) for half in (UPPER_RING, LOWER_RING))
        edge = _seen_edge(own)
        begin = top if edge is None else np.interp(own.u, *_trend(own.u, edge))
        begin = begin + TEETH_MARGIN + 2 * max(1.5, self.blur) / self.frame.unit
        middle = np.abs(own.u - own.u.mean()) < 0.1
        if np.median((bottom - begin)[middle]) < LEAST_DEPTH:
            return None
        begin, lip = (np.interp(self.u, own.u, line) for line in (begin, bottom - LIP_MARGIN))
        beside = np.maximum(own.u[0] - self.u, self.u - own.u[-1])
        share = np.clip(1 - (begin - self.v) / END, 0, 1) * np.clip(-beside / END, 0, 1)
        share *= np.clip(1 - (self.v - lip) / FADE, 0, 1) * (lip > begin)
        return self._lay(layer, share, np.clip(self.v, np.minimum(begin, lip), lip))

    def _cut_out(self) -> np.ndarray:
        left, top = self.corner
        x, y = np.arange(left, left + self.size[0]), np.arange(top, top + self.size[1])
        return self.image[np.ix_(y.clip(0, self.image.shape[0] - 1), x.clip(0, self.image.shape[1] - 1))]

    def _lay(self, layer: np.ndarray, share: np.ndarray, v: np.ndarray) -> OwnPart:
        """Lays pixels of the photograph over a layer, in place; `v` says from which height each is taken."""
        source = self.frame.to_pixels(np.stack([self.u, v], axis=-1)).astype(np.float32)
        border = cv2.BORDER_REPLICATE
        colors = cv2.remap(self.image, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=border)
        share = share.astype(np.float32)
        layer *= 1 - share[..., None]
        layer[..., :3] += share[..., None] * colors
        layer[..., 3] += share
        return OwnPart(share, source)


def build_layers(image: np.ndarray, points: np.ndarray, frame: MouthFrame) -> Layers:
    """The layers of a portrait, uint8 (S, S, 3), whose landmarks are `points`, (478, 3) in pixels."""
    return _Builder(image, points, frame).build()


def _with_own(colors: Palette, own: OwnTeeth | None) -> Palette:
    if own is None:
        return colors
    cavity = colors.cavity
    if own.cavity is not None:
        cavity = own.cavity * min(1.0, DARKEST * own.color.mean() / max(own.cavity.mean(), 1))
    return colors._replace(teeth=own.color, cavity=cavity)


def _edges(ring: np.ndarray, own: OwnTeeth | None) -> tuple[float, float]:
    """v of the edges of upper and lower incisors for lips (20, 2) in the mouth's frame."""
    upper_lip, lower_lip = ring[15, 1], max(ring[5, 1], ring[15, 1])
    upper = (upper_lip + lower_lip) / 2 if lower_lip - upper_lip < SHUT else upper_lip
    upper, lower = upper + SHOWN + LIP_LIFT * (lower_lip - upper_lip), lower_lip - LOWER_SHOWN
    lower -= min(LIPS_ALONE * (lower_lip - upper_lip), 0.025)
    if own is not None:
        middle = np.abs(own.u - own.u.mean()) < 0.09
        if np.isfinite(own.upper[middle]).any():
            upper = float(np.nanmedian(own.upper[middle]))
            lower = upper - OVERBITE if lower_lip - upper < LEAST_DEPTH else lower_lip
        if np.isfinite(own.lower[middle]).any():
            lower = float(np.nanmedian(own.lower[middle]))
    return upper, lower


def _seen_edge(own: OwnTeeth | None) -> np.ndarray | None:
    return own.upper if own is not None and np.isfinite(own.upper).any() else None


def _trend(u: np.ndarray, edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An edge of teeth where it is seen, and how it goes on beside it: u and v of points of it."""
    seen = np.flatnonzero(np.isfinite(edge))
    bend = np.polyfit(u[seen], edge[seen], 2)
    beside = []
    for end, step in zip(u[seen[[0, -1]]], (-0.15, 0.15), strict=True):
        slope = np.clip(2 * bend[0] * end + bend[1], -BEND, BEND)
        beside.append((end + step, np.polyval(bend, end) + slope * step))
    points = [beside[0], *zip(u[seen], edge[seen], strict=True), beside[1]]
    return tuple(np.array(points).T)


def _extent(frame: MouthFrame) -> tuple[np.ndarray, tuple[int, int]]:
    """First pixel (2,) and width and height of the layers."""
    beside, above, below = REACH
    corners = frame.to_pixels(np.array([(u, v) for u in (-beside, beside) for v in (-above, below)]))
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    return low, (int(high[0] - low[0]), int(high[1] - low[1]))


def _places(corner: np.ndarray, size: tuple[int, int], fine: int = 1) -> np.ndarray:
    """Pixels of the portrait (h·fine, w·fine, 2) at which a layer's pixels are."""
    x, y = (corner[axis] + (np.arange(size[axis] * fine) + 0.5) / fine - 0.5 for axis in (0, 1))
    return np.stack(np.meshgrid(x, y), axis=-1)


def _uint8(layer: np.ndarray) -> np.ndarray:
    return (layer * np.float32([1, 1, 1, 255])).round().clip(0, 255).astype(np.uint8)
