"""The denoising network: Wan 2.1's transformer, with audio in the place of text."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.attention import AttentionMixin
from diffusers.models.cache_utils import CacheMixin
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.normalization import FP32LayerNorm
from diffusers.models.transformers.transformer_wan import WanAttnProcessor, WanRotaryPosEmbed, WanTransformerBlock
from diffusers.utils import BaseOutput
from torch import Tensor, nn

SPEECH_WINDOW = 5
"""Speech feature frames around a video frame: ±2."""


class FramewiseAttnProcessor(WanAttnProcessor):
    """Cross-attention of each latent frame to its own audio tokens only."""

    def __call__(self, attn: nn.Module, hidden_states: Tensor, encoder_hidden_states: Tensor, *args: Any) -> Tensor:
        """Attends (B, T·h·w, dim) to (B, T, tokens, dim), latent frame by latent frame."""
        batch, frames = encoder_hidden_states.shape[:2]
        queries = hidden_states.unflatten(1, (frames, -1)).flatten(0, 1)
        attended = super().__call__(attn, queries, encoder_hidden_states.flatten(0, 1), *args)
        return attended.unflatten(0, (batch, frames)).flatten(1, 2)


class TimeEmbedding(nn.Module):
    """The time half of diffusers' WanTimeTextImageEmbedding, under the same parameter names."""

    def __init__(self, dim: int, freq_dim: int) -> None:
        super().__init__()
        self.timesteps_proj = Timesteps(num_channels=freq_dim, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embedder = TimestepEmbedding(in_channels=freq_dim, time_embed_dim=dim)
        self.act_fn = nn.SiLU()
        self.time_proj = nn.Linear(dim, 6 * dim)

    def forward(self, timestep: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Embeds timesteps (B,) in [0, 1000] to (B, dim) and the blocks' modulation (B, 6, dim)."""
        embedder_dtype = next(self.time_embedder.parameters()).dtype
        temb = self.time_embedder(self.timesteps_proj(timestep).to(embedder_dtype)).to(dtype)
        return temb, self.time_proj(self.act_fn(temb)).unflatten(1, (6, -1))


class AudioProjection(nn.Module):
    """Speech features of a window → audio tokens per latent frame (layout of the public FlashHead weights).

    The first latent frame sees the ±2 frames around its one video frame. A later one covers `r` frames and sees
    `r + 4`: the first three of its first frame's five, the centre of each middle frame, the last three of its last.

    Args:
        feature_dim: layers × dim of one frame's speech features.
        dim: width of the transformer.
        temporal_ratio: video frames per latent frame after the first, `r`.
        tokens: audio tokens per latent frame.
        hidden_dim: width of the MLP.
    """

    def __init__(self, feature_dim: int, dim: int, temporal_ratio: int, tokens: int, hidden_dim: int) -> None:
        super().__init__()
        self.temporal_ratio = temporal_ratio
        self.tokens = tokens
        self.proj1 = nn.Linear(SPEECH_WINDOW * feature_dim, hidden_dim)
        self.proj1_vf = nn.Linear((temporal_ratio + SPEECH_WINDOW - 1) * feature_dim, hidden_dim)
        self.proj2 = nn.Linear(hidden_dim, hidden_dim)
        self.proj3 = nn.Linear(hidden_dim, tokens * dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, speech: Tensor) -> Tensor:
        """Projects windows (B, 1 + r·m, 5, layers, dim) to tokens (B, 1 + m, tokens, dim)."""
        speech = speech.flatten(3)
        first = self.proj1(speech[:, :1].flatten(2))  # b 1 (5 d)
        groups = speech[:, 1:].unflatten(1, (-1, self.temporal_ratio))  # b m r 5 d
        centre = SPEECH_WINDOW // 2
        later = torch.cat([groups[:, :, 0, : centre + 1], groups[:, :, 1:-1, centre], groups[:, :, -1, centre:]], dim=2)
        hidden = torch.cat([first, self.proj1_vf(later.flatten(2))], dim=1).relu()
        hidden = self.proj3(self.proj2(hidden).relu())
        return self.norm(hidden.unflatten(2, (self.tokens, -1)))


@dataclass
class AsymTalkerTransformerOutput(BaseOutput):
    """Attributes:
    sample: the flow (B, C, 1 + m, h, w).
    """

    sample: Tensor


class AsymTalkerTransformer3DModel(ModelMixin, ConfigMixin, PeftAdapterMixin, CacheMixin, AttentionMixin):
    """Predicts the flow `v = ε − x₀` of a window from `[noisy latents ‖ TRE latents]` and its speech features.

    Blocks, rotary embedding and parameter names are those of diffusers' WanTransformer3DModel; text is replaced by
    audio tokens, to which each latent frame attends on its own.

    Args:
        patch_size: latent patch (t, h, w) per token.
        num_attention_heads, attention_head_dim, ffn_dim, num_layers, freq_dim, eps, cross_attn_norm,
        rope_max_seq_len: as in WanTransformer3DModel.
        in_channels: noisy and TRE channels together, `2·out_channels`.
        out_channels: channels of a latent.
        speech_layers, speech_dim: shape of one frame's speech features.
        audio_tokens: audio tokens per latent frame.
        audio_hidden_dim: width of the audio projection.
        temporal_ratio: video frames per latent frame after the first.
        sample_size: latent (height, width) that the checkpoint was trained at.
    """

    _supports_gradient_checkpointing = True
    _skip_layerwise_casting_patterns = ["patch_embedding", "condition_embedder", "norm"]
    _no_split_modules = ["WanTransformerBlock"]
    _keep_in_fp32_modules = ["rope", "time_embedder", "scale_shift_table", "norm1", "norm2", "norm3"]
    _repeated_blocks = ["WanTransformerBlock"]

    @register_to_config
    def __init__(
        self,
        patch_size: tuple[int, int, int] = (1, 2, 2),
        num_attention_heads: int = 12,
        attention_head_dim: int = 128,
        in_channels: int = 32,
        out_channels: int = 16,
        speech_layers: int = 12,
        speech_dim: int = 768,
        audio_tokens: int = 32,
        audio_hidden_dim: int = 512,
        temporal_ratio: int = 4,
        freq_dim: int = 256,
        ffn_dim: int = 8960,
        num_layers: int = 30,
        cross_attn_norm: bool = True,
        eps: float = 1e-6,
        rope_max_seq_len: int = 1024,
        sample_size: tuple[int, int] = (64, 64),
    ) -> None:
        super().__init__()
        if in_channels != 2 * out_channels:
            raise ValueError(f"in_channels must be twice out_channels ({out_channels}), not {in_channels}.")
        dim = num_attention_heads * attention_head_dim
        self.rope = WanRotaryPosEmbed(attention_head_dim, patch_size, rope_max_seq_len)
        self.patch_embedding = nn.Conv3d(in_channels, dim, kernel_size=patch_size, stride=patch_size)
        self.condition_embedder = TimeEmbedding(dim, freq_dim)
        self.audio_proj = AudioProjection(
            speech_layers * speech_dim, dim, temporal_ratio, audio_tokens, audio_hidden_dim
        )
        self.blocks = nn.ModuleList(
            WanTransformerBlock(dim, ffn_dim, num_attention_heads, cross_attn_norm=cross_attn_norm, eps=eps)
            for _ in range(num_layers)
        )
        for block in self.blocks:
            block.attn2.set_processor(FramewiseAttnProcessor())
        self.norm_out = FP32LayerNorm(dim, eps, elementwise_affine=False)
        self.proj_out = nn.Linear(dim, out_channels * patch_size[0] * patch_size[1] * patch_size[2])
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, dim) / dim**0.5)
        self.gradient_checkpointing = False

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, encoder_hidden_states: Tensor, return_dict: bool = True
    ) -> AsymTalkerTransformerOutput | tuple[Tensor]:
        """Predicts the flow of a window.

        Args:
            hidden_states: noisy latents and TRE latents along channels, (B, 2C, 1 + m, h, w).
            timestep: 1000·σ, (B,).
            encoder_hidden_states: speech features ±2 frames around each frame, (B, 1 + r·m, 5, layers, dim).

        Returns:
            The flow (B, C, 1 + m, h, w).
        """
        frames = hidden_states.shape[2]
        grid = [size // patch for size, patch in zip(hidden_states.shape[2:], self.config.patch_size, strict=True)]
        rotary_emb = self.rope(hidden_states)
        hidden_states = self.patch_embedding(hidden_states).flatten(2).transpose(1, 2).contiguous()
        temb, modulation = self.condition_embedder(timestep, hidden_states.dtype)
        tokens = self.audio_proj(encoder_hidden_states.to(hidden_states.dtype))
        if tokens.shape[1] != frames:
            raise ValueError(f"The speech features cover {tokens.shape[1]} latent frames, the latents have {frames}.")

        for block in self.blocks:
            if torch.is_grad_enabled() and self.gradient_checkpointing:
                hidden_states = self._gradient_checkpointing_func(block, hidden_states, tokens, modulation, rotary_emb)
            else:
                hidden_states = block(hidden_states, tokens, modulation, rotary_emb)

        shift, scale = (self.scale_shift_table + temb.unsqueeze(1)).chunk(2, dim=1)
        hidden_states = (self.norm_out(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)
        sample = self._unpatchify(self.proj_out(hidden_states), grid)
        return AsymTalkerTransformerOutput(sample) if return_dict else (sample,)

    def _unpatchify(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(b, t·h·w, pt·ph·pw·c) -> (b, c, t·pt, h·ph, w·pw)"""
        x = tokens.unflatten(2, (*self.config.patch_size, -1)).unflatten(1, grid)
        return x.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
