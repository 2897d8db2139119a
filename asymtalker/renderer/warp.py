"""Looking up pixels of a picture at places between them: OpenCV on a CPU, PyTorch on a GPU."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def look_up(image: np.ndarray, places: np.ndarray, device: torch.device | None = None) -> np.ndarray:
    """The image at the given places, by bicubic interpolation: bilinear would blur half of its fine detail away.

    Args:
        image: uint8 (H, W, 3).
        places: (h, w, 2) float32, x and y in pixels of `image` (the middle of the first pixel is at 0, 0); beyond the
            border the border's own pixels are taken.
        device: where to do it; None and CPUs take OpenCV.

    Returns:
        uint8 (h, w, 3).
    """
    if device is None or device.type == "cpu":
        x, y = cv2.split(places)
        return cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    picture = torch.from_numpy(image).to(device, torch.float32).permute(2, 0, 1)
    found = sample(picture[None], torch.from_numpy(places).to(device)[None])[0]
    return found.permute(1, 2, 0).cpu().numpy()


def sample(images: Tensor, places: Tensor) -> Tensor:
    """`look_up` with PyTorch: images (B, 3, H, W) in 0 to 255 and places (B, h, w, 2) to uint8 (B, 3, h, w)."""
    size = torch.tensor(images.shape[:-3:-1], device=places.device, dtype=places.dtype)
    grid = (places + 0.5) * (2 / size) - 1
    found = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return found.round().clamp(0, 255).to(torch.uint8)


def resize_field(field: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Interpolates a smooth field (h, w, c) float32 to a larger (width, height) whose corners are its corners."""
    height, width = field.shape[:2]
    x, y = (
        np.linspace(0, side - 1, wanted, dtype=np.float32) for side, wanted in ((width, size[0]), (height, size[1]))
    )
    return cv2.remap(field, *np.meshgrid(x, y), cv2.INTER_LINEAR)
