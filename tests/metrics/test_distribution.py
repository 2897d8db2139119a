"""Fréchet distances with known values; the networks themselves only where they can be had."""

import numpy as np
import pytest

from asymtalker.metrics import I3D, FrechetDistance, Inception, MetricUnavailableError, distribution, frechet_distance
from asymtalker.metrics.distribution import sixteens


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(300, 12)) @ np.random.default_rng(1).normal(size=(12, 12))


def test_identical_sets_are_at_zero(features):
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)


def test_a_shift_is_its_square(features):
    assert frechet_distance(features + 2.0, features) == pytest.approx(4.0 * 12)


def test_scaled_deviations_are_the_square_of_their_difference():
    a = np.random.default_rng(0).normal(size=(500, 4))
    a = (a - a.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(a.T))).T  # covariance 1
    # between N(0, 1) and N(0, 9) in each of four dims: (3 − 1)²
    assert frechet_distance(a, 3 * a) == pytest.approx(4 * (3 - 1) ** 2)


def test_fewer_samples_than_dims_agree_with_the_definition():
    a, b = np.random.default_rng(0).normal(size=(2, 6, 10))
    product = np.cov(a.T) @ np.cov(b.T)
    root = np.sqrt(np.maximum(np.linalg.eigvals(product).real, 0)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_updates_add_up(features):
    metric = FrechetDistance()
    for part in np.split(features, 3):
        metric.update(part, real=True)
        metric.update(part + 1, real=False)
    assert metric.compute() == pytest.approx(12)
    metric.reset()
    with pytest.raises(ValueError, match="Both real and generated"):
        metric.compute()


def test_unfit_features_raise(features):
    with pytest.raises(ValueError, match="two samples or more"):
        frechet_distance(features[:1], features)
    with pytest.raises(ValueError, match="one width"):
        frechet_distance(features[:, :3], features)


def test_i3d_gets_sixteens_in_its_range():
    frames = np.zeros((35, 32, 32, 3), np.uint8)
    frames[16:] = 255
    parts = sixteens(frames)
    assert [tuple(part.shape) for part in parts] == [(1, 3, 16, 224, 224)] * 2
    for part, level in zip(parts, (-1, 1), strict=True):
        np.testing.assert_allclose(part.numpy(), level, atol=1e-6)


@pytest.mark.parametrize("network", [Inception, I3D])
def test_networks_that_cannot_be_had_say_so(network, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(distribution, "INCEPTION_URL", "http://127.0.0.1:9/inception-nowhere.pt")
    with pytest.raises(MetricUnavailableError, match="cannot be downloaded from"):
        network()
