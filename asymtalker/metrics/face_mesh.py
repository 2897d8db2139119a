"""Face landmarks of video frames, by mediapipe's face mesh, and the curves that are read from them.

mediapipe 0.10.14 carries its model (nothing is downloaded), but wants another protobuf and another OpenCV than this
package: it lives in an environment of its own and is run as a worker process.

    python3.11 -m venv .venv-face-mesh
    .venv-face-mesh/bin/pip install mediapipe==0.10.14
    export ASYMTALKER_FACE_MESH_PYTHON=.venv-face-mesh/bin/python
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.renderer.landmarks import LOWER_LIP, MOUTH_CORNERS, OUTER_EYES, POINTS, UPPER_LIP

WORKER = Path(__file__).with_name("face_mesh_worker.py")
PYTHON_VARIABLE = "ASYMTALKER_FACE_MESH_PYTHON"
ENDED = "The face mesh's process has ended: run again; what was measured so far is kept."
MESH_SIDE = 384
"""Smaller frames are enlarged to this many pixels: the mesh follows lips of a few pixels better so."""
LARGEST_GAP = 0.5
"""Share of frames without a face from which on a clip has no curve."""

EYELIDS = (159, 145), (386, 374)  # the middle of upper and lower lids
NOSE_BASE, LOWER_LIP_EDGE = 2, 17  # where the nose meets the upper lip; the middle of the lower lip's outer edge


class FaceMesh:
    """478 landmarks a frame, from a worker process that is closed with the `with` block.

    Args:
        python: interpreter of the environment that has mediapipe; default: the variable ASYMTALKER_FACE_MESH_PYTHON,
            or this interpreter.

    Raises:
        MetricUnavailableError: there is no such interpreter, or it cannot load the mesh.
    """

    def __init__(self, python: str | Path | None = None) -> None:
        python = str(python or os.environ.get(PYTHON_VARIABLE) or sys.executable)
        try:
            self._worker = subprocess.Popen(
                [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        except OSError as error:
            raise MetricUnavailableError(f"{PYTHON_VARIABLE} names {python}: {error.strerror}.") from error
        first = self._worker.stdout.readline().decode(errors="replace")
        if first != "\n":
            self.close()
            reason = first.strip() or "its Python could not be run"
            raise MetricUnavailableError(
                f"mediapipe's face mesh cannot be loaded ({reason}): install mediapipe==0.10.14 in an environment of "
                f"its own and name its Python in {PYTHON_VARIABLE} (README, Evaluate)."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker."""
        self._worker.stdin.close()
        self._worker.stdout.close()
        self._worker.wait(10)

    def reset(self) -> None:
        """Forgets the face that is tracked; call it before another video."""
        self._send(struct.pack("<II", 0, 0))

    def landmarks(self, frames: np.ndarray) -> np.ndarray:
        """Landmarks of the next frames of a video.

        Args:
            frames: uint8 (F, H, W, 3) RGB.

        Returns:
            float32 (F, 478, 3): x, y in pixels of `frames`, z in the same scale; NaN where no face was found.

        Raises:
            ConnectionError: the worker has ended.
        """
        return np.stack([self._landmarks(frame) for frame in frames])

    def _landmarks(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if min(height, width) < MESH_SIDE:
            scale = MESH_SIDE / min(height, width)
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        self._send(struct.pack("<II", *frame.shape[:2]) + np.ascontiguousarray(frame).tobytes())
        answer = self._worker.stdout.read(POINTS * 12)
        if len(answer) < POINTS * 12:
            raise ConnectionError(ENDED)
        return np.frombuffer(answer, np.float32).reshape(POINTS, 3) * np.float32([width, height, width])

    def _send(self, message: bytes) -> None:
        try:
            self._worker.stdin.write(message)
            self._worker.stdin.flush()
        except BrokenPipeError as error:
            raise ConnectionError(ENDED) from error


def eye_distance(points: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners (F,) of landmarks (F, 478, 3), in their unit: the scale of a face."""
    return _distance(points, *OUTER_EYES)


def lip_opening(points: np.ndarray) -> np.ndarray:
    """Distance of the inner lips (F,) of landmarks (F, 478, 3), in eye distances; NaN without a face."""
    return _distance(points, UPPER_LIP, LOWER_LIP) / eye_distance(points)


def mouth_width(points: np.ndarray) -> np.ndarray:
    """Distance of the mouth's corners (F,) of landmarks (F, 478, 3), in eye distances; NaN without a face."""
    return _distance(points, *MOUTH_CORNERS) / eye_distance(points)


def lower_lip_drop(points: np.ndarray) -> np.ndarray:
    """How far the lower lip's outer edge lies from the nose (F,), of landmarks (F, 478, 3), in eye distances."""
    return _distance(points, NOSE_BASE, LOWER_LIP_EDGE) / eye_distance(points)


def eye_opening(points: np.ndarray) -> np.ndarray:
    """Mean distance of the eyelids (F,) of landmarks (F, 478, 3), in eye distances; NaN without a face."""
    return np.mean([_distance(points, *lids) for lids in EYELIDS], axis=0) / eye_distance(points)


def fill_gaps(curve: np.ndarray) -> np.ndarray:
    """Interpolates a curve (F, ...) over frames that are NaN.

    Raises:
        ValueError: a face was found in fewer than half of the frames.
    """
    curve = np.asarray(curve, dtype=np.float64)
    flat = curve.reshape(len(curve), -1)
    found = np.isfinite(flat).all(axis=1)
    if found.mean() <= LARGEST_GAP:
        raise ValueError(f"A face was found in only {found.sum()} of {len(found)} frames.")
    frames = np.arange(len(flat))
    filled = [np.interp(frames, frames[found], column[found]) for column in flat.T]
    return np.stack(filled, axis=1).reshape(curve.shape)


def _distance(points: np.ndarray, a: int, b: int) -> np.ndarray:
    # The mesh's depth is a guess from one view, so distances are those of the picture.
    return np.linalg.norm(points[..., a, :2] - points[..., b, :2], axis=-1)
