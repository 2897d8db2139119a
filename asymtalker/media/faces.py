"""Finding faces: small, dark, rolled and painted ones, and neither animals nor wallpaper."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from asymtalker.media.mtcnn import Cascade, Detections

SIDE = 960  # pixels; long side of the copy in which faces are looked for first
SMALLEST = 24  # pixels of that copy; smaller faces only where there is no larger one
SMALLEST_OF_ALL = 36  # pixels of the image itself
HARD_SIDE, HARD_SMALLEST = 640, 64  # the same for copies that are brightened or turned
TURNS = (30, -30, 60, -60, 90, -90, 135, -135, 180)  # degrees
CANDIDATE = 0.5  # score with which the cascade's find is worth a second look
LOOKS = [  # scales and shifts of the square, shifts in halves of its side
    (scale, right, down)
    for scale in (0.9, 1.0, 1.15)
    for right, down in ((0, 0), (0.08, 0), (-0.08, 0), (0, 0.08), (0, -0.08))
]
# Fitted to the Haar detector's boxes of photographs and of rendered people:
BOX_WIDTH = 1.79  # diagonals of the rectangle of eyes and mouth
BOX_CENTRE = 0.27  # of the way from the eyes to the mouth
NARROWEST = 0.8
MIRRORED = [1, 0, 2, 4, 3]  # the points' order in a mirrored face

KEPT = 16  # pictures whose faces are known: a page crops the same portrait again whenever a slider moves

_cascades = threading.local()
_known: OrderedDict[bytes, list[Face]] = OrderedDict()
_knowing = threading.Lock()


class Demand(NamedTuple):
    """What a face must show: a confidence of at least so much, and points that scatter from look to look by no more
    than this share of its size."""

    confidence: float
    spread: float


USUAL = Demand(0.85, 0.032)
STRICT = Demand(0.95, 0.022)  # the more copies are looked at, the more chances patterns have to look like a face


class FaceBox(NamedTuple):
    """A square around a face from the brows to the chin, in pixels of the image.

    It lies where OpenCV's Haar frontal detector puts its boxes: the crops that networks were trained on, and those of
    their portraits, are measured in its widths.
    """

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, eq=False)
class Face:
    """A face in an image.

    Attributes:
        box: the square around it.
        confidence: 0 to 1.
        points: the left and the right eye (of the viewer, if the head is upright), the nose, the left and the right
            corner of the mouth: (x, y) in pixels of the image, float32 (5, 2).
    """

    box: FaceBox
    confidence: float
    points: np.ndarray


def find_faces(image: Image.Image | np.ndarray) -> list[Face]:
    """Finds faces, largest first; the same ones whenever and in whatever thread it is called.

    Where the image as it is shows none, it is looked at again: larger, for small faces; brighter; and turned.

    Args:
        image: RGB, a `PIL.Image` or uint8 (H, W, 3), of any size.
    """
    pixels = np.ascontiguousarray(image)
    key = hashlib.blake2b(pixels, digest_size=16, key=repr(pixels.shape).encode()).digest()
    with _knowing:
        known = _known.get(key)
    if known is None:
        looked = next(filter(None, _attempts(pixels)), [])
        known = sorted(looked, key=lambda face: (-face.box.width, face.box))
        with _knowing:
            _known[key] = known
            while len(_known) > KEPT:
                _known.popitem(last=False)
    return list(known)


def _attempts(image: np.ndarray) -> Iterator[list[Face]]:
    """What is found in one way after another, the usual ways first."""
    yield _find(image, SIDE, SMALLEST, USUAL)
    if max(image.shape[:2]) > SIDE:
        yield _find(image, max(image.shape[:2]), SMALLEST_OF_ALL, USUAL)
    yield _find(_brightened(image), HARD_SIDE, HARD_SMALLEST, STRICT)
    turned = [_find_turned(image, degrees) for degrees in TURNS]
    yield max(turned, key=lambda faces: sum(face.confidence for face in faces))


def _find(image: np.ndarray, side: int, smallest: float, demand: Demand) -> list[Face]:
    """Faces of at least `smallest` pixels in a copy of the image whose long side is at most `side` pixels."""
    scale = min(1.0, side / max(image.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    copy = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    cascade = _cascade()
    boxes = cascade.detect(copy, smallest, CANDIDATE).boxes
    looked = (_look_again(cascade, copy, box, demand) for box in boxes)
    stretch = np.array(image.shape[1::-1]) / size
    return [_face(points * stretch, confidence) for confidence, points in filter(None, looked)]


def _cascade() -> Cascade:
    if not hasattr(_cascades, "own"):
        _cascades.own = Cascade()
    return _cascades.own


def _look_again(
    cascade: Cascade, image: np.ndarray, box: np.ndarray, demand: Demand
) -> tuple[float, np.ndarray] | None:
    """Confidence and points of a face, or None where there is none.

    A face is one however its square is laid, and in a mirror, and its points stay where they are; the muzzle of a dog
    or a pattern that looks like a face does not bear this.

    Args:
        box: a find of the cascade, (4,).
    """
    half = (box[2:] - box[:2]).max() / 2
    centre = (box[:2] + box[2:]) / 2
    scales, shifts = np.split(np.array(LOOKS), [1], axis=1)
    squares = np.concatenate([centre + half * (shifts - scales), centre + half * (shifts + scales)], 1)
    straight = cascade.judge(image, squares)
    mirrored = _judge_mirrored(cascade, image, squares)
    confidence = float(np.concatenate([straight.scores, mirrored.scores]).mean())
    points = np.concatenate([straight.points, mirrored.points])
    spread = points.std(0).mean() / (2 * half)
    return (confidence, points.mean(0)) if confidence >= demand.confidence and spread <= demand.spread else None


def _judge_mirrored(cascade: Cascade, image: np.ndarray, squares: np.ndarray) -> Detections:
    """`Cascade.judge` of the mirrored image, as seen in the image itself; its boxes are left out."""
    width = image.shape[1]
    columns = width - squares[:, [2, 0]]
    found = cascade.judge(image[:, ::-1], np.stack([columns[:, 0], squares[:, 1], columns[:, 1], squares[:, 3]], 1))
    points = found.points[:, MIRRORED]
    points[..., 0] = width - points[..., 0]
    return Detections(squares, found.scores, points)


def _brightened(image: np.ndarray) -> np.ndarray:
    """The image with its shadows raised: gamma and local contrast."""
    lightness, *colours = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2LAB))
    top = max(np.percentile(lightness, 99.5), 1)
    raised = 255 * np.sqrt(np.minimum(np.arange(256) / top, 1))
    lightness = cv2.createCLAHE(2.0, (4, 4)).apply(cv2.LUT(lightness, raised.astype(np.uint8)))
    return cv2.cvtColor(cv2.merge([lightness, *colours]), cv2.COLOR_LAB2RGB)


def _find_turned(image: np.ndarray, degrees: float) -> list[Face]:
    """Faces of the image turned anticlockwise, with their points where they are in the image itself."""
    height, width = image.shape[:2]
    scale = min(1.0, HARD_SIDE / max(height, width))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    size = np.abs(turn[:, :2]) @ (width, height)
    turn[:, 2] += (size - (width, height)) / 2
    turned = cv2.warpAffine(image, turn, tuple(np.ceil(size).astype(int).tolist()), flags=cv2.INTER_AREA)
    back = cv2.invertAffineTransform(turn)
    faces = _find(turned, max(turned.shape[:2]), HARD_SMALLEST, STRICT)
    return [_face(face.points @ back[:, :2].T + back[:, 2], face.confidence) for face in faces]


def _face(points: np.ndarray, confidence: float) -> Face:
    points = points.astype(np.float32)
    points.flags.writeable = False  # the same for everyone who asks about this picture
    return Face(_box(points), round(confidence, 3), points)


def _box(points: np.ndarray) -> FaceBox:
    """Where the Haar detector puts its square around a face with these points (5, 2)."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    across, down = np.linalg.norm(points[1] - points[0]), np.linalg.norm(mouth - eyes)
    # Of a face that is turned away one of the two looks shorter than it is.
    width = BOX_WIDTH * np.hypot(max(across, NARROWEST * down), max(down, NARROWEST * across))
    left, top = eyes + BOX_CENTRE * (mouth - eyes) - width / 2
    return FaceBox(round(left), round(top), round(width), round(width))
