"""Drift and seams on synthetic videos whose figures are known."""

import math

import numpy as np
import pytest

from asymtalker.metrics import Drift, frame_differences, seam_ratio


def grey_video(levels) -> np.ndarray:
    """Frames (F, 16, 16, 3) of one grey level each."""
    return np.broadcast_to(np.array(levels, dtype=np.uint8)[:, None, None, None], (len(levels), 16, 16, 3))


def lightness(level: int) -> float:
    """CIE L* of an sRGB grey level, from the definitions (IEC 61966-2-1, CIE 15)."""
    linear = ((level / 255 + 0.055) / 1.055) ** 2.4
    return 116 * linear ** (1 / 3) - 16


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def test_constant_video_does_not_drift(noise):
    drift = Drift(noise, interval=1.0)
    drift.update(np.repeat(noise[None], 75, axis=0))
    score = drift.compute()
    np.testing.assert_array_equal(score.start, [0, 1, 2])
    np.testing.assert_allclose(score.lab_distance, 0, atol=1e-9)
    np.testing.assert_allclose(score.sharpness_to_reference, 1)
    np.testing.assert_array_equal(score.motion, 0)
    np.testing.assert_allclose(score.lab_shift, 0, atol=1e-9)
    assert score.lightness_ratio == score.sharpness_ratio == score.motion_ratio == 1


def test_darkening_video_shows_its_lab_shift():
    video = grey_video([200] * 50 + [150] * 50)
    drift = Drift(video[0], interval=2.0)
    drift.update(video)
    score = drift.compute()
    expected = lightness(150) - lightness(200)
    np.testing.assert_allclose(score.lab_shift, [expected, 0, 0], atol=1e-3)
    np.testing.assert_allclose(score.lab_distance, [0, -expected], atol=1e-3)
    assert score.lightness_ratio == pytest.approx(lightness(150) / lightness(200), abs=1e-5)
    assert score.sharpness_ratio == 1


def test_halved_contrast_quarters_the_sharpness(noise):
    even = noise // 2 * 2
    video = np.stack([even] * 25 + [even // 2] * 25)
    drift = Drift(even, interval=1.0)
    drift.update(video)
    # the grey conversion rounds, so not exactly a quarter
    assert drift.compute().sharpness_ratio == pytest.approx(0.25, rel=0.02)


def test_motion_is_the_mean_frame_difference():
    drift = Drift(grey_video([100])[0], interval=1.0)
    drift.update(grey_video([100, 102] * 12 + [100] + [106, 100] * 12))
    score = drift.compute()
    np.testing.assert_allclose(score.motion, [2, 6])
    assert score.motion_ratio == pytest.approx(3)


def test_blocks_give_what_the_whole_gives():
    video = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    whole, blocks = Drift(video[0], interval=1.0), Drift(video[0], interval=1.0)
    whole.update(video)
    for start in range(0, 60, 16):
        blocks.update(video[start : start + 16])
    np.testing.assert_array_equal(whole.differences, blocks.differences)
    np.testing.assert_array_equal(whole.differences, frame_differences(video))
    a, b = whole.compute(), blocks.compute()
    assert len(a.start) == 3  # 25 + 25 + 10 frames
    for name in ("lab", "sharpness", "motion", "lab_distance"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_fifth_frame_is_measured_and_compared_with_the_one_before():
    video = np.random.default_rng(1).integers(0, 256, (61, 8, 8, 3), dtype=np.uint8)
    whole, some = Drift(video[0], interval=1.0), Drift(video[0], interval=1.0, every=5)
    whole.update(video)
    for block in (video[:1], video[1:17], video[17:]):
        some.update(block)
    np.testing.assert_array_equal(some.differences, whole.differences[[0, *range(4, 60, 5)]])
    score = some.compute()
    np.testing.assert_array_equal(score.start, [0, 1, 2])
    np.testing.assert_allclose(score.sharpness[2], np.mean(whole._sharpness[50::5]))
    np.testing.assert_allclose(score.lab[1], np.mean(whole._lab[25:50:5], axis=0))
    np.testing.assert_allclose(score.motion[1], np.mean(whole.differences[[24, 29, 34, 39, 44]]))
    with pytest.raises(ValueError, match="every must divide the interval's 25 frames, not 4"):
        Drift(video[0], interval=1.0, every=4)


@pytest.mark.parametrize("frames", range(2, 8))
def test_short_videos_are_measured_too(frames):
    drift = Drift(grey_video([100])[0], interval=1.0, every=5)
    drift.update(grey_video([100 + 2 * frame for frame in range(frames)]))
    assert drift.compute().motion == pytest.approx(2)


def test_larger_frames_are_reduced(noise):
    drift = Drift(noise, interval=1.0, reduced=True)
    drift.update(np.repeat(np.kron(noise, np.ones((3, 3, 1), np.uint8))[None], 4, axis=0))
    score = drift.compute()
    np.testing.assert_allclose(score.lab_distance, 0, atol=1e-9)
    np.testing.assert_allclose(score.sharpness_to_reference, 1)


def test_reset_forgets_the_video():
    drift = Drift(grey_video([10])[0])
    drift.update(grey_video([10, 20]))
    drift.reset()
    drift.update(grey_video([30, 30, 30]))
    np.testing.assert_array_equal(drift.differences, [0, 0])


def test_only_scalars_and_one_frame_are_kept():
    block = np.zeros((16, 8, 8, 3), np.uint8)
    drift = Drift(block[0])
    drift.update(block)
    assert drift._previous.base is None


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 16, 16, 3), np.float32), "uint8"),
        (np.zeros((16, 16, 3), np.uint8), "uint8 RGB"),
        (np.zeros((2, 8, 8, 3), np.uint8), "reference portrait is"),
    ],
)
def test_wrong_frames_raise(frames, message):
    drift = Drift(np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match=message):
        drift.update(frames)


def test_too_little_raises():
    drift = Drift(np.zeros((16, 16, 3), np.uint8))
    drift.update(grey_video([1]))
    with pytest.raises(ValueError, match="Two frames"):
        drift.compute()
    with pytest.raises(ValueError, match="interval must be"):
        Drift(np.zeros((16, 16, 3), np.uint8), interval=0.04)


@pytest.mark.parametrize("offset", [0, 5])
def test_planted_seams_give_their_ratio(offset):
    # steps of 2 inside windows, of 5 onto every frame that starts a window of 16
    steps = [5 if (frame - offset) % 16 == 0 else 2 for frame in range(1, 65)]
    levels = np.cumsum([0, *steps])
    assert seam_ratio(frame_differences(grey_video(levels)), 16, offset) == pytest.approx(2.5)


def test_seam_ratio_of_steady_and_still_videos_is_one():
    assert seam_ratio(frame_differences(grey_video(range(60))), 16) == pytest.approx(1)
    assert seam_ratio(np.zeros(40), 16) == 1


def test_stillness_with_jumps_is_infinite():
    assert math.isinf(seam_ratio(np.array([0.0, 0, 0, 1, 0, 0, 0]), 4))


@pytest.mark.parametrize(("frames", "period", "message"), [(16, 16, "at window boundaries"), (9, 1, "inside windows")])
def test_seam_ratio_needs_both_kinds(frames, period, message):
    with pytest.raises(ValueError, match=message):
        seam_ratio(np.ones(frames - 1), period)
