"""Measures of a generated video; each is a class with `update()` and `compute()`."""

from asymtalker.metrics.drift import Drift, DriftScore, frame_differences, seam_ratio
from asymtalker.metrics.lips import ClipLipSync, LipSync, LipSyncScore, lagged_correlation

__all__ = [
    "ClipLipSync",
    "Drift",
    "DriftScore",
    "LipSync",
    "LipSyncScore",
    "frame_differences",
    "lagged_correlation",
    "seam_ratio",
]
