"""Distances between sets of frames (FID) and of clips (FVD): the Fréchet distance of Gaussians fitted to features.

Both are biased upwards for small sets: compare only figures of the same N, the same crop and the same size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.metrics.identity import download

INCEPTION_URL = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/inception-2015-12-05.pt"
I3D_REPOSITORY = "ByteDance/LatentSync-1.6"
I3D_FILE = "auxiliary/i3d_torchscript.pt"
I3D_SIDE = 224
FVD_FRAMES = 16
BATCH = 32


class FrechetDistance:
    """Fréchet distance between the features of real and of generated samples.

    Raises:
        ValueError: in `compute`, fewer than two samples of either kind.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets all samples."""
        self._features: dict[bool, list[np.ndarray]] = {True: [], False: []}

    def update(self, features: np.ndarray, real: bool) -> None:
        """Adds features (samples, dims)."""
        self._features[real].append(np.asarray(features, dtype=np.float64))

    def compute(self) -> float:
        """The distance of all samples so far; 0 for identical sets."""
        if not (self._features[True] and self._features[False]):
            raise ValueError("Both real and generated samples are needed.")
        return frechet_distance(*(np.concatenate(self._features[kind]) for kind in (True, False)))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2·(Σ_a Σ_b)^½) of two sets of features (samples, dims) (Heusel et al. 2017).

    Raises:
        ValueError: the sets differ in dims, or one has fewer than two samples.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"Two sets of two samples or more of one width are needed, not {a.shape} and {b.shape}.")
    means = a.mean(axis=0), b.mean(axis=0)
    centred = (a - means[0]) / np.sqrt(len(a) - 1), (b - means[1]) / np.sqrt(len(b) - 1)
    # tr (Σ_a Σ_b)^½ is the sum of the singular values of A Bᵀ: exact also where there are fewer samples than dims.
    overlap = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum(np.square(part).sum() for part in centred)
    return float(max(np.square(means[0] - means[1]).sum() + spread - 2 * overlap, 0.0))


class Inception:
    """The 2048 features of FID's InceptionV3: NVIDIA's TorchScript copy of the TensorFlow original
    (`inception-2015-12-05`, downloaded from NVIDIA on first use), which resizes to 299² itself, as the original did.

    Raises:
        MetricUnavailableError: the weights cannot be had.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_URL.rsplit("/", 1)[1]
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                torch.hub.download_url_to_file(INCEPTION_URL, str(path))
            except OSError as error:
                raise MetricUnavailableError(
                    f"FID's Inception weights cannot be downloaded from {INCEPTION_URL} ({error}); put them at {path}."
                ) from error
        self._network = torch.jit.load(path, map_location=device).eval()
        self._device = device

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features (F, 2048) of frames, uint8 (F, H, W, 3) RGB."""
        images = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        parts = [self._network(part.to(self._device), return_features=True).cpu() for part in images.split(BATCH)]
        return torch.cat(parts).numpy()


class I3D:
    """The 400 features of FVD's I3D: StyleGAN-V's TorchScript file (Kinetics-400, 51 MB, downloaded from the Hub on
    first use), on 224² in [−1, 1], bilinear. Other FVDs take other weights and ranges and are not comparable.

    Raises:
        MetricUnavailableError: the weights cannot be had.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._network = torch.jit.load(download(I3D_REPOSITORY, I3D_FILE), map_location=device).eval()
        self._device = device

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> np.ndarray:
        """Features (F // 16, 400) of every 16 successive frames, uint8 (F, H, W, 3) RGB; a shorter rest is left out."""
        outputs = []
        for part in sixteens(frames):
            outputs.append(
                self._network(part.to(self._device), rescale=False, resize=False, return_features=True).cpu()
            )
        return torch.cat(outputs).numpy() if outputs else np.zeros((0, 400), np.float32)


def sixteens(frames: np.ndarray) -> list[torch.Tensor]:
    """Every 16 successive frames, uint8 (F, H, W, 3), as I3D takes them: (1, 3, 16, 224, 224) in [−1, 1]."""
    parts = []
    for start in range(0, len(frames) - FVD_FRAMES + 1, FVD_FRAMES):
        images = torch.from_numpy(np.ascontiguousarray(frames[start : start + FVD_FRAMES])).permute(0, 3, 1, 2)
        images = F.interpolate(images.float() / 127.5 - 1, (I3D_SIDE, I3D_SIDE), mode="bilinear", align_corners=False)
        parts.append(images.permute(1, 0, 2, 3)[None])
    return parts
