"""What of a face will not animate well, in sentences for the user."""

from __future__ import annotations

import cv2
import numpy as np

from asymtalker.media.faces import Face

TURNED = 0.15  # how far the nose lies beside the middle of the face, in diagonals of eyes and mouth; about 30°
TILTED = 25  # degrees
CUT = 0.06  # of a face's width that may lie outside the image
SMALL = 110  # pixels
SHARPNESS_SIDE = 128  # pixels; a face is brought to this size before its sharpness is measured
BLURRED = 0.06  # mean absolute Laplacian over contrast; photographs have 0.1 to 0.3


def describe_face(image: np.ndarray, face: Face) -> list[str]:
    """Sentences about a face that is turned, tilted, cut, small or blurred; none where all is well.

    Args:
        image: RGB, uint8 (H, W, 3).
    """
    width = face.box.width
    checks = (
        (_turn(face) > TURNED, "The face is turned away: a frontal photograph works better."),
        (abs(_tilt(face)) > TILTED, "The head is tilted: an upright one works better."),
        (_share_outside(image, face) > CUT, "The face is cut off by the picture's edge."),
        (width < SMALL, f"The face is small ({width} pixels wide): details will be missing."),
        (width >= SMALL and _sharpness(image, face) < BLURRED, "The face is blurred: details will be missing."),
    )
    return [sentence for holds, sentence in checks if holds]


def _turn(face: Face) -> float:
    """How far the nose lies to the side of the line from between the eyes to the middle of the mouth, in diagonals of
    the rectangle of eyes and mouth."""
    eyes, mouth = face.points[:2].mean(0), face.points[3:].mean(0)
    down, across = mouth - eyes, face.points[1] - face.points[0]
    nose = face.points[2] - eyes
    aside = abs(nose[0] * down[1] - nose[1] * down[0]) / max(np.linalg.norm(down), 1e-6)
    return float(aside / max(np.hypot(np.linalg.norm(down), np.linalg.norm(across)), 1e-6))


def _tilt(face: Face) -> float:
    """Degrees by which the line of the eyes is turned, clockwise."""
    right, down = face.points[1] - face.points[0]
    return float(np.degrees(np.arctan2(down, right)))


def _share_outside(image: np.ndarray, face: Face) -> float:
    """How much of the face's square lies beyond the edge where most does, in widths of the face."""
    left, top, width, height = face.box
    beyond = (-left, -top, left + width - image.shape[1], top + height - image.shape[0])
    return max(beyond) / width


def _sharpness(image: np.ndarray, face: Face) -> float:
    left, top, width, height = face.box
    part = image[max(top, 0) : top + height, max(left, 0) : left + width]
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY)
    sampling = cv2.INTER_AREA if min(grey.shape) > SHARPNESS_SIDE else cv2.INTER_CUBIC
    grey = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=sampling).astype(np.float32)
    return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() / max(grey.std(), 1))
