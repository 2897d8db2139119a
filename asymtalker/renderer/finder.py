"""Finds the face mesh's landmarks in a portrait: where the face is, then all points, then lips and eyes once more.

Each step looks at a patch that the step before has turned upright and brought to one size, so that a network of a few
convolutions sees every face alike. The networks learn from the face mesh of MediaPipe (`train/renderer.py`).

A patch is a square (centre x, centre y, half side · cos, half side · sin) in pixels of the picture, turned by the
angle; positions in it go from -1 to 1. Pixel i of a picture reaches from i to i + 1, as the face mesh counts.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asymtalker.renderer.landmarks import EYES, IRISES, LIPS, OUTER_EYES, POINTS, Observation

LOCATOR_SIDE, FACE_SIDE, MOUTH_SIDE, EYE_SIDE = 64, 64, 64, 48
"""Of the patches, in pixels."""
MOUTH_SHARE, EYE_SHARE = 0.36, 0.2
"""Of the face's square, what the patches of mouth and eye take up on a side."""
EYE_POINTS = tuple(ring + iris for ring, iris in zip(EYES, IRISES, strict=True))
"""Lids and iris of the right eye and of the left; mirrored, one is the other."""
MIRRORED_LIPS = [ring + (10 - point) % 20 for ring in (0, 20) for point in range(20)]
"""Which of the lips' landmarks each one is in a mirror."""
CANDIDATES = (
    (0.5, 0.5, 1.0),
    (0.5, 0.5, 1.6),
    (0.35, 0.35, 0.7),
    (0.65, 0.35, 0.7),
    (0.35, 0.65, 0.7),
    (0.65, 0.65, 0.7),
)
"""Where the face is looked for: centre and side of squares, as shares of the picture."""
AGREEING = 0.018
"""In eye distances: lips that are found so far from where they are found in the mirrored patch are no lips. Those of
photographs are up to 0.01 apart, those found in other pictures 0.012 to 0.06."""
KEPT, PASSES = 2, 2
"""So many candidates are followed, and the whole face is looked at so many times."""
SMALLEST, LARGEST = 16, 640
"""A picture is not halved below the one, and always down to the other, in pixels: patches show no more detail."""
SQUEEZED = 12
"""Channels of what a network reads the places of together."""
FLAT = 0.02
"""Added to the standard deviation of a patch (of colours from 0 to 1): flat colours stay flat."""


class PatchNetwork(nn.Module):
    """Landmarks in a patch: convolutions, what they see where, and a shape of few degrees of freedom.

    Args:
        side: of the patches, in pixels.
        channels: of the convolutions, each of which halves the side.
        points, dims: of the landmarks, and whether they have a depth (2 or 3).
        rank: degrees of freedom of their shape.
        maps: places that are looked for.
        features: numbers that are read from all places together.
    """

    def __init__(
        self,
        side: int,
        channels: Sequence[int],
        points: int,
        dims: int,
        rank: int,
        maps: int = 32,
        features: int = 128,
    ) -> None:
        super().__init__()
        self.side, self.points, self.dims = side, points, dims
        layers, before = [], 3
        for width in channels:
            layers += [_Convolution(before, width, stride=2)]
            layers += [_Residual(width)] if before > 3 else []
            before = width
        layers += [_Residual(before)]
        self.trunk = nn.Sequential(*layers)
        cells = side // 2 ** len(channels)
        self.squeeze = nn.Conv2d(before, SQUEEZED, 1)
        self.maps = nn.Conv2d(before, maps, 1)
        self.read = nn.Linear(SQUEEZED * cells**2, features)
        self.shape = nn.Linear(features + 2 * maps, rank)
        self.basis = nn.Linear(rank, points * dims)
        self.certainty = nn.Linear(features, 1)

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (B, points, dims), from -1 to 1 within the patches, and the log odds (B,) that a face is there.

        Args:
            patches: (B, 3, side, side), colours from 0 to 1.
        """
        spread, mean = torch.std_mean(patches, dim=(1, 2, 3), keepdim=True)
        seen = self.trunk(((patches - mean) / (spread + FLAT)).contiguous(memory_format=torch.channels_last))
        features = F.silu(self.read(self.squeeze(seen).flatten(1)))
        shape = self.shape(torch.cat([features, _mean_places(self.maps(seen))], dim=1))
        return self.basis(shape).unflatten(1, (self.points, self.dims)), self.certainty(features).squeeze(1)

    @torch.no_grad()
    def set_shapes(self, shapes: Tensor) -> None:
        """Starts from the mean and the principal components of shapes (N, points, dims), N at least the rank."""
        flat = shapes.flatten(1)
        mean = flat.mean(0)
        _, scale, components = torch.linalg.svd(flat - mean, full_matrices=False)
        rank = self.basis.in_features
        self.basis.weight.copy_((scale[:rank, None] * components[:rank]).T / math.sqrt(len(flat)))
        self.basis.bias.copy_(mean)


class LandmarkFinder(nn.Module):
    """Finds all 478 landmarks of the face in a square portrait.

    Args:
        locator, face, mouth, eye: channels of the four networks.
        rank: degrees of freedom of the whole face's shape.
    """

    def __init__(
        self,
        locator: Sequence[int] = (16, 24, 48),
        face: Sequence[int] = (16, 32, 64),
        mouth: Sequence[int] = (16, 32, 64),
        eye: Sequence[int] = (16, 24, 48),
        rank: int = 64,
    ) -> None:
        super().__init__()
        self.locator = PatchNetwork(LOCATOR_SIDE, locator, POINTS, 3, rank=24)
        self.face = PatchNetwork(FACE_SIDE, face, POINTS, 3, rank)
        self.mouth = PatchNetwork(MOUTH_SIDE, mouth, len(LIPS), 2, rank=40)
        self.eye = PatchNetwork(EYE_SIDE, eye, len(EYE_POINTS[0]), 2, rank=24)
        self.register_buffer("reference", torch.zeros(POINTS, 2))
        """A face that fills its square."""

    @torch.no_grad()
    def observe(self, image: np.ndarray) -> Observation:
        """Finds the landmarks of the largest face in a square portrait.

        Args:
            image: RGB, uint8 or floating-point from 0 to 1, (S, S, 3).

        Raises:
            ValueError: the image is not such an array.
        """
        pictures = halved(_as_picture(image).to(self.reference.device))
        side = pictures[0].shape[-1]
        places = torch.tensor(CANDIDATES, device=self.reference.device) * side
        squares = torch.stack([places[:, 0], places[:, 1], places[:, 2] / 2, torch.zeros_like(places[:, 2])], dim=1)
        points, certainty = read_patches(self.locator, pictures, squares)
        points = points[certainty.topk(KEPT).indices]
        for _ in range(PASSES):
            points, certainty = read_patches(self.face, pictures, self.squares(points))
        best = certainty.argmax()
        points, agreement = self._look_closer(pictures, points[best])
        points = points.cpu().numpy().astype(np.float32) * (len(image) / side)
        return Observation(points, float(certainty[best].sigmoid() * agreement))

    def squares(self, points: Tensor) -> Tensor:
        """The squares (B, 4) that faces with landmarks (B, 478, 2 or 3) fill, upright with the face."""
        return fit_squares(points[..., :2], self.reference)

    def _look_closer(self, pictures: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        """Landmarks (478, 3) with those of lips and eyes found anew, and whether the lips look so mirrored too."""
        points = points.clone()
        face = self.squares(points[None])
        mouth = part_squares(points[None], face, LIPS, MOUTH_SHARE)
        lips, _ = read_patches(self.mouth, pictures, mouth.expand(2, -1), mirrored=(False, True))
        lips, mirrored = lips[0], lips[1, MIRRORED_LIPS]
        right, left = (part_squares(points[None], face, part, EYE_SHARE) for part in EYE_POINTS)
        eyes, _ = read_patches(self.eye, pictures, torch.cat([right, left]), mirrored=(False, True))
        points[list(LIPS), :2] = (lips + mirrored) / 2
        for part, found in zip(EYE_POINTS, eyes, strict=True):
            points[list(part), :2] = found
        apart = (lips - mirrored).norm(dim=1).mean() / (points[OUTER_EYES[0], :2] - points[OUTER_EYES[1], :2]).norm()
        return points, torch.exp(-((apart / AGREEING) ** 4))


def read_patches(
    network: PatchNetwork, pictures: list[Tensor], squares: Tensor, mirrored: Sequence[bool] | None = None
) -> tuple[Tensor, Tensor]:
    """Landmarks in squares (B, 4) of a picture, in its pixels (B, points, dims), and their log odds (B,).

    Args:
        pictures: see `halved`.
        mirrored: which patches are shown to the network mirrored.
    """
    patches = torch.stack([cut_out(pictures, square, network.side) for square in squares])
    sign = torch.ones(len(squares), 1, device=squares.device)
    if mirrored is not None:
        flip = torch.tensor(mirrored, device=squares.device)
        patches = torch.where(flip.view(-1, 1, 1, 1), patches.flip(-1), patches)
        sign = torch.where(flip, -1.0, 1.0).unsqueeze(1)
    points, certainty = network(patches)
    points = torch.cat([points[..., :1] * sign.unsqueeze(2), points[..., 1:]], dim=2)
    return to_pixels(points, squares), certainty


def halved(picture: Tensor) -> list[Tensor]:
    """A picture (3, H, W), then again and again half as large."""
    pictures = [picture]
    while min(pictures[-1].shape[1:]) > 2 * SMALLEST:
        pictures.append(F.avg_pool2d(pictures[-1], 2))
    return pictures


def cut_out(pictures: list[Tensor], square: Tensor, side: int) -> Tensor:
    """A square (4,) of a picture, (3, side, side); beyond the picture its border goes on.

    Args:
        pictures: see `halved`; of these the one is used in which the square has its size, so that no detail is skipped.
        square: in pixels of the first.
        side: of the patch, in pixels.
    """
    halvings = int(torch.log2(torch.hypot(square[2], square[3]) * 2 / side).clamp(0, len(pictures) - 1))
    size = square.new_tensor([pictures[halvings].shape[2], pictures[halvings].shape[1]]) * 2**halvings
    middles = (torch.arange(side, device=square.device) + 0.5) * (2 / side) - 1
    y, x = torch.meshgrid(middles, middles, indexing="ij")
    places = to_pixels(torch.stack([x, y], dim=-1).view(1, -1, 2), square[None]).view(1, side, side, 2)
    places = places * 2 / size - 1
    return F.grid_sample(pictures[halvings][None], places, padding_mode="border", align_corners=False)[0]


def to_pixels(points: Tensor, squares: Tensor) -> Tensor:
    """Points (B, P, 2 or 3) from -1 to 1 within squares (B, 4), in pixels; depths are multiplied by half the side."""
    left, top, cosine, sine = squares[:, None].unbind(-1)
    x, y = points[..., 0], points[..., 1]
    placed = [left + x * cosine - y * sine, top + x * sine + y * cosine]
    placed += [points[..., 2] * torch.hypot(cosine, sine)] if points.shape[-1] == 3 else []
    return torch.stack(placed, dim=-1)


def to_unit(points: Tensor, squares: Tensor) -> Tensor:
    """The inverse of `to_pixels`."""
    left, top, cosine, sine = squares[:, None].unbind(-1)
    x, y, half = points[..., 0] - left, points[..., 1] - top, torch.hypot(cosine, sine)
    placed = [(x * cosine + y * sine) / half.square(), (y * cosine - x * sine) / half.square()]
    placed += [points[..., 2] / half] if points.shape[-1] == 3 else []
    return torch.stack(placed, dim=-1)


def fit_squares(points: Tensor, reference: Tensor) -> Tensor:
    """The squares (B, 4) in which points (B, P, 2) lie nearest to where `reference` (P, 2) has them, from -1 to 1."""
    middle, model = points.mean(1), reference.mean(0)
    x, y = (points - middle.unsqueeze(1)).unbind(-1)
    u, v = (reference - model).unbind(-1)
    weight = (u.square() + v.square()).sum()
    cosine, sine = (x * u + y * v).sum(1) / weight, (y * u - x * v).sum(1) / weight
    left = middle[:, 0] - model[0] * cosine + model[1] * sine
    top = middle[:, 1] - model[0] * sine - model[1] * cosine
    return torch.stack([left, top, cosine, sine], dim=1)


def part_squares(points: Tensor, faces: Tensor, part: Sequence[int], share: float) -> Tensor:
    """Squares (B, 4) around a part of faces with landmarks (B, 478, ·), `share` of the faces' squares (B, 4)."""
    return torch.cat([points[:, list(part), :2].mean(1), faces[:, 2:] * share], dim=1)


class _Convolution(nn.Sequential):
    def __init__(self, before: int, width: int, stride: int = 1) -> None:
        convolution = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(width), nn.SiLU())


class _Residual(_Convolution):
    def __init__(self, width: int) -> None:
        super().__init__(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + super().forward(hidden)


def _mean_places(maps: Tensor) -> Tensor:
    """Where each of the maps (B, K, h, w) is largest, as a mean by softmax: (B, 2·K) from -1 to 1."""
    shares = maps.flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
    height, width = maps.shape[2:]
    y = (torch.arange(height, device=maps.device) + 0.5) * (2 / height) - 1
    x = (torch.arange(width, device=maps.device) + 0.5) * (2 / width) - 1
    return torch.cat([(shares.sum(2) * x).sum(-1), (shares.sum(3) * y).sum(-1)], dim=1)


def _as_picture(image: np.ndarray) -> Tensor:
    """(S, S, 3) to (3, S, S), from 0 to 1, of `LARGEST` pixels a side at most."""
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[0] != image.shape[1]:
        raise ValueError(f"The portrait must be a square RGB image (S, S, 3), not {image.shape}.")
    scale = 255 if image.dtype == np.uint8 else 1
    while len(image) > LARGEST:
        half = len(image) // 2
        image = cv2.resize(image, (half, half), interpolation=cv2.INTER_AREA)
    return torch.tensor(image, dtype=torch.float32).permute(2, 0, 1).contiguous() / scale
