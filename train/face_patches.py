"""Training samples of the landmark finder: patches of faces that are moved, bent, relit and partly hidden.

A few hundred photographs become many faces: each is mirrored, turned and bent smoothly, mouth and eyes more than the
rest, and the landmarks go with the pixels. Patches for the confidence show no face, or one that is far off.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.utils.data import IterableDataset

from asymtalker.renderer.finder import (
    EYE_POINTS,
    EYE_SHARE,
    EYE_SIDE,
    FACE_SIDE,
    LOCATOR_SIDE,
    MOUTH_SHARE,
    MOUTH_SIDE,
    fit_squares,
    to_unit,
)
from asymtalker.renderer.landmarks import LIPS, OUTER_EYES, OVAL, POINTS
from train.faces import LabelledFace
from train.photometry import vary

FILLED = 0.8
"""The face's outline fills the reference square so far."""
BEND_NODES = 25
"""A bend is found for so many places along a patch, and interpolated between them."""
FRESH, POOL_BATCHES = 0.33, 16
"""Cutting out costs more than changing the light: of the samples of a batch so many are new, the others are drawn from
the last so many batches and lit anew."""
CUT_OFF = 0.15
"""Share of the pictures that end in the face."""
ABSENT, FACELESS = 0.2, 0.06
"""Shares of the patches of locator and face in which the face is far off, and of those that show none."""
SHAKES = 0.06, 0.06, 0.06, 0.12, 0.25
"""How far the patch of the whole face may be off, in parts of half its side."""
FITTING = 0.35
"""A patch so far off is not certain any more."""


Sample = tuple[np.ndarray, np.ndarray, float, bool]
"""A patch (S, S, 3) and what belongs to it: see `Patches`."""


class Patches(NamedTuple):
    """What one network is trained with.

    Attributes:
        images: (B, 3, S, S), colours from 0 to 1.
        points: landmarks from -1 to 1, (B, P, 2 or 3).
        certainty: how well the patch shows a face, upright and filling it, from 0 to 1, (B,).
    placed: whether the landmarks are near enough to be found, (B,).
    """

    images: Tensor
    points: Tensor
    certainty: Tensor
    placed: Tensor


class Bend(NamedTuple):
    """A smooth displacement: around each of K centres the picture is moved and stretched.

    Attributes:
        centres: (K, 2) in pixels.
        reach: standard deviations, (K, 1) in pixels.
        moves: (K, 2) in pixels.
        stretches: (K, 2, 2), what a pixel's distance from the centre is multiplied by.
    """

    centres: np.ndarray
    reach: np.ndarray
    moves: np.ndarray
    stretches: np.ndarray

    def look_up(self, places: np.ndarray) -> np.ndarray:
        """Where the bent picture's places (N, 2) are in the picture as it was."""
        x, y = (places[:, None, axis] - self.centres[:, axis] for axis in range(2))  # n k
        near = np.exp((x * x + y * y) * (-0.5 / np.square(self.reach[:, 0])))
        return places + near @ self.moves + (near * x) @ self.stretches[:, 0] + (near * y) @ self.stretches[:, 1]

    def carry(self, points: np.ndarray) -> np.ndarray:
        """Where points (N, 2) of the picture are in the bent one: the inverse of `look_up`."""
        places = points
        for _ in range(8):  # bends are weak enough for this to close in
            places = places - (self.look_up(places) - points)
        return places


def draw_bend(points: np.ndarray, unit: float, rng: np.random.Generator) -> Bend:
    """A bend of a face with landmarks (478, 2), whose square has half a side of `unit` pixels."""
    parts = [points[list(LIPS)].mean(0), points[list(LIPS)].mean(0)]
    parts += [points[list(part)].mean(0) for part in EYE_POINTS]
    anywhere = points[rng.integers(POINTS, size=2)]
    centres = np.stack([points.mean(0), *parts, *anywhere])
    reach = unit * np.array([0.9, 0.35, 0.2, 0.18, 0.18, 0.3, 0.2]) * rng.uniform(0.8, 1.25, 7)
    strength = rng.uniform(0, 1, 7) * rng.choice([0, 0.5, 1], p=[0.25, 0.4, 0.35])
    moves = rng.normal(0, 0.12, (7, 2)) * (reach * strength)[:, None]
    stretches = rng.normal(0, 0.16, (7, 2, 2)) * strength[:, None, None]
    stretches[1, 1, 1] += rng.uniform(-0.3, 0.3) * strength[1]  # mouths open and shut
    centres = centres + rng.normal(0, 0.15, (7, 2)) * reach[:, None]
    return Bend(*(np.float32(part) for part in (centres, reach[:, None], moves, stretches)))


def mirror_order(points: np.ndarray) -> np.ndarray:
    """Which landmark each one becomes in a mirror, (478,), by matching the mean of faces (N, 478, 3) with its image."""
    mean = _upright_mean(points)
    distance = np.linalg.norm((mean * [-1, 1])[:, None] - mean, axis=2)
    return linear_sum_assignment(np.square(distance))[1]


def reference_face(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The mean of faces (N, 478, 3), upright, symmetric and filling a square from -1 to 1: (478, 2)."""
    mean = _upright_mean(points)
    low, high = mean[list(OVAL)].min(0), mean[list(OVAL)].max(0)
    mean = (mean - (low + high) / 2) * (2 * FILLED / (high - low).max())
    return ((mean + mean[mirror] * [-1, 1]) / 2).astype(np.float32)


def _upright_mean(points: np.ndarray) -> np.ndarray:
    """The mean of faces (N, 478, 3) with level eyes, their middle at the origin: (478, 2)."""
    mean = np.mean([_aligned(face[:, :2], points[0, :, :2]) for face in points], axis=0)
    right, left = mean[list(OUTER_EYES)]
    across = complex(*(left - right))
    places = (mean - (right + left) / 2) @ [1, 1j] * (across.conjugate() / abs(across))
    return np.stack([places.real, places.imag], axis=1)


class FacePatches(IterableDataset):
    """Batches for the four networks of the finder, without end.

    Args:
        photographs, frames: labelled faces, and those of clips.
        reference: see `reference_face`.
        mirror: see `mirror_order`.
        batch_size: of each network.
        photograph_share: so many faces of a batch are photographs'.
        seed: of all draws.
    """

    def __init__(
        self,
        photographs: list[LabelledFace],
        frames: list[LabelledFace],
        reference: np.ndarray,
        mirror: np.ndarray,
        batch_size: int,
        photograph_share: float,
        seed: int,
    ) -> None:
        self._kinds = [kind for kind in (photographs, frames) if kind]
        self._shares = [photograph_share, 1 - photograph_share] if len(self._kinds) == 2 else [1.0]
        self._reference, self._mirror = torch.from_numpy(reference), mirror
        self._batch_size, self.seed = batch_size, (seed,)

    def __iter__(self) -> Iterator[dict[str, Patches]]:
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng((*self.seed, worker.id if worker else 0))
        pool: deque[dict[str, Sample]] = deque(maxlen=POOL_BATCHES * self._batch_size)
        while True:
            for _ in range(max(1, round(self._batch_size * FRESH)) if pool else self._batch_size):
                pool.append(self._draw(rng))
            yield self._batch([pool[index] for index in rng.integers(len(pool), size=self._batch_size)], rng)

    def _draw(self, rng: np.random.Generator) -> dict[str, Sample]:
        kind = self._kinds[rng.choice(len(self._kinds), p=self._shares)]
        return self._sample(kind[rng.integers(len(kind))], rng)

    def _batch(self, samples: list[dict[str, Sample]], rng: np.random.Generator) -> dict[str, Patches]:
        batch = {}
        for name in samples[0]:
            images, points, certainty, placed = zip(*(sample[name] for sample in samples), strict=True)
            images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float() / 255
            points = torch.from_numpy(np.stack(points))
            batch[name] = Patches(vary(images, rng), points, torch.tensor(certainty), torch.tensor(placed))
        return batch

    def _sample(self, face: LabelledFace, rng: np.random.Generator) -> dict[str, Sample]:
        image, points = np.asarray(face.image), face.points
        if rng.random() < 0.5:
            image, points = _mirrored(image, points, self._mirror)
        unit = float(np.hypot(*self._square(points)[2:]))
        bend = draw_bend(points[:, :2], unit, rng)
        points = np.concatenate([bend.carry(points[:, :2]), points[:, 2:]], axis=1)
        square = self._square(points)
        pyramid = [image, cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)]
        seen = _seen_part(square, rng)

        def patch(square: np.ndarray, side: int) -> np.ndarray:
            return _cut_out(pyramid, square, side, bend, seen)

        viewed = _view(square, rng) if rng.random() >= ABSENT else _turned_away(square, rng)
        shaken = _shaken(square, rng, rng.choice(SHAKES)) if rng.random() >= ABSENT else _anywhere(square, rng)
        whole = {
            "locator": (patch(viewed, LOCATOR_SIDE), _unit_points(points, viewed), *_seen_in(viewed, square)),
            "face": (patch(shaken, FACE_SIDE), _unit_points(points, shaken), *_fit(shaken, square)),
        }
        for name, (picture, places, *_) in whole.items():
            if rng.random() < FACELESS:
                whole[name] = _without_face(picture, rng), places, 0.0, False
        mouth = _shaken(_part(points, square, LIPS, MOUTH_SHARE), rng, 0.08)
        left = rng.random() < 0.5
        part = EYE_POINTS[left]
        eye = _shaken(_part(points, square, part, EYE_SHARE), rng, 0.1)
        eye_image, eye_points = patch(eye, EYE_SIDE), _unit_points(points[list(part), :2], eye)
        if left:
            eye_image, eye_points = eye_image[:, ::-1].copy(), eye_points * np.float32([-1, 1])
        return whole | {
            "mouth": (patch(mouth, MOUTH_SIDE), _unit_points(points[list(LIPS), :2], mouth), 1.0, True),
            "eye": (eye_image, eye_points, 1.0, True),
        }

    def _square(self, points: np.ndarray) -> np.ndarray:
        return fit_squares(torch.from_numpy(points[None, :, :2]), self._reference)[0].numpy()


def _aligned(points: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Points (P, 2) laid on a model by the similarity that fits best."""
    p, m = (face[:, 0] + 1j * face[:, 1] for face in (points.astype(float), model.astype(float)))
    p, middle = p - p.mean(), m.mean()
    laid = p * (p.conj() @ (m - middle)) / (p.conj() @ p).real + middle
    return np.stack([laid.real, laid.imag], axis=1)


def _mirrored(image: np.ndarray, points: np.ndarray, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    flipped = points[mirror] * np.float32([-1, 1, 1]) + np.float32([image.shape[1], 0, 0])
    return np.ascontiguousarray(image[:, ::-1]), flipped


def _unit_points(points: np.ndarray, square: np.ndarray) -> np.ndarray:
    return to_unit(torch.from_numpy(np.float32(points[None])), torch.from_numpy(square[None]))[0].numpy()


def _cut_out(
    pyramid: list[np.ndarray], square: np.ndarray, side: int, bend: Bend, seen: np.ndarray | None
) -> np.ndarray:
    """A square (4,) of the bent picture, uint8 (side, side, 3); outside of `seen` its border goes on."""
    nodes = np.linspace(-1, 1, BEND_NODES, dtype=np.float32)
    middles = np.float32((np.arange(side) + 0.5) * (2 / side) - 1)
    coarse = _places(square, nodes)
    bent = bend.look_up(coarse.reshape(2, -1).T).T.reshape(coarse.shape) - coarse
    between = np.maximum(0, 1 - np.abs(middles[:, None] - nodes) * ((BEND_NODES - 1) / 2))  # linear interpolation
    places = _places(square, middles)
    if seen is not None:
        places = places.clip(seen[0, :, None, None], seen[1, :, None, None])
    places = places + between @ bent @ between.T
    level = int(2 * np.hypot(*square[2:]) / side >= 2)
    x, y = np.float32(places / 2**level - 0.5)
    return cv2.remap(pyramid[level], x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _places(square: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The places of a grid, from -1 to 1 within a square (4,), in pixels of the picture, (2, N, N)."""
    left, top, cosine, sine = square
    across, down = steps, steps[:, None]
    return np.stack([left + across * cosine - down * sine, top + across * sine + down * cosine])


def _seen_part(square: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """What of the picture there is, top left and bottom right (2, 2) in pixels: sometimes it ends in the face."""
    if rng.random() >= CUT_OFF:
        return None
    half = np.hypot(*square[2:])
    return np.float32(square[:2] + np.float32([[-1, -1], [1, 1]]) * half * rng.uniform(0.45, 1.2, (2, 2)))


def _turned(square: np.ndarray, shift: np.ndarray, scale: float, degrees: float) -> np.ndarray:
    """A square, shifted by parts of half its side, then scaled and turned about its middle."""
    axis = complex(square[2], square[3])
    middle = complex(square[0], square[1]) + axis * complex(*shift)
    axis = axis * scale * np.exp(1j * np.radians(degrees))
    return np.float32([middle.real, middle.imag, axis.real, axis.imag])


def _view(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square in which a face may be looked for: it is 0.3 to 1.5 times as large, turned, and off the middle."""
    scale = np.exp(rng.uniform(np.log(0.65), np.log(3.3)))
    turned = _turned(square, np.zeros(2), scale, rng.uniform(-50, 50) * rng.random() ** 0.5)
    return _turned(turned, rng.uniform(-0.8, 0.8, 2) * min(1, 0.35 + 0.35 * scale), 1, 0)


def _shaken(square: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """A square as the step before may find it."""
    return _turned(square, rng.normal(0, amount, 2), np.exp(rng.normal(0, amount)), rng.normal(0, 60 * amount))


def _turned_away(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square in which there is no upright face: it is upside down, too near or beside it."""
    kind = rng.integers(3)
    if kind == 0:
        return _turned(_view(square, rng), np.zeros(2), 1, rng.uniform(100, 260))
    if kind == 1:
        return _turned(square, rng.uniform(-0.7, 0.7, 2), rng.uniform(0.12, 0.35), rng.uniform(-180, 180))
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(1.2, 2.5)
    scale = np.exp(rng.uniform(np.log(0.5), np.log(1.3)))
    return _turned(square, away * scale * np.array([np.cos(angle), np.sin(angle)]), scale, rng.uniform(-50, 50))


def _anywhere(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square somewhere at a face, of about its size, turned in any way."""
    most = 60 if rng.random() < 0.5 else 180
    return _turned(square, rng.uniform(-1, 1, 2), np.exp(rng.uniform(-0.9, 0.7)), rng.uniform(-most, most))


def _fit(taken: np.ndarray, square: np.ndarray) -> tuple[float, bool]:
    """How well a patch fits a face's square: the certainty asked for, and whether the landmarks can be asked for."""
    axis = complex(taken[2], taken[3]) / complex(square[2], square[3])
    middle = complex(*(taken[:2] - square[:2])) / complex(square[2], square[3])
    away = abs(middle) ** 2 + abs(np.log(axis)) ** 2
    return float(np.exp(-((away / FITTING**2) ** 2))), bool(away < 0.6)


def _seen_in(view: np.ndarray, square: np.ndarray) -> tuple[float, bool]:
    """As `_fit`, of a patch in which a face is only to be found."""
    axis = complex(square[2], square[3]) / complex(view[2], view[3])
    middle = complex(*(square[:2] - view[:2])) / complex(view[2], view[3])
    seen = abs(np.angle(axis)) < np.radians(60) and 0.2 < abs(axis) < 2.2
    seen = bool(seen and max(abs(middle.real), abs(middle.imag)) < 1)
    return float(seen), seen


def _without_face(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Quarters and sixteenths of a patch in another order, or noise of some coarseness."""
    side = picture.shape[0]
    if rng.random() < 0.5:
        cell = side // int(rng.choice([2, 4]))
        cells = picture.reshape(side // cell, cell, side // cell, cell, 3).swapaxes(1, 2).reshape(-1, cell, cell, 3)
        cells = rng.permutation(cells).reshape(side // cell, side // cell, cell, cell, 3)
        return cells.swapaxes(1, 2).reshape(side, side, 3)
    coarse = int(rng.choice([2, 4, 8, 24]))
    noise = rng.integers(0, 256, (coarse, coarse, 3), dtype=np.uint8)
    return cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC)


def _part(points: np.ndarray, square: np.ndarray, part: tuple[int, ...], share: float) -> np.ndarray:
    return np.float32([*points[list(part), :2].mean(0), *(square[2:] * share)])


def eye_unit(reference: np.ndarray) -> float:
    """Distance of the outer eye corners in the reference face."""
    return float(np.linalg.norm(reference[OUTER_EYES[0]] - reference[OUTER_EYES[1]]))
