"""A linear patch autoencoder: the Karhunen–Loève transform of space-time patches, fitted in closed form.

It has the interface of diffusers' video autoencoders (`1 + r·m` frames ↔ `1 + m` latent frames, the first an image
latent), so it takes the place of AutoencoderKLWan wherever a network must be small enough for a CPU.
"""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.utils.accelerate_utils import apply_forward_hook
from torch import Tensor, nn


class PointDistribution:
    """A posterior without spread, with the methods of diffusers' DiagonalGaussianDistribution."""

    def __init__(self, mean: Tensor) -> None:
        self.mean = mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self.mean

    def mode(self) -> Tensor:
        return self.mean


class AutoencoderPatchKLT(ModelMixin, ConfigMixin):
    """Projects `r × p × p` colour patches on their leading principal components.

    The basis is orthonormal, so encoding what was decoded changes nothing but what clamping to [-1, 1] cuts off.
    The first frame is repeated `r` times to make its own latent frame.

    Args:
        in_channels: colour channels of a frame.
        latent_channels: components kept per patch.
        scale_factor_spatial: patch size `p` in pixels.
        scale_factor_temporal: patch length `r` in frames.
        latents_mean, latents_std: per channel, applied by `asymtalker.conditioning` as for AutoencoderKLWan.
    """

    _keep_in_fp32_modules = ["mean", "basis"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        latent_channels: int = 96,
        scale_factor_spatial: int = 16,
        scale_factor_temporal: int = 4,
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
    ) -> None:
        super().__init__()
        patch_dim = in_channels * scale_factor_temporal * scale_factor_spatial**2
        if latent_channels > patch_dim:
            raise ValueError(f"latent_channels ({latent_channels}) exceeds the {patch_dim} values of a patch.")
        self.mean = nn.Parameter(torch.zeros(patch_dim), requires_grad=False)
        basis = torch.linalg.qr(torch.randn(patch_dim, latent_channels, dtype=torch.float32)).Q
        self.basis = nn.Parameter(basis.contiguous(), requires_grad=False)

    @apply_forward_hook  # what comes and goes by offloading comes for `forward` alone
    def encode(self, x: Tensor, return_dict: bool = True) -> AutoencoderKLOutput | tuple[PointDistribution]:
        """Encodes frames (B, 3, 1 + r·m, H, W) in [-1, 1] to latents (B, C, 1 + m, H/p, W/p)."""
        r = self.config.scale_factor_temporal
        if (x.shape[2] - 1) % r:
            raise ValueError(f"The number of frames must be 1 plus a multiple of {r}, not {x.shape[2]}.")
        x = torch.cat([x[:, :, :1].expand(-1, -1, r, -1, -1), x[:, :, 1:]], dim=2)
        latents = (self._patches(x) - self.mean) @ self.basis
        posterior = PointDistribution(latents.permute(0, 4, 1, 2, 3).contiguous())  # b t h w c -> b c t h w
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    @apply_forward_hook
    def decode(self, z: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Decodes latents (B, C, 1 + m, h, w) to frames (B, 3, 1 + r·m, p·h, p·w), clamped to [-1, 1]."""
        patches = z.permute(0, 2, 3, 4, 1).contiguous() @ self.basis.T + self.mean
        frames = unpatchify(patches, self.config.scale_factor_temporal, self.config.scale_factor_spatial)[
            :, :, self.config.scale_factor_temporal - 1 :
        ].clamp(-1, 1)
        return DecoderOutput(sample=frames) if return_dict else (frames,)

    def _patches(self, x: Tensor) -> Tensor:
        return patchify(x, self.config.scale_factor_temporal, self.config.scale_factor_spatial)

    def forward(self, sample: Tensor, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        return self.decode(self.encode(sample).latent_dist.mode(), return_dict=return_dict)


def patchify(frames: Tensor, length: int, side: int) -> Tensor:
    """Cuts (B, C, length·t, side·h, side·w) into space-time patches (B, t, h, w, C·length·side²)."""
    b, c, f, height, width = frames.shape
    x = frames.reshape(b, c, f // length, length, height // side, side, width // side, side)
    return x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4)


def unpatchify(patches: Tensor, length: int, side: int) -> Tensor:
    """Puts space-time patches (B, t, h, w, C·length·side²) together: (B, C, length·t, side·h, side·w)."""
    x = patches.unflatten(4, (-1, length, side, side))
    x = x.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)
