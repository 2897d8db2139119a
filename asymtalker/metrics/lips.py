"""Lip synchrony without a network: how well the lips' opening follows that of the real clip with the same sound.

The opening of a frame is a distance between the inner lips, from a face mesh or from a renderer's own truth; a linear
correlation does not mind its unit.
"""

from dataclasses import dataclass

import numpy as np

MIN_OVERLAP = 25  # frames; a correlation over less than a second says nothing


@dataclass(frozen=True)
class ClipLipSync:
    """Lip synchrony of one clip: the best correlation, that at lag 0, and the best lag in frames."""

    correlation: float
    correlation_at_zero: float
    lag: int


@dataclass(frozen=True)
class LipSyncScore:
    """Lip synchrony of a set of clips.

    Attributes:
        correlation: mean correlation over the clips at `lag`.
        correlation_at_zero: mean correlation over the clips at lag 0.
        lag: the one lag, in frames, at which the mean correlation is highest; positive if the generated lips are late.
        clips: each clip with a best lag of its own, in the order of the updates.
    """

    correlation: float
    correlation_at_zero: float
    lag: int
    clips: list[ClipLipSync]


def lagged_correlation(a: np.ndarray, b: np.ndarray, max_lag: int) -> np.ndarray:
    """Pearson correlation of two curves at every lag from −max_lag to max_lag.

    Args:
        a, b: curves (F,), finite.
        max_lag: largest shift, in frames.

    Returns:
        Correlations (2·max_lag + 1,); the value at index `max_lag + lag` compares `a[t + lag]` with `b[t]`, so the
        maximum is at a positive lag if `a` is late.

    Raises:
        ValueError: the curves differ in length, are too short for the lag, hold NaN, or do not change.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    _check_curves(a, b, max_lag)
    frames = len(a)
    correlations = []
    for lag in range(-max_lag, max_lag + 1):
        late = a[max(lag, 0) : frames + min(lag, 0)]
        early = b[max(-lag, 0) : frames + min(-lag, 0)]
        if np.ptp(late) == 0 or np.ptp(early) == 0:
            raise ValueError(f"A curve is constant over the overlap at lag {lag}: its correlation is undefined.")
        correlations.append(np.corrcoef(late, early)[0, 1])
    return np.array(correlations)


def _check_curves(a: np.ndarray, b: np.ndarray, max_lag: int) -> None:
    if max_lag < 0:
        raise ValueError(f"max_lag must be 0 or more frames, not {max_lag}.")
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"The curves must be one-dimensional and of one length, not {a.shape} and {b.shape}.")
    if len(a) < MIN_OVERLAP + max_lag:
        raise ValueError(f"{MIN_OVERLAP + max_lag} frames or more are needed for max_lag {max_lag}, not {len(a)}.")
    missing = int(np.sum(~np.isfinite(a) | ~np.isfinite(b)))
    if missing:
        raise ValueError(f"{missing} of {len(a)} frames are NaN or infinite; interpolate frames without a face first.")


class LipSync:
    """Correlation of generated and real lip openings over a set of clips, best lag and lag 0.

    Args:
        max_lag: lags of up to so many frames, either way, are tried.
    """

    def __init__(self, max_lag: int = 5) -> None:
        self.max_lag = max_lag
        self.reset()

    def reset(self) -> None:
        """Forgets all clips."""
        self._curves: list[np.ndarray] = []

    @property
    def curves(self) -> list[np.ndarray]:
        """Correlations (2·max_lag + 1,) of each clip so far, as `lagged_correlation` gives them."""
        return list(self._curves)

    def update(self, generated_opening: np.ndarray, reference_opening: np.ndarray) -> None:
        """Adds a clip: lip openings (F,) of the generated and of the real video of the same sound.

        Raises:
            ValueError: as `lagged_correlation`.
        """
        self._curves.append(lagged_correlation(generated_opening, reference_opening, self.max_lag))

    def compute(self) -> LipSyncScore:
        """Returns the score of all clips so far.

        Raises:
            ValueError: there was no clip.
        """
        if not self._curves:
            raise ValueError("No clips: call update() before compute().")
        mean = np.mean(self._curves, axis=0)
        best = int(np.argmax(mean))
        clips = [self._clip(curve) for curve in self._curves]
        return LipSyncScore(float(mean[best]), float(mean[self.max_lag]), best - self.max_lag, clips)

    def _clip(self, curve: np.ndarray) -> ClipLipSync:
        best = int(np.argmax(curve))
        return ClipLipSync(float(curve[best]), float(curve[self.max_lag]), best - self.max_lag)
