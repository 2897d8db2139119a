"""PSNR and SSIM of generated and real frames, by scikit-image.

Speech does not determine a head's pose, so these mostly tell how closely the head happened to follow the real one.
"""

from __future__ import annotations

import numpy as np

from asymtalker.metrics.estimate import ClipMetric, MetricUnavailableError

MEASURES = ("psnr", "ssim")


class ImageSimilarity(ClipMetric):
    """Mean PSNR in dB, or mean SSIM (Wang et al. 2004: Gaussian window of σ 1.5), of frames with the real ones.

    Args:
        measure: "psnr" or "ssim".

    Raises:
        MetricUnavailableError: scikit-image is not installed.
    """

    def __init__(self, measure: str) -> None:
        if measure not in MEASURES:
            raise ValueError(f"measure must be one of {', '.join(MEASURES)}, not {measure!r}.")
        try:
            from skimage import metrics  # the extra `evaluate`
        except ImportError as error:
            raise MetricUnavailableError("PSNR and SSIM need scikit-image: pip install -e '.[evaluate]'.") from error
        super().__init__()
        self._measure = {
            "psnr": lambda real, made: metrics.peak_signal_noise_ratio(real, made, data_range=255),
            "ssim": lambda real, made: metrics.structural_similarity(
                real,
                made,
                data_range=255,
                channel_axis=-1,
                gaussian_weights=True,
                sigma=1.5,
                use_sample_covariance=False,
            ),
        }[measure]

    def measure(self, generated: np.ndarray, real: np.ndarray) -> tuple[float, float]:
        """Of frames uint8 (F, H, W, 3) RGB.

        Raises:
            ValueError: they differ in shape, or (PSNR) all frames are identical, which is infinitely many dB.
        """
        if generated.shape != real.shape:
            raise ValueError(f"Generated and real frames differ in shape: {generated.shape} and {real.shape}.")
        identical = (generated == real).all(axis=(1, 2, 3))
        with np.errstate(divide="ignore"):
            values = np.array([self._measure(*pair) for pair in zip(real, generated, strict=True)])
        values = values[~identical] if np.isinf(values).any() else values
        if not len(values):
            raise ValueError("All frames are identical to the real ones: PSNR is infinite.")
        return float(values.mean()), float(len(values))
