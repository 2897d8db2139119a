"""Where each pixel of a frame lies in the portrait: a smooth displacement that carries the landmarks exactly.

The displacement is a thin-plate spline through the landmarks that move (lips, jaw, brows) and those that stay. Lips
part, so there are two of them, one for what is above the mouth and one for what is below, and the frame takes the one
or the other on either side of the line where the lips meet. The head's pose moves the whole face, with the parallax
that the depth of the landmarks gives, and fades to nothing towards the border of the square.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from asymtalker.renderer.brows import BROW_POINTS
from asymtalker.renderer.landmarks import LIPS_INNER, OVAL
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER, JAW, split_lips
from asymtalker.renderer.motion import POSE, FaceFrame, pose_basis
from asymtalker.renderer.warp import resize_field

NODES = 129
"""The displacement is computed on so many nodes along a side, and interpolated between them."""
ITERATIONS = 3
"""Newton steps that turn "where a place goes" into "where it came from"."""
SMALLEST_AREA = 0.25
"""Skin is taken to shrink no further than this in a Newton step, which keeps the steps small where it folds."""
BORDER = 0.12
"""Share of the side over which displacement fades at the border, whatever lies there."""
HAIR = 1.12
"""What moves like the face reaches beyond the oval of the landmarks by this factor."""
DEPTH_REACH = 0.25
"""Reach of a landmark's depth, in eye distances."""
LINE_SOFTNESS = 0.008
"""Half the width over which one side of the mouth passes into the other, in eye distances; at least three quarters
of a pixel, or the line would show steps."""
CHEEK_SOFTNESS = 0.5
"""The same beside the mouth, in units of the distance from its corner."""
BESIDE = 0.2
"""The line is drawn at full resolution so far beside the mouth, in widths of the mouth; further away it is so soft that
the nodes will do."""
DEPTH_NODES = 33
"""Depth is spread over so many nodes along a side, for it is smooth."""

# What stays while a face talks, and holds the displacement of lips and jaw within bounds.
PINS = (33, 133, 362, 263, 159, 145, 386, 374, 1, 2, 98, 327, 168, 195, 50, 280, 117, 346)
PINS += (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)


class Displacement:
    """The displacement of one portrait.

    Args:
        points: landmarks of the portrait, (478, 3) in pixels.
        side: of the square portrait, in pixels.
    """

    def __init__(self, points: np.ndarray, side: int) -> None:
        self.side, self.points, self.frame = side, points, FaceFrame.of(points)
        ticks = np.linspace(0, side - 1, NODES, dtype=np.float32)
        self._nodes = np.stack(np.meshgrid(ticks, ticks), axis=-1)
        self._pixels = _pixels(0, 0, side, side)
        self._fade = _border_fade(self._nodes, side)
        basis = self._in_pixels(self._pose_basis(self._nodes))
        weight = self._fade * _head_weight(self._nodes, points, side)
        self._pose = torch.from_numpy((basis * weight[..., None, None]).reshape(-1, len(POSE)))
        self._pose_of_points = self._in_pixels(pose_basis(self.frame.to_face(points)))
        upper, lower = split_lips()
        jaw, border = tuple(JAW), _border_points(side)
        moving = (*upper, *jaw, *BROW_POINTS), (*lower, *jaw)
        self._splines = [_Spline(points, half, border, self._nodes, self._fade) for half in moving]
        self._moving = [np.array(half) for half in moving]

    def moved(self, moves: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Where the landmarks are in a frame, (478, 2) in pixels.

        Args:
            moves: displacement of the landmarks within the face, (478, 2) in pixels; zero for what stays.
            pose: (6,), see `Motion.pose`.
        """
        return self.points[:, :2] + moves + self._pose_of_points @ pose

    def skull(self, pose: np.ndarray) -> np.ndarray:
        """How the head moves what is at the depth of the lips: an affine map (2, 3) of pixels."""
        middle = self.points[list(LIPS_INNER)].mean(0)
        places = middle + np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]])
        centre, right, down = places[:, :2] + self._in_pixels(pose_basis(self.frame.to_face(places))) @ pose
        linear = np.stack([right - centre, down - centre], axis=1)
        return np.concatenate([linear, (centre - linear @ middle[:2])[:, None]], axis=1)

    def places(self, moves: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Where each pixel of a frame lies in the portrait: (side, side, 2) float32 in pixels; arguments as above."""
        head = (self._pose @ torch.from_numpy(pose.astype(np.float32))).numpy().reshape(self._nodes.shape)
        halves = [
            self._came_from(head + spline(moves[moving])) - self._nodes
            for spline, moving in zip(self._splines, self._moving, strict=True)
        ]
        line = MouthLine(self.moved(moves, pose), self.frame.unit)
        below = line.below(self._nodes)[..., None]
        places = resize_field(halves[0] + below * (halves[1] - halves[0]), (self.side, self.side))
        left, top, right, bottom = line.box(self.side)
        if right > left and bottom > top:
            upper, lower = (self._inside(half, (left, top, right, bottom)) for half in halves)
            below = line.below(_pixels(left, top, right, bottom))[..., None]
            places[top:bottom, left:right] = upper + below * (lower - upper)
        places += self._pixels
        return places

    def _came_from(self, displacement: np.ndarray) -> np.ndarray:
        """Inverts a displacement (n, n, 2) of places in the portrait, in pixels, by Newton's method.

        A plain fixed point would not do: where the lips are drawn together, the skin below stretches twofold.
        """
        scale = np.float32((NODES - 1) / max(self.side - 1, 1))
        along_y, along_x = np.gradient(displacement * scale, axis=(0, 1))
        slopes = np.concatenate([along_x, along_y], axis=-1)  # dx/dx, dy/dx, dx/dy, dy/dy
        places = self._nodes - displacement
        for _ in range(ITERATIONS):
            at = [*cv2.split(places * scale), cv2.INTER_LINEAR]
            missed = places + cv2.remap(displacement, *at, borderMode=cv2.BORDER_REPLICATE) - self._nodes
            xx, yx, xy, yy = cv2.split(cv2.remap(slopes, *at, borderMode=cv2.BORDER_REPLICATE))
            xx, yy = 1 + xx, 1 + yy
            area = np.maximum(xx * yy - xy * yx, SMALLEST_AREA)
            x, y = cv2.split(missed)
            places = places - np.stack([yy * x - xy * y, xx * y - yx * x], axis=-1) / area[..., None]
        return places

    def _inside(self, field: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
        """A field of nodes (n, n, 2) at the pixels of a box."""
        x, y = cv2.split(_pixels(*box) * np.float32((NODES - 1) / max(self.side - 1, 1)))
        return cv2.remap(field, x, y, cv2.INTER_LINEAR)

    def _pose_basis(self, nodes: np.ndarray) -> np.ndarray:
        depth = _spread_depth(nodes, self.points, DEPTH_REACH * self.frame.unit)
        return pose_basis(self.frame.to_face(np.concatenate([nodes, depth[..., None]], axis=-1)))

    def _in_pixels(self, basis: np.ndarray) -> np.ndarray:
        """(..., 2, 6) from the face's axes and eye distances to pixels."""
        turned = np.einsum("ij,...ik->...jk", self.frame.axes, basis)
        return (turned * self.frame.unit).astype(np.float32)


class MouthLine:
    """The line along which the lips of a frame meet, or would meet: above it is the upper lip, below it the lower.

    Args:
        points: landmarks of the frame, (478, 2) in pixels.
        unit: eye distance, in pixels.
    """

    def __init__(self, points: np.ndarray, unit: float) -> None:
        upper, lower = points[list(INNER_UPPER)], points[list(INNER_LOWER)]
        self._corner, across = upper[0], upper[-1] - upper[0]
        self._width = max(float(np.hypot(*across)), 1.0)
        self._along = (across / self._width).astype(np.float32)
        self._across = np.array([-self._along[1], self._along[0]])
        middle = (upper + lower) / 2 - self._corner
        order = np.argsort(middle @ self._along)
        self._at, self._line = (middle @ self._along)[order], (middle @ self._across)[order]
        self._softness = np.float32(max(LINE_SOFTNESS * unit, 0.75))
        self._points = np.concatenate([upper, lower])

    def below(self, places: np.ndarray) -> np.ndarray:
        """How far places (..., 2) in pixels are below the line, from 0 to 1, as float32."""
        x, y = (places[..., axis] - np.float32(self._corner[axis]) for axis in (0, 1))
        along, across = (x * axis[0] + y * axis[1] for axis in (self._along, self._across))
        beside = np.maximum(np.maximum(-along, along - self._width), 0)
        line = np.interp(along, self._at, self._line).astype(np.float32)
        return np.clip(0.5 + 0.5 * (across - line) / (self._softness + CHEEK_SOFTNESS * beside), 0, 1)

    def box(self, side: int) -> tuple[int, int, int, int]:
        """Pixels around the mouth where the line needs full resolution: left, top, right, bottom."""
        beside, nodes = BESIDE * self._width, 2 * side / (NODES - 1)
        reach = np.abs(self._along) * beside + np.abs(self._across) * CHEEK_SOFTNESS * beside + nodes
        low, high = self._points.min(0) - reach, self._points.max(0) + reach
        left, top = np.clip(np.floor(low), 0, side).astype(int)
        right, bottom = np.clip(np.ceil(high) + 1, 0, side).astype(int)
        return int(left), int(top), int(right), int(bottom)


class _Spline:
    """A thin-plate spline through landmarks that move and points that stay, as a matrix.

    Args:
        points: landmarks, (478, 3) in pixels.
        moving: indices of those that move.
        still: further points that stay, (n, 2) in pixels, besides `PINS`.
        nodes: where the spline is wanted, (h, w, 2) in pixels.
        fade: what it is multiplied by there, (h, w).
    """

    def __init__(
        self, points: np.ndarray, moving: tuple[int, ...], still: np.ndarray, nodes: np.ndarray, fade: np.ndarray
    ) -> None:
        centres = np.concatenate([points[list(moving), :2], points[list(PINS), :2], still]).astype(np.float64)
        scale = np.ptp(centres, axis=0).max()
        system = _thin_plate(centres / scale, centres / scale) + 1e-6 * np.eye(len(centres))
        affine = np.concatenate([np.ones((len(centres), 1)), centres / scale], axis=1)
        system = np.block([[system, affine], [affine.T, np.zeros((3, 3))]])
        weights = np.linalg.inv(system)[:, : len(moving)]  # what stays contributes nothing
        flat = nodes.reshape(-1, 2) / scale
        values = np.concatenate([_thin_plate(flat, centres / scale), np.ones((len(flat), 1)), flat], axis=1)
        self._matrix = torch.from_numpy(((values @ weights) * fade.reshape(-1, 1)).T.astype(np.float32)).contiguous()
        self._shape = nodes.shape[:-1]

    def __call__(self, moves: np.ndarray) -> np.ndarray:
        """Displacements of the moving landmarks (m, 2) to those of the nodes, (h, w, 2)."""
        # PyTorch's product keeps to the threads that it was given; NumPy's takes all cores from the network.
        moved = torch.from_numpy(moves.T.astype(np.float32)) @ self._matrix
        return np.stack(moved.numpy(), axis=-1).reshape(*self._shape, 2)


def _thin_plate(places: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """r² log r of the distances between (n, 2) and (m, 2)."""
    squares = ((places**2).sum(1)[:, None] + (centres**2).sum(1) - 2 * places @ centres.T).clip(min=0)
    return 0.5 * squares * np.log(squares + 1e-12)


def _border_points(side: int, count: int = 6) -> np.ndarray:
    """Points around the border of the square, (4·count, 2)."""
    ticks = np.linspace(0, side - 1, count, endpoint=False)
    zero, far = np.zeros(count), np.full(count, side - 1.0)
    edges = [(ticks, zero), (far, ticks), (side - 1 - ticks, far), (zero, side - 1 - ticks)]
    return np.concatenate([np.stack(edge, axis=1) for edge in edges])


def _border_distance(nodes: np.ndarray, side: int) -> np.ndarray:
    return np.minimum(nodes, side - 1 - nodes).min(-1)


def _border_fade(nodes: np.ndarray, side: int) -> np.ndarray:
    return _smoothstep(_border_distance(nodes, side) / (BORDER * side))


def _head_weight(nodes: np.ndarray, points: np.ndarray, side: int) -> np.ndarray:
    """How much of the head's movement a place takes part in: all of it within the face, nothing at the border."""
    oval = points[list(OVAL), :2]
    oval = (oval - oval.mean(0)) * HAIR + oval.mean(0)
    scale = (NODES - 1) / max(side - 1, 1)
    outside = np.ones((NODES, NODES), np.uint8)
    cv2.fillPoly(outside, [np.round(oval * scale).astype(np.int32)], 0)
    away = cv2.distanceTransform(outside, cv2.DIST_L2, 5) / scale
    left = _border_distance(nodes, side)
    return _smoothstep(left / (left + away + 1e-6))


def _spread_depth(nodes: np.ndarray, points: np.ndarray, reach: float) -> np.ndarray:
    """Depth of places (h, w, 2), interpolated between the landmarks and carried on beyond them: (h, w)."""
    coarse = resize_field(nodes, (DEPTH_NODES, DEPTH_NODES))
    flat = coarse.reshape(-1, 2)
    squares = ((flat**2).sum(1)[:, None] + (points[:, :2] ** 2).sum(1) - 2 * flat @ points[:, :2].T) / reach**2
    near = np.exp(-0.5 * (squares - squares.min(1, keepdims=True)))
    depth = ((near @ points[:, 2]) / near.sum(1)).reshape(coarse.shape[:-1])
    return resize_field(depth.astype(np.float32), nodes.shape[1::-1])


def _pixels(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def _smoothstep(x: np.ndarray) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return (x * x * (3 - 2 * x)).astype(np.float32)
