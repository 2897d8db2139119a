"""Lip synchrony on curves whose correlation and lag are known."""

import numpy as np
import pytest

from asymtalker.metrics import LipSync, lagged_correlation


@pytest.fixture
def curve() -> np.ndarray:
    """A smooth opening of 220 frames that does not repeat."""
    noise = np.random.default_rng(0).normal(size=240)
    return np.convolve(noise, np.hanning(9), mode="valid")[:220]


def test_identical_curves_correlate_fully_at_lag_zero(curve):
    correlations = lagged_correlation(curve, curve, 5)
    assert correlations.shape == (11,)
    assert correlations[5] == pytest.approx(1)
    assert np.argmax(correlations) == 5


def test_scale_and_offset_do_not_matter_but_sign_does(curve):
    assert lagged_correlation(3 * curve + 7, curve, 0) == pytest.approx([1])
    assert lagged_correlation(-curve, curve, 0) == pytest.approx([-1])


@pytest.mark.parametrize("lag", [-4, -1, 2, 5])
def test_shifted_curve_is_found_at_its_lag(curve, lag):
    generated, reference = np.roll(curve, lag)[10:-10], curve[10:-10]
    metric = LipSync(max_lag=5)
    metric.update(generated, reference)
    score = metric.compute()
    assert score.lag == score.clips[0].lag == lag
    assert score.correlation == pytest.approx(1)
    assert score.correlation_at_zero < 0.999


def test_known_correlation():
    a = np.tile([1.0, 1.0, -1.0, -1.0], 10)
    b = np.tile([1.0, -1.0, -1.0, 1.0], 10)
    assert lagged_correlation(a, b, 0) == pytest.approx([0])
    assert lagged_correlation(a, 0.6 * a + 0.8 * b, 0) == pytest.approx([0.6])


def test_common_lag_is_that_of_the_mean_curve():
    noise = np.random.default_rng(2).normal(size=220)
    metric = LipSync(max_lag=5)
    for lag in (2, 2, 0):
        metric.update(np.roll(noise, lag)[10:-10], noise[10:-10])
    score = metric.compute()
    at_two = lagged_correlation(noise[10:-10], noise[10:-10], 2)[-1]
    assert score.lag == 2
    assert [clip.lag for clip in score.clips] == [2, 2, 0]
    assert score.correlation == pytest.approx((2 + at_two) / 3)
    metric.reset()
    with pytest.raises(ValueError, match="No clips"):
        metric.compute()


def test_unrelated_curves_do_not_correlate(curve):
    other = np.convolve(np.random.default_rng(1).normal(size=240), np.hanning(9), mode="valid")[:220]
    assert np.abs(lagged_correlation(curve, other, 5)).max() < 0.5


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (np.arange(20.0), np.arange(20.0), "30 frames or more"),
        (np.arange(40.0), np.arange(41.0), "one length"),
        (np.ones(40), np.arange(40.0), "constant"),
        (np.arange(40.0), np.where(np.arange(40) == 3, np.nan, np.arange(40)), "1 of 40 frames are NaN"),
        (np.ones((40, 2)), np.ones((40, 2)), "one-dimensional"),
    ],
)
def test_bad_curves_raise_clear_errors(generated, reference, message):
    metric = LipSync(max_lag=5)
    with pytest.raises(ValueError, match=message):
        metric.update(generated, reference)


def test_negative_max_lag_raises(curve):
    with pytest.raises(ValueError, match="max_lag must be 0 or more"):
        lagged_correlation(curve, curve, -1)
