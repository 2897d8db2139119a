"""Colour statistics in CIE Lab (D65), on tensors of any device."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_RGB_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_XYZ_TO_RGB = np.linalg.inv(_RGB_TO_XYZ).tolist()
_WHITE = (0.950456, 1.0, 1.088754)
_LAB_EDGE = 6 / 29


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Converts sRGB (..., 3, H, W) in [0, 1] to Lab with L in [0, 100]."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mix(linear, _like(rgb, _RGB_TO_XYZ)) / _like(rgb, _WHITE).view(3, 1, 1)
    f = torch.where(xyz > _LAB_EDGE**3, xyz.clamp(min=_LAB_EDGE**3) ** (1 / 3), xyz / (3 * _LAB_EDGE**2) + 4 / 29)
    x, y, z = f.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Converts Lab (..., 3, H, W) to sRGB, clamped to [0, 1]."""
    light, a, b = lab.unbind(-3)
    y = (light + 16) / 116
    f = torch.stack([y + a / 500, y, y - b / 200], dim=-3)
    xyz = torch.where(f > _LAB_EDGE, f**3, 3 * _LAB_EDGE**2 * (f - 4 / 29)) * _like(lab, _WHITE).view(3, 1, 1)
    linear = _mix(xyz, _like(lab, _XYZ_TO_RGB))
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055, 12.92 * linear
    ).clamp(0, 1)


def match_lab(frames: Tensor, portrait: Tensor, strength: float) -> Tensor:
    """Moves each frame's Lab mean and deviation towards the portrait's (Reinhard's colour transfer).

    Args:
        frames: (B, 3, F, H, W) in [-1, 1].
        portrait: (B, 3, H, W) in [-1, 1].
        strength: 0 leaves the frames alone, 1 takes the portrait's statistics whole.
    """
    lab = rgb_to_lab((frames.float().transpose(1, 2) + 1) / 2)  # b f 3 h w
    target = rgb_to_lab((portrait.float() + 1) / 2).unsqueeze(1)
    mean, std = lab.mean((-2, -1), keepdim=True), lab.std((-2, -1), keepdim=True)
    target_mean, target_std = target.mean((-2, -1), keepdim=True), target.std((-2, -1), keepdim=True)
    matched = (lab - mean) / std.clamp(min=1e-3) * target_std + target_mean
    rgb = lab_to_rgb(torch.lerp(lab, matched, strength))
    return (rgb * 2 - 1).transpose(1, 2).to(frames.dtype)


def _mix(channels: Tensor, matrix: Tensor) -> Tensor:
    return torch.einsum("ij,...jhw->...ihw", matrix, channels)


def _like(tensor: Tensor, values: Sequence[Sequence[float] | float]) -> Tensor:
    """Constants beside a tensor, without waiting for its device."""
    return torch.tensor(values, dtype=tensor.dtype).to(tensor.device, non_blocking=True)
