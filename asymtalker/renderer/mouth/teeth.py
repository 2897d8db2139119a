"""Teeth, gums and tongue, painted: for a portrait that does not show its own.

Everything is measured in eye distances (about 90 mm in an adult) in the axes of the face: u to the viewer's right, from
the middle of the mouth, and v down. A layer is premultiplied RGBA, float32, from 0 to 255 (alpha from 0 to 1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from asymtalker.renderer.mouth.palette import Palette


class Tooth(NamedTuple):
    """Width and height of a crown, how much shorter than the central incisor it ends, roundness of its corners."""

    width: float
    height: float
    short: float
    roundness: float


# From the midline outwards: incisors, canine, premolars. Mean sizes of adults' crowns.
UPPER = (
    Tooth(0.094, 0.115, 0.000, 0.28),
    Tooth(0.072, 0.100, 0.009, 0.40),
    Tooth(0.083, 0.108, 0.004, 0.65),
    Tooth(0.076, 0.092, 0.012, 0.55),
    Tooth(0.074, 0.082, 0.018, 0.50),
)
LOWER = (
    Tooth(0.058, 0.100, 0.000, 0.28),
    Tooth(0.064, 0.100, 0.001, 0.35),
    Tooth(0.074, 0.105, -0.002, 0.65),
    Tooth(0.076, 0.095, 0.008, 0.55),
)
ARCH = 2.6, 3.2
"""Curvature of the upper and of the lower dental arch seen from above: depth = curvature · u²."""
DEPTH_SHADE = 3.4
"""How fast teeth darken with their depth behind the incisors."""
SIDE_SHADE = 0.22
"""Share of the light that is lost where a tooth turns away towards its neighbour."""
TONGUE_HALF_WIDTH, TONGUE_HEIGHT = 0.24, 0.060
"""The tongue's back rises so far above the edge of the lower teeth."""


def paint_upper(places: np.ndarray, edge: float, turn: float, palette: Palette, texel: float) -> np.ndarray:
    """The upper gum and teeth.

    Args:
        places: (h, w, 2), u and v where the layer is wanted.
        edge: v of the central incisors' edge.
        turn: of the head to the viewer's right, in radians.
        palette: the colours.
        texel: size of a pixel of the layer.

    Returns:
        (h, w, 4).
    """
    layer = np.zeros((*places.shape[:2], 4), np.float32)
    u, v = places[..., 0], places[..., 1]
    gum_line = edge - UPPER[0].height + 0.012
    reach = _arch(0.40, ARCH[0])
    ends = sorted(_turned(np.array([-reach, reach]), ARCH[0], turn))
    inside = _step(u - ends[0], 0.02) * _step(ends[1] - u, 0.02) * _step(gum_line + 0.03 - v, texel)
    _over(layer, palette.gum * _depth_shade(u, ARCH[0])[..., None], inside)
    _paint_row(layer, u, v - edge, UPPER, ARCH[0], turn, palette.teeth, texel)
    return layer


def paint_lower(places: np.ndarray, edge: float, turn: float, palette: Palette, texel: float) -> np.ndarray:
    """The tongue, and before it the lower gum and teeth; arguments as for `paint_upper`."""
    layer = np.zeros((*places.shape[:2], 4), np.float32)
    u, v = places[..., 0], places[..., 1]
    back = edge - TONGUE_HEIGHT * (1 - (u / TONGUE_HALF_WIDTH) ** 2).clip(min=-4) - 0.004 * np.exp(-((u / 0.03) ** 2))
    round_off = np.clip((v - back) / 0.09, 0, 1)
    tongue = palette.tongue * (0.45 + 0.55 * np.sqrt(round_off) - 0.12 * np.exp(-((u / 0.018) ** 2)))[..., None]
    _over(layer, tongue, _step(v - back, 0.018))
    gum_line = edge + LOWER[0].height - 0.012
    shade = _depth_shade(u, ARCH[1])[..., None]
    _over(layer, palette.gum * shade, _step(v - gum_line + 0.03, texel) * _step(0.24 - np.abs(u), 0.02))
    _paint_row(layer, u, edge - v, LOWER, ARCH[1], turn, 0.80 * palette.teeth, texel)
    return layer


def _paint_row(
    layer: np.ndarray,
    u: np.ndarray,
    beyond: np.ndarray,
    row: tuple[Tooth, ...],
    arch: float,
    turn: float,
    color: np.ndarray,
    texel: float,
) -> None:
    """Paints a row of teeth; `beyond` is how far a place is beyond the incisors' edge, negative on the teeth."""
    lengths = np.cumsum([0.0, *(tooth.width for tooth in row)])
    for number in reversed(range(len(row))):  # those in front cover those behind
        tooth = row[number]
        for side in (-1, 1):
            at = side * _arch(lengths[number : number + 2], arch)
            near, far = _turned(at, arch, turn)
            half = side * (far - near) / 2
            if half > 0.004:
                across = (u - (near + far) / 2) / half
                alpha, shade = _crown(across, half, beyond + tooth.short, tooth, texel)
                # Teeth are as dark as they lie deep, and the canine's bulge makes no exception.
                _over(layer, color * (shade * np.exp(-DEPTH_SHADE * arch * at.mean() ** 2))[..., None], alpha)


def _crown(
    across: np.ndarray, half: float, beyond: np.ndarray, tooth: Tooth, texel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Coverage and shade (h, w) of one crown: a box with rounded corners, lit as a cylinder."""
    radius = tooth.roundness * half
    x, y = np.abs(across) * half - (half - radius), beyond + radius
    distance = np.hypot(x.clip(min=0), y.clip(min=0)) + np.minimum(np.maximum(x, y), 0) - radius
    alpha = _step(-distance, texel) * _step(beyond + tooth.height, 0.006)
    from_edge = np.clip(-beyond / tooth.height, 0, 1)
    shade = 1 - SIDE_SHADE * np.abs(across).clip(max=1) ** 4
    shade *= 1 - 0.14 * np.exp(-from_edge / 0.09)  # the translucent edge lets the dark behind it through
    shade *= 1 - 0.16 * from_edge**2
    return alpha.astype(np.float32), shade.astype(np.float32)


def _arch(length: np.ndarray | float, arch: float) -> np.ndarray | float:
    """The u at which the arch, walked from its middle, has a length."""
    u = np.linspace(0, 0.5, 256)
    walked = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(u), np.diff(arch * u**2)))])
    return np.interp(length, walked, u)


def _turned(u: np.ndarray, arch: float, turn: float) -> np.ndarray:
    """Where places of the arch are seen when the head is turned."""
    return u * np.cos(turn) - arch * u**2 * np.sin(turn)


def _depth_shade(u: np.ndarray, arch: float) -> np.ndarray:
    return np.exp(-DEPTH_SHADE * arch * u**2).astype(np.float32)


def _step(x: np.ndarray, width: float) -> np.ndarray:
    """From 0 to 1 where x passes 0, over a width."""
    return np.clip(0.5 + x / width, 0, 1).astype(np.float32)


def _over(layer: np.ndarray, color: np.ndarray, alpha: np.ndarray) -> None:
    """Lays a colour (h, w, 3) or (3,) over a layer, in place."""
    layer *= 1 - alpha[..., None]
    layer[..., :3] += alpha[..., None] * color
    layer[..., 3] += alpha
