"""The equations of training, as pure functions of tensors.

x_σ = (1−σ)·x₀ + σ·ε, flow v = ε − x₀. Distribution matching and the regression anchor are arXiv 2605.02948's AKD, in
the form of its public relatives (Self-Forcing, DMD2); the weight of the mouth is a decision of this project.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

NORMALIZER_FLOOR = 1e-3


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """x_σ for samples (B, ...) and noise levels (B,)."""
    sigma = _per_sample(sigma, x0)
    return (1 - sigma) * x0 + sigma * noise


def flow_target(x0: Tensor, noise: Tensor) -> Tensor:
    """v = ε − x₀."""
    return noise - x0


def predicted_sample(noisy: Tensor, flow: Tensor, sigma: Tensor) -> Tensor:
    """x̂₀ = x_σ − σ·v."""
    return noisy - _per_sample(sigma, noisy) * flow


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """σ' = s·σ / (1 + (s−1)·σ)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def draw_sigma(batch: int, shift: float, pure_noise: float = 0.0, device: torch.device | str = "cpu") -> Tensor:
    """Shifted-uniform noise levels of the teacher, exactly 1 (where a student starts) with probability `pure_noise`."""
    sigma = shift_sigma(torch.rand(batch, device=device), shift).clamp(min=1e-3)
    return torch.where(torch.rand(batch, device=device) < pure_noise, torch.ones_like(sigma), sigma)


def draw_matching_sigma(batch: int, shift: float, device: torch.device | str = "cpu") -> Tensor:
    """clamp(shift(U(0, 1)), 0.02, 0.98): noise levels for distribution matching and the critic."""
    return shift_sigma(torch.rand(batch, device=device), shift).clamp(0.02, 0.98)


def flow_loss(flow: Tensor, target: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """Weighted mean squared error of the flow of the new latents (B, C, N, h, w); κ is not among them.

    Args:
        weight: broadcast over the latents, mean 1.
    """
    return ((flow.float() - target.float()).square() * weight).mean()


def matching_gradient(sample: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """g = (fake − real) / max(mean|x̂ − real|, 1e-3), normalised per sample over all its new latents."""
    normalizer = (sample - real).abs().flatten(1).mean(1).clamp(min=NORMALIZER_FLOOR)
    return (fake - real) / _per_sample(normalizer, sample)


def matching_loss(sample: Tensor, gradient: Tensor, latent_weight: Tensor | float = 1.0) -> Tensor:
    """L_DMD = ½·MSE(x̂, stopgrad(x̂ − g)): its gradient with respect to x̂ is g, up to the mean."""
    target = (sample - gradient).detach()
    return 0.5 * ((sample - target).square() * latent_weight).mean()


def regression_loss(sample: Tensor, truth: Tensor, latent_weight: Tensor | float = 1.0) -> Tensor:
    """L_reg = MSE(x̂, x_gt), the regression anchor."""
    return (F.mse_loss(sample, truth, reduction="none") * latent_weight).mean()


def _per_sample(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
