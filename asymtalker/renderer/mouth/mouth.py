"""The inside of the mouth: what is seen between the inner lips of a frame.

Upper teeth stay with the skull, lower teeth and tongue go with the jaw, and behind them it is dark. They are layers as
large as in the portrait, moved as a whole and never stretched; the lips only uncover more or less of them. A portrait
that shows teeth gives its own, and what its lips hide of them is painted; for others all teeth are painted.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from asymtalker.renderer.landmarks import LIPS_INNER
from asymtalker.renderer.mouth.frame import LOWER_RING, UPPER_RING, MouthFrame
from asymtalker.renderer.mouth.layers import OwnPart, build_layers

LEAST_OPEN = 0.35
"""Nothing is drawn between lips that are nowhere further apart than this many pixels."""
EDGE = 0.0030
"""Softness of the edge between lips and mouth (standard deviation, in eye distances)."""
EDGE_GAIN = 1.6
"""The soft edge lies by this factor more on the lips than within the mouth."""
REACH_OF_SHADE = 0.030
"""How far the lips' shade reaches into the mouth (standard deviation, in eye distances)."""
SHADE_FALL = 0.020
"""Light comes from above: the shade lies so much lower than the lips that throw it, in eye distances."""
DEEPEST_SHADE = 0.33
"""Share of the light that is left right at the upper lip, and between lips that are almost shut."""
UNSHADED = 0.75
"""All the light arrives where at least this share of the neighbourhood is open."""
SHADE_CELLS = 3.0
"""The shade is computed on a grid on which its reach is this many cells."""
BRIGHTEST = 1.15
"""The portrait's own teeth are never made brighter than by this factor."""
AS_SHOWN = 0.010, 0.030
"""While lips and jaw are about where the portrait has them, its own pixels are shown between the lips: all of them up
to the first distance, in eye distances, none from the second on."""
ROUND = 4
"""Places along the lips between two landmarks."""


class Box(NamedTuple):
    """Pixels of a frame; right and bottom are the first beyond it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def corner(self) -> tuple[int, int]:
        return self.left, self.top

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top


class Mouth:
    """The inside of one portrait's mouth.

    Args:
        image: the portrait, uint8 (S, S, 3), RGB.
        points: landmarks of its face, (478, 3) in pixels.

    Raises:
        ValueError: the image or the landmarks have another shape or type.
    """

    def __init__(self, image: np.ndarray, points: np.ndarray) -> None:
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"The portrait must be uint8 (height, width, 3), not {image.dtype} {image.shape}.")
        if points.shape != (478, 3) or not np.isfinite(points).all():
            raise ValueError(f"The landmarks must be finite and of shape (478, 3), not {points.shape}.")
        self._frame = MouthFrame.of(points)
        self._down = self._frame.axes[1]
        self._layers = build_layers(image, points, self._frame)
        self._softness = max(0.45, EDGE * self._frame.unit, 0.6 * self._layers.blur)
        self._ring = points[list(LIPS_INNER), :2].astype(np.float64)
        self._light_upper = self._light_of_portrait(self._layers.own_upper)
        self._light_lower = self._light_of_portrait(self._layers.own_lower)

    def draw(self, canvas: np.ndarray, inner: np.ndarray, skull: np.ndarray, jaw: np.ndarray) -> None:
        """Draws the inside of the mouth into a frame, in place. Pixels outside the inner lips stay as they are.

        Args:
            canvas: uint8 (S, S, 3), the face of this frame.
            inner: inner lips of this frame, (20, 2) in pixels, in the order of `LIPS_INNER`.
            skull: affine map (2, 3) from pixels of the portrait to those of the frame: how the head has moved.
            jaw: the same for the lower jaw.
        """
        skull, jaw = np.asarray(skull, np.float64), np.asarray(jaw, np.float64)
        upper, lower = part_lips(inner.astype(np.float64), skull[:, :2] @ self._down)
        if np.hypot(*(lower - upper).T).max() < LEAST_OPEN:
            return
        outline = np.concatenate([lower, upper[::-1]])
        box = _around(outline, 4 * self._softness, canvas.shape)
        if box is None:
            return
        mask = _coverage(outline - box.corner, box.size, self._softness)
        inside = self._inside(outline, box, skull, jaw)
        self._show_portrait(inside, inner, skull, jaw, box)
        patch = canvas[box.top : box.bottom, box.left : box.right]
        patch[:] = cv2.blendLinear(patch.copy(), inside, 1 - mask, mask)

    def _inside(self, outline: np.ndarray, box: Box, skull: np.ndarray, jaw: np.ndarray) -> np.ndarray:
        """The open mouth in a box, uint8 (h, w, 3)."""
        light = self._light(outline, box.corner, box.size)
        channels = [c * tint for c, tint in zip(self._layers.cavity, self._tinted(0.5 + 0.5 * light), strict=True)]
        parts = (self._layers.lower, self._light_lower, jaw), (self._layers.upper, self._light_upper, skull)
        for layer, portrait_light, affine in parts:
            affine = self._from_layer(affine, box)
            *seen, alpha = cv2.split(cv2.warpAffine(layer, affine, box.size, flags=cv2.INTER_CUBIC))
            lit = light
            if portrait_light is not None:
                before = cv2.warpAffine(portrait_light, affine, box.size, flags=cv2.INTER_LINEAR, borderValue=1.0)
                lit = np.minimum(light / before, BRIGHTEST)
            behind = 1 - alpha * np.float32(1 / 255)
            channels = [c * behind + s * tint for c, s, tint in zip(channels, seen, self._tinted(lit), strict=True)]
        return cv2.convertScaleAbs(cv2.merge(channels))

    def _show_portrait(
        self, inside: np.ndarray, inner: np.ndarray, skull: np.ndarray, jaw: np.ndarray, box: Box
    ) -> None:
        """Shows the portrait's own mouth, in place, as far as lips and jaw are where the portrait has them."""
        with_skull, with_jaw = (self._ring @ affine[:, :2].T + affine[:, 2] for affine in (skull, jaw))
        away = np.concatenate([inner - with_skull, with_jaw - with_skull])
        near, far = AS_SHOWN
        share = float(np.clip((far - np.hypot(*away.T).max() / self._frame.unit) / (far - near), 0, 1))
        if share > 0:
            affine = self._from_layer(skull, box)
            shown = cv2.warpAffine(self._layers.portrait, affine, box.size, flags=cv2.INTER_CUBIC)
            cv2.addWeighted(inside, 1 - share, shown, share, 0, dst=inside)

    def _tinted(self, light: np.ndarray) -> list[np.ndarray]:
        """Light (h, w) as a factor of each channel: the shade of lips has their colour."""
        return [light * (1 + warmth - warmth * light) for warmth in self._layers.warmth]

    def _from_layer(self, affine: np.ndarray, box: Box) -> np.ndarray:
        """An affine map of pixels of the portrait as one from pixels of the layers to pixels of a box."""
        affine = affine.copy()
        affine[:, 2] += affine[:, :2] @ self._layers.corner - box.corner
        return affine

    def _light(self, outline: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Share of the light that arrives behind an outline (n, 2), as (h, w) float32."""
        unit = self._frame.unit
        scale = min(1.0, SHADE_CELLS / (REACH_OF_SHADE * unit))
        cells = max(2, round(size[0] * scale)), max(2, round(size[1] * scale))
        factor = np.divide(cells, size)
        fallen = (outline + SHADE_FALL * unit * self._down - corner + 0.5) * factor - 0.5
        opening = np.zeros(cells[::-1], np.uint8)
        cv2.fillPoly(opening, [np.round(fallen * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        sigma = REACH_OF_SHADE * unit * factor[0]
        share = cv2.GaussianBlur(opening.astype(np.float32), (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) / 255
        light = DEEPEST_SHADE + (1 - DEEPEST_SHADE) * np.minimum(share / UNSHADED, 1)
        return cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)

    def _light_of_portrait(self, own: OwnPart | None) -> np.ndarray | None:
        """The light that the photograph's own pixels already show, (h, w) float32: 1 for what is painted, and None if
        all of it is."""
        if own is None:
            return None
        upper, lower = part_lips(self._ring, self._down)
        size = own.share.shape[::-1]
        light = self._light(np.concatenate([lower, upper[::-1]]), tuple(self._layers.corner), size)
        x, y = cv2.split(own.source - self._layers.corner.astype(np.float32))
        return 1 + own.share * (cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - 1)


def part_lips(inner: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the upper and of the lower lip as smooth lines from corner to corner.

    Args:
        inner: inner lips, (20, 2) in pixels, in the order of `LIPS_INNER`; where they pass through each other they are
            made to meet halfway.
        down: direction from the upper lip to the lower, (2,).

    Returns:
        Two arrays (n, 2) in pixels.
    """
    upper, lower = inner[UPPER_RING], inner[LOWER_RING]
    down = down / np.hypot(*down)
    overlap = np.minimum((lower - upper) @ down, 0)[:, None] * down
    return _ROUNDING @ (upper + overlap / 2), _ROUNDING @ (lower - overlap / 2)


def _rounding(points: int, steps: int) -> np.ndarray:
    """Matrix of a Catmull-Rom spline through points in a row, with so many steps from each to the next."""
    ends = np.eye(points)
    knots = np.concatenate([[2 * ends[0] - ends[1]], ends, [2 * ends[-1] - ends[-2]]])
    t = np.arange(steps)[:, None] / steps
    rows = []
    for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        rows.append(b + 0.5 * ((c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))
    return np.concatenate([*rows, ends[-1:]])


_ROUNDING = _rounding(len(LOWER_RING), ROUND)


def _around(outline: np.ndarray, margin: float, shape: tuple[int, ...]) -> Box | None:
    """The pixels around an outline within a picture; None if there are none."""
    low, high = np.floor(outline.min(0) - margin), np.ceil(outline.max(0) + margin) + 1
    left, top = np.maximum(low, 0).astype(int)
    right, bottom = np.minimum(high, (shape[1], shape[0])).astype(int)
    return Box(int(left), int(top), int(right), int(bottom)) if right > left and bottom > top else None


def _coverage(outline: np.ndarray, size: tuple[int, int], softness: float) -> np.ndarray:
    """How much of each pixel the inside of an outline is to cover, (h, w) float32, with a soft edge.

    It covers the outline itself: what is under its edge is no longer the lip.
    """
    fine = 4 if softness < 1 else 2
    mask = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    cv2.fillPoly(mask, [np.round(((outline + 0.5) * fine - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_8, 4)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    mask = cv2.GaussianBlur(mask, (0, 0), softness, borderType=cv2.BORDER_CONSTANT)
    return np.minimum(mask * np.float32(EDGE_GAIN / 255), 1)
