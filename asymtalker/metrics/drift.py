"""Drift over a long video: colour, sharpness and motion against time, and seams at window boundaries.

Drift has no standard measure; these need no network and no download.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

# OpenCV's float sRGB → Lab interpolates in a coarse table: 0.1 ΔE wrong, and slower. From linear light it is exact.
_LEVELS = np.arange(256) / 255
SRGB_TO_LINEAR = np.where(_LEVELS > 0.04045, ((_LEVELS + 0.055) / 1.055) ** 2.4, _LEVELS / 12.92).astype(np.float32)


@dataclass(frozen=True)
class DriftScore:
    """How a video changes with time; arrays have one row per interval, the last of which may be shorter.

    Attributes:
        start: first frame of each interval (n,), in seconds.
        lab: mean CIELAB colour (n, 3): L 0..100, a and b about ±127.
        lab_distance: Euclidean distance of `lab` to the reference portrait's mean (n,), in ΔE.
        sharpness: variance of the grey image's Laplacian, in squared grey levels (n,).
        sharpness_to_reference: `sharpness` over that of the reference portrait (n,).
        motion: mean absolute difference of successive frames, in levels of 255 (n,).
        lab_shift: `lab` of the last interval minus that of the first (3,).
        lightness_ratio, sharpness_ratio, motion_ratio: last interval over first.
    """

    start: np.ndarray
    lab: np.ndarray
    lab_distance: np.ndarray
    sharpness: np.ndarray
    sharpness_to_reference: np.ndarray
    motion: np.ndarray
    lab_shift: np.ndarray
    lightness_ratio: float
    sharpness_ratio: float
    motion_ratio: float


class Drift:
    """Measures a video block by block; keeps a few numbers a frame and the last frame, never the video.

    Args:
        reference: the portrait as the video shows it, uint8 (H, W, 3) RGB.
        interval: seconds over which frames are averaged.
        fps: frames per second.
        every: frames from one that is measured, and compared with the one before it, to the next.
        reduced: frames may be of another size, and are brought to the reference's.

    Raises:
        ValueError: `reference` is not an RGB image, `interval` is shorter than two frames, or `every` does not divide
            it.
    """

    def __init__(
        self,
        reference: np.ndarray,
        interval: float = 10.0,
        fps: float = 25.0,
        every: int = 1,
        reduced: bool = False,
    ) -> None:
        self._reference = np.asarray(reference)
        _check_frames(self._reference[None])
        self.interval_frames = round(interval * fps)
        if self.interval_frames < 2:
            raise ValueError(f"interval must be two frames ({2 / fps:g} s) or more, not {interval:g} s.")
        if self.interval_frames % every:
            raise ValueError(f"every must divide the interval's {self.interval_frames} frames, not {every}.")
        self._every, self._reduced = every, reduced
        self.fps = fps
        self.reset()

    def reset(self) -> None:
        """Forgets the video, keeps the reference."""
        self._frames = 0
        self._previous: np.ndarray | None = None
        self._lab: list[np.ndarray] = []
        self._sharpness: list[float] = []
        self._differences: list[float] = []

    @property
    def differences(self) -> np.ndarray:
        """Mean absolute differences of successive frames so far, in levels of 255: (F − 1,) with an `every` of 1, see
        `seam_ratio`; otherwise that of the first two frames, and that of each measured one to the one before it."""
        return np.array(self._differences)

    def update(self, frames: np.ndarray) -> None:
        """Adds the next frames, uint8 (F, H, W, 3) RGB.

        Raises:
            ValueError: not such frames, or not of the reference's size.
        """
        frames = np.asarray(frames)
        _check_frames(frames)
        if frames.shape[1:] != self._reference.shape and not self._reduced:
            raise ValueError(f"Frames are {frames.shape[1:]}, the reference portrait is {self._reference.shape}.")
        for frame in frames:
            self._look(frame)
            self._frames += 1

    def _look(self, frame: np.ndarray) -> None:
        measured = self._frames % self._every == 0
        compared = measured or self._frames == 1
        before = (self._frames + 1) % self._every == 0 or self._frames == 0
        if not (compared or before):
            return
        if frame.shape != self._reference.shape:
            frame = cv2.resize(frame, self._reference.shape[1::-1], interpolation=cv2.INTER_AREA)
        if compared and self._previous is not None:
            self._differences.append(_mean_difference(self._previous, frame))
        if measured:
            self._lab.append(mean_lab(frame))
            self._sharpness.append(sharpness(frame))
        self._previous = frame.copy()  # a view would keep the whole block alive

    def compute(self) -> DriftScore:
        """Returns the drift of all frames so far.

        Raises:
            ValueError: fewer than two frames.
        """
        if not self._differences:
            raise ValueError("Two frames or more are needed: call update() before compute().")
        lab, sharp = self._averages(self._lab), self._averages(self._sharpness)
        # frame 0 has no predecessor: it takes the difference that follows it, so that intervals stay aligned (with an
        # `every` of more than 1, that is the first one)
        first = self._differences[:1] if self._every == 1 else []
        motion = self._averages([*first, *self._differences])
        return DriftScore(
            start=np.arange(len(lab)) * self.interval_frames / self.fps,
            lab=lab,
            lab_distance=np.linalg.norm(lab - mean_lab(self._reference), axis=1),
            sharpness=sharp,
            sharpness_to_reference=np.array([_ratio(value, sharpness(self._reference)) for value in sharp]),
            motion=motion,
            lab_shift=lab[-1] - lab[0],
            lightness_ratio=_ratio(lab[-1, 0], lab[0, 0]),
            sharpness_ratio=_ratio(sharp[-1], sharp[0]),
            motion_ratio=_ratio(motion[-1], motion[0]),
        )

    def _averages(self, values: list) -> np.ndarray:
        """Means over the intervals, (F, ...) → (n, ...)."""
        step = self.interval_frames // self._every
        edges = range(step, len(values), step)
        return np.stack([part.mean(axis=0) for part in np.split(np.array(values), edges)])


def mean_lab(frame: np.ndarray) -> np.ndarray:
    """Mean CIELAB colour (3,) of an sRGB image, uint8 (H, W, 3)."""
    lab = cv2.cvtColor(SRGB_TO_LINEAR[frame], cv2.COLOR_LRGB2LAB)
    return lab.mean(axis=(0, 1), dtype=np.float64)


def sharpness(frame: np.ndarray) -> float:
    """Variance of the Laplacian of an image's grey levels, uint8 (H, W, 3)."""
    return float(cv2.Laplacian(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var(dtype=np.float64))


def frame_differences(frames: np.ndarray) -> np.ndarray:
    """Mean absolute differences (F − 1,) of successive frames, uint8 (F, H, W, 3), in levels of 255."""
    _check_frames(frames)
    return np.array([_mean_difference(a, b) for a, b in pairwise(frames)])


def seam_ratio(differences: np.ndarray, period: int, offset: int = 0) -> float:
    """Mean frame difference at window boundaries over that inside windows; 1 means that no seam is seen.

    Args:
        differences: mean absolute frame differences (F − 1,), from `frame_differences` or `Drift.differences`.
        period: new frames per window.
        offset: any frame at which a window starts.

    Raises:
        ValueError: the video has no boundary, or nothing but boundaries.
    """
    differences = np.asarray(differences, dtype=np.float64)
    following = np.arange(1, len(differences) + 1)  # the later frame of each pair
    at_seam = (following - offset) % period == 0
    if at_seam.all() or not at_seam.any():
        raise ValueError(
            f"{len(differences) + 1} frames with a window every {period} from frame {offset} on have no differences "
            f"{'inside windows' if at_seam.any() else 'at window boundaries'} to compare."
        )
    return _ratio(differences[at_seam].mean(), differences[~at_seam].mean())


def _check_frames(frames: np.ndarray) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"Images must be uint8 RGB (..., H, W, 3), not {frames.dtype} {frames.shape}.")


def _mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(cv2.absdiff(a, b).mean(dtype=np.float64))


def _ratio(value: float, base: float) -> float:
    """value / base; 1 where both are 0 (nothing changed), infinite where only the base is."""
    if base == 0:
        return 1.0 if value == 0 else float("inf")
    return float(value / base)
