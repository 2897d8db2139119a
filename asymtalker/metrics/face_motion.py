"""How a face lives: blinks, head motion, the mouth in silence, and distances to the landmarks of the real clip.

All take curves or landmarks of `asymtalker.metrics.face_mesh`, without NaN (`fill_gaps`).
"""

from __future__ import annotations

import numpy as np

from asymtalker.metrics.estimate import ClipMetric
from asymtalker.metrics.face_mesh import eye_distance
from asymtalker.renderer.landmarks import LIPS

CLOSED_EYE = 0.6  # of the clip's median opening
HEAD_SMOOTHING = 5  # frames; landmarks tremble from frame to frame, heads do not
SILENCE_LEVEL = -35.0  # dB below the loud parts of the speech
SILENCE_MARGIN = 5  # frames; lips move a little before and after the sound
MIN_FRAMES = 10  # of silence, and of speech, for a comparison


class BlinkRate(ClipMetric):
    """Blinks a minute, weighted by the clips' lengths; people in talk: about 10 to 30.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float = 25.0) -> None:
        super().__init__()
        self.fps = fps

    def measure(self, opening: np.ndarray) -> tuple[float, float]:
        """Of a curve of eye openings (F,); a blink is a fall below 0.6 of the clip's median opening."""
        opening = np.asarray(opening)
        closed = opening < CLOSED_EYE * np.median(opening)
        blinks = int(np.sum(closed[1:] & ~closed[:-1]))
        minutes = len(opening) / self.fps / 60
        return blinks / minutes, minutes


class HeadMotion(ClipMetric):
    """Energy of head motion: mean squared speed of the nose tip, in (eye distances per second)².

    The path is averaged over 5 frames first, as landmarks tremble. "Motion energy ≥ half of real clips'" compares two
    of these.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float = 25.0) -> None:
        super().__init__()
        self.fps = fps

    def measure(self, path: np.ndarray) -> tuple[float, float]:
        """Of the path of a point of the head (F, 2), in eye distances.

        Raises:
            ValueError: the clip is shorter than two averages.
        """
        path = np.asarray(path, dtype=np.float64)
        if len(path) <= HEAD_SMOOTHING:
            raise ValueError(f"{HEAD_SMOOTHING + 1} frames or more are needed, not {len(path)}.")
        kernel = np.full(HEAD_SMOOTHING, 1 / HEAD_SMOOTHING)
        smooth = np.stack([np.convolve(axis, kernel, mode="valid") for axis in path.T], axis=1)
        speed = np.diff(smooth, axis=0) * self.fps
        return float(np.square(speed).sum(axis=1).mean()), float(len(path))


class SilentMouth(ClipMetric):
    """Mouth motion in silence over that in speech: root mean square change of lip opening a frame; 0 is stillness."""

    def measure(self, opening: np.ndarray, silent: np.ndarray, voiced: np.ndarray) -> tuple[float, float]:
        """Of lip openings (F,) and masks (F,) of frames in silence and in speech; see `silent_frames`.

        Raises:
            ValueError: too few frames of either kind, or a mouth that never moves.
        """
        change = np.abs(np.diff(np.asarray(opening, dtype=np.float64)))
        silent, voiced = np.asarray(silent, bool)[1:], np.asarray(voiced, bool)[1:]
        if min(silent.sum(), voiced.sum()) < MIN_FRAMES:
            raise ValueError(
                f"{MIN_FRAMES} frames in silence and in speech are needed: {silent.sum()}, {voiced.sum()}."
            )
        moving = np.sqrt(np.square(change[voiced]).mean())
        if moving == 0:
            raise ValueError("The mouth does not move in speech either.")
        return float(np.sqrt(np.square(change[silent]).mean()) / moving), float(silent.sum())


def silent_frames(speech: np.ndarray, frames: int, samples_per_frame: int = 640) -> tuple[np.ndarray, np.ndarray]:
    """Frames in silence, and frames in speech; those near a border are neither.

    Args:
        speech: mono samples (samples,).
        frames: frames of the video, F.
        samples_per_frame: 640 for 16 kHz at 25 fps.

    Returns:
        two boolean masks (F,). Loudness is compared with its own 95th percentile; of a recording that is silent
        throughout, every frame is in silence.
    """
    padded = np.zeros(frames * samples_per_frame, np.float64)
    padded[: min(len(speech), len(padded))] = speech[: len(padded)]
    power = np.square(padded.reshape(frames, samples_per_frame)).mean(axis=1)
    loud = np.quantile(power, 0.95)
    voiced = power > max(loud * 10 ** (SILENCE_LEVEL / 10), 1e-10)
    near = np.convolve(voiced, np.ones(2 * SILENCE_MARGIN + 1), mode="full")[SILENCE_MARGIN:-SILENCE_MARGIN] > 0
    return ~near, voiced


class LandmarkDistance(ClipMetric):
    """Mean distance of generated and real landmarks, in percent of the real eye distance (LMD).

    Args:
        part: "face" takes all 478 points (F-LMD); "mouth" the lips (M-LMD).

    Both shapes are moved so that the mean of the chosen points is in one place, as lip motion is compared and not where
    the head happens to be (ATVGnet, Chen et al. 2019, who measure in pixels).
    """

    def __init__(self, part: str = "mouth") -> None:
        if part not in ("face", "mouth"):
            raise ValueError(f'part must be "face" or "mouth", not "{part}".')
        super().__init__()
        self._points = list(LIPS) if part == "mouth" else slice(None)

    def measure(self, generated: np.ndarray, real: np.ndarray) -> tuple[float, float]:
        """Of landmarks (F, 478, 3) of the same frames in the same pixels.

        Raises:
            ValueError: they differ in shape.
        """
        if generated.shape != real.shape:
            raise ValueError(f"Generated and real landmarks differ in shape: {generated.shape} and {real.shape}.")
        a, b = generated[:, self._points, :2], real[:, self._points, :2]
        moved = (a - a.mean(axis=1, keepdims=True)) - (b - b.mean(axis=1, keepdims=True))
        distance = np.linalg.norm(moved, axis=-1).mean(axis=1) / eye_distance(real)
        return float(100 * distance.mean()), float(len(real))
