"""Measures of a generated video; each is a class with `update()` and `compute()`."""

from asymtalker.metrics.articulation import LabiodentalContact, LipClosure, LipRounding, VowelOrder
from asymtalker.metrics.distribution import I3D, FrechetDistance, Inception, frechet_distance
from asymtalker.metrics.drift import Drift, DriftScore, frame_differences, seam_ratio
from asymtalker.metrics.estimate import ClipMetric, Estimate, MetricUnavailableError, bootstrap_mean
from asymtalker.metrics.face_mesh import FaceMesh, eye_opening, fill_gaps, lip_opening, lower_lip_drop, mouth_width
from asymtalker.metrics.face_motion import BlinkRate, HeadMotion, LandmarkDistance, SilentMouth, silent_frames
from asymtalker.metrics.identity import (
    STRANGERS,
    ArcFace,
    IdentityDrift,
    appearance_distance,
    distance_between_people,
    geometry_distance,
)
from asymtalker.metrics.lips import ClipLipSync, LipSync, LipSyncScore, lagged_correlation
from asymtalker.metrics.similarity import ImageSimilarity
from asymtalker.metrics.sync import SyncScore, SyncScorer

__all__ = [
    "I3D",
    "STRANGERS",
    "ArcFace",
    "BlinkRate",
    "ClipLipSync",
    "ClipMetric",
    "Drift",
    "DriftScore",
    "Estimate",
    "FaceMesh",
    "FrechetDistance",
    "HeadMotion",
    "IdentityDrift",
    "ImageSimilarity",
    "Inception",
    "LabiodentalContact",
    "LandmarkDistance",
    "LipClosure",
    "LipRounding",
    "LipSync",
    "LipSyncScore",
    "MetricUnavailableError",
    "SilentMouth",
    "SyncScore",
    "SyncScorer",
    "VowelOrder",
    "appearance_distance",
    "bootstrap_mean",
    "distance_between_people",
    "eye_opening",
    "fill_gaps",
    "frame_differences",
    "frechet_distance",
    "geometry_distance",
    "lagged_correlation",
    "lip_opening",
    "lower_lip_drop",
    "mouth_width",
    "seam_ratio",
    "silent_frames",
]
