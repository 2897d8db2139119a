"""Means over clips with their uncertainty, and what a metric says where it cannot be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
CONFIDENCE = 0.95


class MetricUnavailableError(RuntimeError):
    """A metric cannot be computed here: the message says what is missing and how to get it."""


@dataclass(frozen=True)
class Estimate:
    """A mean over clips.

    Attributes:
        mean: weighted mean over the clips.
        low, high: 95 % percentile bootstrap interval over the clips; NaN with fewer than two clips.
        clips: number of clips.
    """

    mean: float
    low: float
    high: float
    clips: int


def bootstrap_mean(values: np.ndarray, weights: np.ndarray | None = None, seed: int = 0) -> Estimate:
    """Mean of one value a clip with its percentile bootstrap interval over the clips.

    Args:
        values: (clips,), finite.
        weights: (clips,), not negative, such as the clips' lengths; None weighs all alike.
        seed: of the resampling.

    Raises:
        ValueError: there is no value, one is not finite, or the weights do not fit.
    """
    values = np.asarray(values, dtype=np.float64)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise ValueError("No clips: call update() before compute().")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.sum(~np.isfinite(values))} of {len(values)} clips have no finite value.")
    if weights.shape != values.shape or weights.min() < 0 or not weights.sum() > 0:
        raise ValueError("weights must be one number a clip, none negative and not all 0.")
    mean = float(np.average(values, weights=weights))
    if len(values) < 2:
        return Estimate(mean, float("nan"), float("nan"), len(values))
    draws = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    totals = weights[draws].sum(axis=1)
    means = (values * weights)[draws].sum(axis=1)[totals > 0] / totals[totals > 0]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(mean, float(low), float(high), len(values))


class ClipMetric:
    """Base of metrics that are one number a clip, averaged over clips. Subclasses say how a clip is measured."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all clips."""
        self.values: list[float] = []
        self.weights: list[float] = []

    def update(self, *clip: Any) -> None:
        """Adds a clip; see `measure` for its arguments and errors."""
        value, weight = self.measure(*clip)
        self.values.append(value)
        self.weights.append(weight)

    def measure(self, *clip: Any) -> tuple[float, float]:
        """The value of a clip and its weight in the mean."""
        raise NotImplementedError

    def compute(self) -> Estimate:
        """The mean over the clips so far.

        Raises:
            ValueError: there was no clip.
        """
        return bootstrap_mean(np.array(self.values), np.array(self.weights))
