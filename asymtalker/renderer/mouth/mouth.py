"""The inside of the mouth: what is seen between the inner lips of a frame.

Upper teeth stay with the skull, lower teeth and tongue go with the jaw, and behind them it is dark. They are layers as
large as in the portrait, moved as a whole and never stretched; the lips only uncover more or less of them. A portrait
that shows teeth gives its own, and what its lips hide of them is painted; to others all teeth are painted.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import cv2
import numpy as np

from asymtalker.renderer.landmarks import LIPS_INNER
from asymtalker.renderer.mouth.frame import MouthFrame
from asymtalker.renderer.mouth.layers import Layers, OwnPart, build_layers

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
DEEPEST_SHADE = 0.36
"""Share of the light that is left right at the upper lip, and between lips that are almost shut."""
SHADE_CELLS = 3.0
"""The shade is computed on a grid on which its reach is this many cells."""
BRIGHTEST = 1.15
"""The portrait's own teeth are never made brighter than by this factor."""
ROUND = 4
"""Places along the lips between two landmarks."""


class Mouth:
    """The inside of one portrait's mouth. Build it with `Mouth.of`.

    Args:
        frame: where the mouth is in the portrait.
        layers: what is in it.
        ring: inner lips of the portrait, (20, 2) in pixels, in the order of `LIPS_INNER`.
    """

    def __init__(self, frame: MouthFrame, layers: Layers, ring: np.ndarray) -> None:
        self._frame, self._layers = frame, layers
        self._down = frame.axes[1]
        self._softness = max(0.45, EDGE * frame.unit, 0.6 * layers.blur)
        self._light_upper = self._light_of_portrait(ring, layers.own_upper)
        self._light_lower = self._light_of_portrait(ring, layers.own_lower)

    @classmethod
    def of(cls, image: np.ndarray, points: np.ndarray) -> Self:
        """The mouth of a portrait.

        Args:
            image: uint8 (S, S, 3), RGB.
            points: landmarks of its face, (478, 3) in pixels.

        Raises:
            ValueError: the image or the landmarks have another shape or type.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"The portrait must be uint8 (height, width, 3), not {image.dtype} {image.shape}.")
        if points.shape != (478, 3) or not np.isfinite(points).all():
            raise ValueError(f"The landmarks must be 478 finite points (478, 3), not {points.shape}.")
        frame = MouthFrame.of(points)
        return cls(frame, build_layers(image, points, frame), points[list(LIPS_INNER), :2].astype(np.float64))

    def draw(self, canvas: np.ndarray, inner: np.ndarray, skull: np.ndarray, jaw: np.ndarray) -> None:
        """Draws the inside of the mouth into a frame, in place. Pixels outside the inner lips stay as they are.

        Args:
            canvas: uint8 (S, S, 3), the face of this frame.
            inner: inner lips of this frame, (20, 2) in pixels, in the order of `LIPS_INNER`.
            skull: affine map (2, 3) from pixels of the portrait to those of the frame: how the head has moved.
            jaw: the same for the lower jaw.
        """
        upper, lower = part_lips(inner.astype(np.float64), np.asarray(skull, np.float64)[:, :2] @ self._down)
        if np.hypot(*(lower - upper).T).max() < LEAST_OPEN:
            return
        outline = np.concatenate([lower, upper[::-1]])
        box = _box(outline, 3 * self._softness, canvas.shape)
        if box is None:
            return
        left, top, right, bottom = box
        size = (right - left, bottom - top)
        mask = _coverage(outline - (left, top), size, self._softness)
        inside = self._inside(outline, box, size, skull, jaw)
        patch = canvas[top:bottom, left:right]
        patch[:] = (patch + mask[..., None] * (inside - patch) + 0.5).clip(0, 255)

    def _inside(
        self,
        outline: np.ndarray,
        box: tuple[int, int, int, int],
        size: tuple[int, int],
        skull: np.ndarray,
        jaw: np.ndarray,
    ) -> np.ndarray:
        """The open mouth in a box, (h, w, 3) float32."""
        light = self._light(outline, box[:2], size)
        inside = self._layers.cavity * self._tinted(0.5 + 0.5 * light)
        parts = (self._layers.lower, self._light_lower, jaw), (self._layers.upper, self._light_upper, skull)
        for layer, portrait_light, affine in parts:
            affine = self._from_layer(affine, box[:2])
            seen = cv2.warpAffine(layer, affine, size, flags=cv2.INTER_CUBIC).astype(np.float32)
            lit = light
            if portrait_light is not None:
                before = cv2.warpAffine(portrait_light, affine, size, flags=cv2.INTER_LINEAR, borderValue=1.0)
                lit = np.minimum(light / before, BRIGHTEST)
            inside = inside * (1 - seen[..., 3:] / 255) + seen[..., :3] * self._tinted(lit)
        return inside

    def _tinted(self, light: np.ndarray) -> np.ndarray:
        """Light (h, w) as a factor of each channel, (h, w, 3): the shade of lips is red."""
        return light[..., None] * (1 + np.maximum(1 - light, 0)[..., None] * self._layers.warmth)

    def _from_layer(self, affine: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
        """An affine map of pixels of the portrait as one from pixels of the layers to pixels of a box."""
        affine = np.array(affine, np.float64)
        affine[:, 2] += affine[:, :2] @ self._layers.corner - corner
        return affine

    def _light(self, outline: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Share of the light that reaches the teeth behind an outline, (h, w) float32."""
        unit = self._frame.unit
        scale = min(1.0, SHADE_CELLS / (REACH_OF_SHADE * unit))
        cells = max(2, round(size[0] * scale)), max(2, round(size[1] * scale))
        factor = np.divide(cells, size)
        fallen = (outline + SHADE_FALL * unit * self._down - corner + 0.5) * factor - 0.5
        hole = np.zeros(cells[::-1], np.uint8)
        cv2.fillPoly(hole, [np.round(fallen * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        open_share = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), REACH_OF_SHADE * unit * factor[0], borderType=0)
        light = DEEPEST_SHADE + (1 - DEEPEST_SHADE) * np.minimum(open_share / (0.75 * 255), 1)
        return cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)

    def _light_of_portrait(self, ring: np.ndarray, own: OwnPart | None) -> np.ndarray | None:
        """The light that the photograph's own pixels already show, (h, w) float32: 1 for what is painted, and None if
        all of it is."""
        if own is None:
            return None
        upper, lower = part_lips(ring, self._down)
        size = own.share.shape[::-1]
        light = self._light(np.concatenate([lower, upper[::-1]]), tuple(self._layers.corner), size)
        x, y = cv2.split(own.source - self._layers.corner.astype(np.float32))
        return 1 + own.share * (cv2.remap(light, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) - 1)


def part_lips(inner: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smooth edges of the upper and of the lower lip, (n, 2) each, from corner to corner; where the lips of `inner`
    (20, 2) pass through each other they meet halfway."""
    lower, upper = inner[:11], inner[[0, *range(19, 9, -1)]]
    down = down / np.hypot(*down)
    overlap = np.minimum((lower - upper) @ down, 0)[:, None] * down
    upper, lower = upper + overlap / 2, lower - overlap / 2
    return _ROUNDING @ upper, _ROUNDING @ lower


def _rounding(points: int, steps: int) -> np.ndarray:
    """Matrix of a Catmull-Rom spline through points in a row, with places between them."""
    rows = []
    ends = np.eye(points)
    knots = np.concatenate([[2 * ends[0] - ends[1]], ends, [2 * ends[-1] - ends[-2]]])
    for k in range(points - 1):
        a, b, c, d = knots[k : k + 4]
        for t in np.arange(steps) / steps:
            rows.append(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            )
    return np.stack([*rows, ends[-1]])


_ROUNDING = _rounding(11, ROUND)


def _box(outline: np.ndarray, margin: float, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    """Pixels around an outline within a picture: left, top, right, bottom; None if there are none."""
    low, high = np.floor(outline.min(0) - margin).astype(int), np.ceil(outline.max(0) + margin).astype(int) + 1
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, (shape[1], shape[0]))
    return (int(left), int(top), int(right), int(bottom)) if right > left and bottom > top else None


def _coverage(outline: np.ndarray, size: tuple[int, int], softness: float) -> np.ndarray:
    """How much of each pixel the inside of an outline is to cover, (h, w) float32, with a soft edge.

    It covers the outline itself: what is under its edge is no longer the lip.
    """
    fine = 4
    mask = np.zeros((size[1] * fine, size[0] * fine), np.uint8)
    cv2.fillPoly(mask, [np.round((outline + 0.5) * fine * 16 - 8).astype(np.int32)], 255, cv2.LINE_8, 4)
    mask = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return np.minimum(EDGE_GAIN * cv2.GaussianBlur(mask, (0, 0), softness, borderType=cv2.BORDER_CONSTANT), 1)
