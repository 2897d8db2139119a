"""PSNR and SSIM against their definitions; skipped without scikit-image."""

import sys

import numpy as np
import pytest

from asymtalker.metrics import ImageSimilarity, MetricUnavailableError


@pytest.fixture
def frames():
    pytest.importorskip("skimage")
    return np.random.default_rng(0).integers(10, 240, (4, 32, 32, 3), dtype=np.uint8)


def test_psnr_of_a_known_error(frames):
    metric = ImageSimilarity("psnr")
    metric.update(frames + 5, frames)
    assert metric.compute().mean == pytest.approx(10 * np.log10(255**2 / 25))


def test_ssim_of_identical_frames_is_one(frames):
    metric = ImageSimilarity("ssim")
    metric.update(frames, frames)
    assert metric.compute().mean == pytest.approx(1)
    metric.update(255 - frames, frames)
    assert metric.compute().mean < 0.5


def test_bad_frames_raise(frames):
    metric = ImageSimilarity("psnr")
    with pytest.raises(ValueError, match="differ in shape"):
        metric.update(frames[:2], frames)
    with pytest.raises(ValueError, match="identical"):
        metric.update(frames, frames)
    with pytest.raises(ValueError, match="one of psnr, ssim"):
        ImageSimilarity("lpips")


def test_without_scikit_image_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MetricUnavailableError, match="scikit-image"):
        ImageSimilarity("ssim")
