"""Other light, other cameras, other hands: how the same face may look in another picture."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

UNCHANGED = 0.25
"""Share of the images that stay as they are."""


def vary(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Varies light, colour, sharpness and what is hidden, of most images of a batch (B, 3, S, S) from 0 to 1."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    varied = _vary(images, generator, rng)
    return torch.where(_some(images, generator, UNCHANGED).bool(), images, varied)


def _vary(images: Tensor, generator: torch.Generator, rng: np.random.Generator) -> Tensor:
    images = _relight(images, generator)
    images = _recolour(images, generator)
    images = _hide(images, rng)
    images = _coarsen(images, rng)
    noise = torch.randn(images.shape, generator=generator)
    images = images + noise * _some(images, generator, 0.5) * 0.05 * _uniform(images, generator)
    return _repaint(images.clamp(0, 1), rng)


def _uniform(images: Tensor, generator: torch.Generator, channels: int = 1) -> Tensor:
    return torch.rand(len(images), channels, 1, 1, generator=generator)


def _normal(images: Tensor, generator: torch.Generator, channels: int = 1) -> Tensor:
    return torch.randn(len(images), channels, 1, 1, generator=generator)


def _some(images: Tensor, generator: torch.Generator, share: float) -> Tensor:
    """1 for this share of the images, 0 for the others."""
    return (_uniform(images, generator) < share).float()


def _relight(images: Tensor, generator: torch.Generator) -> Tensor:
    """Light that falls off to one side, and gamma."""
    side = images.shape[-1]
    ramp = torch.linspace(-1, 1, side)
    angle = _uniform(images, generator) * 2 * torch.pi
    slope = angle.cos() * ramp + angle.sin() * ramp[:, None]
    amount = 0.6 * _uniform(images, generator) * _some(images, generator, 0.5)
    gamma = (0.25 * _normal(images, generator)).exp()
    return (images * (1 + amount * slope)).clamp(1e-3, 1) ** gamma


def _recolour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Saturation from none to too much, white balance, brightness and contrast."""
    grey = images.mean(1, keepdim=True)
    saturation = 1.6 * _uniform(images, generator) * (1 - _some(images, generator, 0.15))
    images = grey + saturation * (images - grey)
    images = images * (0.1 * _normal(images, generator, 3)).exp()
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * (0.25 * _normal(images, generator)).exp()
    return (images + 0.06 * _normal(images, generator)).clamp(0, 1)


def _hide(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Lays rectangles of one colour, or of another image, over a tenth of the images."""
    side = images.shape[-1]
    for index in np.flatnonzero(rng.random(len(images)) < 0.1):
        height, width = (int(part * side) for part in rng.uniform(0.08, 0.4, 2))
        top, left = rng.integers(side - height), rng.integers(side - width)
        where = np.s_[:, top : top + height, left : left + width]
        colour = torch.from_numpy(rng.random((3, 1, 1), dtype=np.float32))
        images[index][where] = images[index - 1][where] if rng.random() < 0.5 else colour
    return images


def _coarsen(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Takes the fine detail of a quarter of the images away, as small or blurred pictures lack it."""
    side = images.shape[-1]
    for part in np.array_split(np.flatnonzero(rng.random(len(images)) < 0.25), 3):
        if len(part):
            small = F.interpolate(images[part], size=int(side * rng.uniform(0.2, 0.8)), mode="bilinear", antialias=True)
            images[part] = F.interpolate(small, size=side, mode="bilinear")
    return images


def _repaint(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Gives some images the marks of JPEG, of few colours or of a broad brush."""
    kinds = rng.random(len(images))
    for index in np.flatnonzero(kinds < 0.2):
        picture = (images[index].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        if kinds[index] < 0.12:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))]
            picture = cv2.imdecode(cv2.imencode(".jpg", picture, quality)[1], cv2.IMREAD_COLOR)
        elif kinds[index] < 0.16:
            levels = int(rng.integers(3, 9))
            picture = (picture.astype(np.float32) / 255 * levels).round() / levels * 255
        else:
            picture = cv2.medianBlur(picture, int(rng.choice([3, 5, 7])))
        images[index] = torch.from_numpy(np.float32(picture)).permute(2, 0, 1) / 255
    return images
