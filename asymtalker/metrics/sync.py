"""Sync-D and Sync-C: how well SyncNet finds lips and sound to match (Chung & Zisserman 2016).

The network, its sound features, its crop and its distances are those of the authors' published evaluation, with one
exception: the face box is that of the face mesh and not of an S3FD detector, so figures are to be compared with those
of other systems only where both were measured by this class.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from scipy.signal import medfilt
from torch import Tensor, nn

from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.metrics.identity import download

REPOSITORY = "ByteDance/LatentSync-1.6"
FILE = "auxiliary/syncnet_v2.model"
SAMPLING_RATE = 16_000
WINDOW = 5  # frames that the network sees at once
STEPS_PER_FRAME = 4  # of the sound features, 100 a second
MAX_SHIFT = 15  # frames
CROP_SCALE = 0.40
SIDE = 224
PADDING = 110  # grey level beside the picture
SMOOTHING = 13  # frames over which the face box is median-filtered
BATCH = 20


@dataclass(frozen=True)
class SyncScore:
    """Of one clip.

    Attributes:
        distance: Sync-D, the smallest mean distance over the shifts; lower is better.
        confidence: Sync-C, the median of the mean distances minus the smallest; higher is better.
        offset: shift in frames at which it is smallest; positive if the picture is late.
    """

    distance: float
    confidence: float
    offset: int


class SyncNet(nn.Module):
    """Embeds five face crops and 0.2 s of sound into one space; parameter names are those of the published file."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = nn.Sequential(
            *_block(nn.Conv2d(1, 64, 3, padding=1)),
            nn.MaxPool2d(1, 1),
            *_block(nn.Conv2d(64, 192, 3, padding=1)),
            nn.MaxPool2d(3, (1, 2)),
            *_block(nn.Conv2d(192, 384, 3, padding=1)),
            *_block(nn.Conv2d(384, 256, 3, padding=1)),
            *_block(nn.Conv2d(256, 256, 3, padding=1)),
            nn.MaxPool2d(3, 2),
            *_block(nn.Conv2d(256, 512, (5, 4))),
        )
        self.netcnnlip = nn.Sequential(
            *_block(nn.Conv3d(3, 96, (5, 7, 7), stride=(1, 2, 2))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(96, 256, (1, 5, 5), stride=(1, 2, 2), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), padding=(0, 1, 1)),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            *_block(nn.Conv3d(256, 256, (1, 3, 3), padding=(0, 1, 1))),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_block(nn.Conv3d(256, 512, (1, 6, 6))),
        )
        self.netfcaud = _head()
        self.netfclip = _head()

    def embed_speech(self, features: Tensor) -> Tensor:
        """(batch, 1, 13, 20) MFCC → (batch, 1024)."""
        return self.netfcaud(self.netcnnaud(features).flatten(1))

    def embed_lips(self, frames: Tensor) -> Tensor:
        """(batch, 3, 5, 224, 224) BGR in levels of 255 → (batch, 1024)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))


def _block(convolution: nn.Conv2d | nn.Conv3d) -> tuple[nn.Module, nn.Module, nn.Module]:
    norm = nn.BatchNorm2d if isinstance(convolution, nn.Conv2d) else nn.BatchNorm3d
    return convolution, norm(convolution.out_channels), nn.ReLU(inplace=True)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


class SyncScorer:
    """Scores clips with SyncNet; its weights (`syncnet_v2.model`, 55 MB) are downloaded from the Hub on first use.

    Args:
        device: that the network runs on.
        network: one that is loaded already.

    Raises:
        MetricUnavailableError: python_speech_features is not installed, or the weights cannot be had.
    """

    def __init__(self, device: torch.device | str = "cpu", network: SyncNet | None = None) -> None:
        try:
            from python_speech_features import mfcc
        except ImportError as error:
            raise MetricUnavailableError("Sync needs python_speech_features: pip install -e '.[evaluate]'.") from error
        self._mfcc, self._device = mfcc, device
        if network is None:
            network = SyncNet()
            network.load_state_dict(torch.load(download(REPOSITORY, FILE), map_location="cpu", weights_only=True))
        self._network = network.to(device).eval()

    @torch.no_grad()
    def score(self, frames: np.ndarray, points: np.ndarray, speech: np.ndarray) -> SyncScore:
        """Scores a clip.

        Args:
            frames: uint8 (F, H, W, 3) RGB at 25 fps.
            points: landmarks (F, 478, 3) in pixels, without NaN.
            speech: mono 16 kHz in [−1, 1], (samples,).

        Raises:
            ValueError: the clip is shorter than the network's window and the shifts.
        """
        features = self._speech_windows(speech)
        crops = torch.from_numpy(crop_faces(frames, points)).permute(3, 0, 1, 2)[None]
        count = min(len(features), len(frames) - WINDOW + 1)
        if count <= MAX_SHIFT:
            raise ValueError(f"{MAX_SHIFT + WINDOW + 1} frames or more are needed, not {len(frames)}.")
        lips, sound = [], []
        for start in range(0, count, BATCH):
            places = range(start, min(start + BATCH, count))
            windows = torch.cat([crops[:, :, place : place + WINDOW] for place in places]).float()
            lips.append(self._network.embed_lips(windows.to(self._device)).cpu())
            sound.append(self._network.embed_speech(features[places.start : places.stop].to(self._device)).cpu())
        return sync_score(torch.cat(lips), torch.cat(sound))

    def _speech_windows(self, speech: np.ndarray) -> Tensor:
        """MFCC of the sound of each five frames: (windows, 1, 13, 20)."""
        levels = (np.clip(speech, -1, 1) * 32767).astype(np.int16)
        features = torch.from_numpy(self._mfcc(levels, SAMPLING_RATE).T).float()
        width = WINDOW * STEPS_PER_FRAME
        if features.shape[1] < width:
            return torch.zeros(0, 1, features.shape[0], width)
        return features.unfold(1, width, STEPS_PER_FRAME).permute(1, 0, 2)[:, None]


def sync_score(lips: Tensor, sound: Tensor, max_shift: int = MAX_SHIFT) -> SyncScore:
    """Compares embeddings (windows, dims) of lips and sound at every shift up to `max_shift` windows either way."""
    padded = F.pad(sound, (0, 0, max_shift, max_shift))
    shifted = [padded[shift : shift + len(lips)] for shift in range(2 * max_shift + 1)]
    means = torch.stack([F.pairwise_distance(lips, other).mean() for other in shifted])
    smallest, place = means.min(dim=0)
    return SyncScore(float(smallest), float(means.median() - smallest), max_shift - int(place))


def crop_faces(frames: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face of each frame as SyncNet wants it, uint8 (F, 224, 224, 3) BGR.

    The square reaches from the top of the face box to 0.4 box heights below it; it follows the median of 13 frames.
    """
    low, high = points[..., :2].min(axis=1), points[..., :2].max(axis=1)
    track = np.concatenate([(low + high) / 2, (high - low).max(axis=1, keepdims=True) / 2], axis=1)
    track = np.stack([medfilt(np.pad(axis, SMOOTHING // 2, mode="edge"), SMOOTHING) for axis in track.T], axis=1)
    track = track[SMOOTHING // 2 : len(frames) + SMOOTHING // 2]
    return np.stack([_crop_face(*pair) for pair in zip(frames, track, strict=True)])


def _crop_face(frame: np.ndarray, place: np.ndarray) -> np.ndarray:
    x, y, half = place
    border = int(half * (1 + 2 * CROP_SCALE))
    padded = cv2.copyMakeBorder(frame, *[border] * 4, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    x, y = x + border, y + border
    rows = slice(int(y - half), int(y + half * (1 + 2 * CROP_SCALE)))
    columns = slice(int(x - half * (1 + CROP_SCALE)), int(x + half * (1 + CROP_SCALE)))
    return cv2.resize(np.ascontiguousarray(padded[rows, columns, ::-1]), (SIDE, SIDE))
