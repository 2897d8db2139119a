"""Blinks, head motion, silence and landmark distances on curves and landmarks made to measure."""

import numpy as np
import pytest

from asymtalker.metrics import BlinkRate, HeadMotion, LandmarkDistance, SilentMouth, silent_frames
from asymtalker.renderer.landmarks import LIPS, OUTER_EYES


def test_three_blinks_in_a_minute():
    opening = np.full(1500, 0.1)
    for start in (100, 700, 1400):
        opening[start : start + 4] = 0.02
    metric = BlinkRate()
    metric.update(opening)
    assert metric.compute().mean == pytest.approx(3)
    metric.update(np.full(1500, 0.1))
    assert metric.compute().mean == pytest.approx(1.5)


def test_blinks_are_weighed_by_length():
    metric = BlinkRate()
    opening = np.full(250, 0.1)
    opening[100:103] = 0
    metric.update(opening)  # 6 a minute over 10 s
    metric.update(np.full(1250, 0.1))  # none over 50 s
    assert metric.compute().mean == pytest.approx(1)


def test_steady_motion_has_the_square_of_its_speed():
    path = np.stack([np.arange(100) * 0.02, np.zeros(100)], axis=1)  # 0.5 eye distances a second
    metric = HeadMotion()
    metric.update(path)
    assert metric.compute().mean == pytest.approx(0.25)


def test_trembling_counts_for_little():
    metric = HeadMotion()
    metric.update(np.random.default_rng(0).normal(0, 0.01, (500, 2)))
    raw = 2 * 2 * 0.01**2 * 25**2  # without smoothing
    assert metric.compute().mean < raw / 10
    with pytest.raises(ValueError, match="6 frames or more"):
        metric.update(np.zeros((5, 2)))


def test_speech_and_silence_are_told_apart_with_a_margin():
    speech = np.zeros(100 * 640, np.float32)
    speech[40 * 640 : 60 * 640] = 0.1 * np.random.default_rng(0).normal(size=20 * 640)
    silent, voiced = silent_frames(speech, 100)
    assert np.flatnonzero(voiced).tolist() == list(range(40, 60))
    assert np.flatnonzero(~silent).tolist() == list(range(35, 65))
    assert silent_frames(np.zeros(6400), 10)[0].all()
    assert silent_frames(np.zeros(0), 10)[0].all()


def test_mouth_in_silence_over_mouth_in_speech():
    silent = np.arange(100) < 50
    change = np.where(silent, 0.01, 0.04) * np.where(np.arange(100) % 2, 1, -1)
    metric = SilentMouth()
    metric.update(np.cumsum(change), silent, ~silent)
    assert metric.compute().mean == pytest.approx(0.25)
    with pytest.raises(ValueError, match="in silence and in speech"):
        metric.update(np.cumsum(change), np.zeros(100, bool), ~silent)
    with pytest.raises(ValueError, match="does not move"):
        metric.update(np.ones(100), silent, ~silent)


@pytest.fixture
def face():
    """Landmarks of 30 frames of a face whose outer eye corners are 50 pixels apart."""
    points = np.random.default_rng(0).normal(0, 30, (1, 478, 3)).repeat(30, axis=0)
    points[:, OUTER_EYES[0], :2], points[:, OUTER_EYES[1], :2] = (-25, 0), (25, 0)
    return points


def test_landmark_distance_of_a_moved_head_is_zero(face):
    for part in ("face", "mouth"):
        metric = LandmarkDistance(part)
        metric.update(face + np.array([7.0, -3.0, 0.0]), face)
        assert metric.compute().mean == pytest.approx(0, abs=1e-6)


def test_mouth_distance_sees_the_lips_only(face):
    other = face.copy()
    half = list(LIPS[: len(LIPS) // 2])
    other[:, half, 1] += 2.0  # half of the lips by 2 pixels: 1 after the means are laid over each other
    metric = LandmarkDistance("mouth")
    metric.update(other, face)
    assert metric.compute().mean == pytest.approx(100 * 1 / 50)
    other = face.copy()
    other[:, [index for index in range(478) if index not in LIPS], 0] += 9.0
    metric.reset()
    metric.update(other, face)
    assert metric.compute().mean == pytest.approx(0, abs=1e-6)


def test_landmarks_of_another_length_raise(face):
    with pytest.raises(ValueError, match="differ in shape"):
        LandmarkDistance().update(face[:3], face)
    with pytest.raises(ValueError, match='must be "face" or "mouth"'):
        LandmarkDistance("nose")
