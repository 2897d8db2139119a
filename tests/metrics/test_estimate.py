"""Means and their intervals."""

import math

import numpy as np
import pytest

from asymtalker.metrics import bootstrap_mean


def test_interval_of_a_normal_sample_is_that_of_the_normal_law():
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.02)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.02)
    assert estimate.clips == 400
    assert bootstrap_mean(values) == estimate  # repeatable


def test_weights_weigh():
    assert bootstrap_mean(np.array([1.0, 4.0]), np.array([2.0, 1.0])).mean == pytest.approx(2)


def test_one_clip_has_no_interval():
    estimate = bootstrap_mean(np.array([2.0]))
    assert estimate.mean == 2 and math.isnan(estimate.low) and math.isnan(estimate.high)


@pytest.mark.parametrize(
    ("values", "weights", "message"),
    [
        ([], None, "No clips"),
        ([1.0, np.nan], None, "1 of 2 clips"),
        ([1.0, 2.0], [1.0], "one number a clip"),
        ([1.0], [0.0], "not all 0"),
    ],
)
def test_bad_values_raise(values, weights, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_mean(np.array(values), weights)
