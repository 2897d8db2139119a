"""Movements that noise is to speak of: the principal ones, in closed form, and noise that says what a clip shows.

See `asymtalker.models.gestures`.
"""

import torch
from diffusers import ModelMixin
from torch import Tensor

from asymtalker.models.gestures import Gestures, split_movement
from asymtalker.sampling import write_gestures
from train.losses import add_noise

HOLD = 1e-3
"""Of the ridge regression, as a share of the predictors' variance."""
LEAST = 1e-3
"""Movements that are smaller than this share of the largest are left out: they could not be told from noise."""


@torch.no_grad()
def fit_gestures(gestures: Gestures, movement: Tensor) -> tuple[float, float]:
    """Sets the movements to those of real heads.

    What is to be expected of a movement is a linear function of where the head is and of how fast it goes; the
    principal components of what is left are the movements, scaled so that their numbers have a deviation of 1. Mirror
    images count as well.

    Args:
        movement: of windows, (B, 2, 2 + r·N, 8, 8) as `asymtalker.models.gestures.coarse_movement` gives them.

    Returns:
        Shares of the movement that were to be expected, and that the principal movements show of the rest.
    """
    mirrored = movement.flip(-1) * movement.new_tensor([-1, 1]).view(-1, 1, 1, 1)
    before, now, change = split_movement(torch.cat([movement, mirrored]).double())
    past, change = torch.cat([now.flatten(1), (now - before).flatten(1)], dim=1), change.flatten(1)
    square = past.T @ past
    hold = HOLD * square.trace() / len(square) * torch.eye(len(square), dtype=square.dtype)
    expected = torch.linalg.solve(square + hold, past.T @ change)
    rest = change - past @ expected
    _, lengths, principal = torch.linalg.svd(rest, full_matrices=False)
    count = min(len(gestures.fields), int((lengths > LEAST * lengths[0]).sum()))
    principal = principal[:count]
    deviation = (lengths[:count] / len(rest) ** 0.5).unsqueeze(1)
    gestures.fields.zero_()[:count] = (deviation * principal).view(-1, *gestures.fields.shape[1:])
    gestures.reading.zero_()[:count] = principal / deviation
    gestures.expected.zero_()[:count] = principal @ expected.T / deviation
    left = rest.square().sum() / change.square().sum()
    return float(1 - left), float(lengths[:count].square().sum() / lengths.square().sum())


def with_blinks(gestures: Gestures, movement: Tensor) -> Tensor:
    """The numbers (B, N + K) of movements (B, K), and some of blinks."""
    return torch.cat([torch.randn(len(movement), gestures.new_latents, device=movement.device), movement], dim=1)


def telling_noise(transformer: ModelMixin, like: Tensor, gestures: Tensor | None) -> Tensor:
    """Noise for samples (B, C, N, h, w) that says these numbers (B, N + K), if any."""
    return write_gestures(transformer, torch.randn_like(like), like.new_ones(len(like)), gestures)


def add_telling_noise(
    transformer: ModelMixin, x0: Tensor, sigma: Tensor, gestures: Tensor | None
) -> tuple[Tensor, Tensor]:
    """x_σ of samples (B, C, N, h, w) at noise levels (B,), and the noise; both say these numbers (B, N + K), if any."""
    noise = telling_noise(transformer, x0, gestures)
    return write_gestures(transformer, add_noise(x0, noise, sigma), sigma, gestures), noise
