"""Motion frames: what a face looks like at a moment, in 93 numbers without a pixel.

They are what a network of a few tokens generates in the place of pictures. Landmarks count absolutely and with the
head's pose taken out, so that the motion frame of a portrait tells the geometry of its face and how far its mouth is
open, and shut lips are the same fact for every face.
"""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import BROWS, CHIN, EYES, IRISES, LIPS, LOWER_LIDS, UPPER_LIDS
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER

LIP_CHANNELS = slice(0, 80)
"""Lip landmarks in the order of `landmarks.LIPS`, x and y."""
UPPER, LOWER = ([LIPS.index(point) for point in half] for half in (INNER_UPPER, INNER_LOWER))
"""Which of the lip landmarks are the inner upper lip's and the inner lower lip's, from corner to corner."""
CHIN_CHANNELS = slice(80, 82)
EYE_CHANNELS = slice(82, 84)
"""How far the lids of the right and the left eye are apart."""
BROW_CHANNELS = slice(84, 88)
"""Height of the outer and the inner end of the right brow, then of the left."""
GAZE_CHANNELS = slice(88, 90)
"""How far the irises are from the middle of the eyes, x and y."""
POSE_CHANNELS = slice(90, 93)
"""Tilt, turn and nod of the head."""
CHANNELS = 93
LAYOUT = "lips 40, chin, eyes 2, brows 4, gaze, head 3; version 1"
"""What stored motion frames are checked against: to be changed with the channels' meaning."""

WEIGHTS = np.full(CHANNELS, 0.25, np.float32)
"""Motion frames are multiplied by these. What is small and matters (lids, gaze) would be lost beside what is large; and
a head of which every latent frame is a few thousandths of a radian off gives a jerk from one to the next."""
WEIGHTS[EYE_CHANNELS] = 1.5
WEIGHTS[BROW_CHANNELS] = 0.5
WEIGHTS[GAZE_CHANNELS] = 0.75
WEIGHTS[POSE_CHANNELS] = 1


def measure(points: np.ndarray, head: HeadPose) -> np.ndarray:
    """The motion frame of landmarks (478, 3) in pixels: (93,) in eye distances and radians."""
    face = head.to_face(points)[:, :2]
    lids = np.linalg.norm(face[list(LOWER_LIDS)] - face[list(UPPER_LIDS)], axis=-1).reshape(2, -1).mean(1)
    brows = [face[list(part), 1].mean() for brow in BROWS for part in (brow[:2] + brow[8:], brow[3:7])]
    middles = [face[[eye[0], eye[8]]].mean(0) for eye in EYES]
    gaze = np.mean([face[iris[0]] - middle for iris, middle in zip(IRISES, middles, strict=True)], axis=0)
    parts = face[list(LIPS)].ravel(), face[CHIN], lids, brows, gaze, head.angles
    return np.concatenate(parts).astype(np.float32)


def lip_points(frames: np.ndarray) -> np.ndarray:
    """The lip landmarks (F, 40, 2) of motion frames (F, 93); a view, through which they can be moved."""
    return frames[:, LIP_CHANNELS].reshape(len(frames), -1, 2)


def lip_gaps(frames: np.ndarray) -> np.ndarray:
    """How far the inner lips of motion frames (F, 93) are apart, from corner to corner: (F, 11)."""
    lips = lip_points(frames)
    return lips[:, LOWER, 1] - lips[:, UPPER, 1]


def normalize(frames: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Motion frames (..., 93) as networks see them, within about ±1: away from the mean face, and weighted."""
    return (frames - mean) * WEIGHTS


def denormalize(frames: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """What `normalize` was given."""
    return frames / WEIGHTS + mean
