"""The window contract: everything a window is made of, for training and for inference alike.

A window of `1 + r·m` frames is encoded by itself. Its temporal reference (TRE) is the portrait held still for as many
frames, encoded the same way; its continuity reference κ is the last `1 + r·(K−1)` frames before the chunk, encoded
again; its speech features come from a fixed span of sound around it. Training and the pipeline call these functions
and no others, so a network never meets an input at inference that its training did not show it.

Sources: TRE and κ are arXiv 2605.02948; concatenation along channels, re-encoding of κ, the Lab match and the ±2-frame
speech windows follow public systems of the same family; one contract for every window is a decision of this project.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from torch import Tensor

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.models.transformer import SPEECH_WINDOW

ReferenceMode = Literal["temporal", "static"]


def temporal_ratio(vae: ModelMixin) -> int:
    """Frames per latent frame after the first."""
    ratio = getattr(vae, "temporal_compression_ratio", None)
    return ratio or vae.config.scale_factor_temporal


def spatial_ratio(vae: ModelMixin) -> int:
    """Pixels per latent pixel."""
    ratio = getattr(vae, "spatial_compression_ratio", None)
    return ratio or vae.config.scale_factor_spatial


def latent_statistics(vae: ModelMixin, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the autoencoder's latents per channel, (C, 1, 1, 1) each."""
    buffers = dict(vae.named_buffers())  # LTX-Video keeps its statistics there, the others in the configuration
    mean, std = (
        torch.as_tensor(_first_set(vae.config.get(name), buffers.get(name), default))
        for name, default in (("latents_mean", 0.0), ("latents_std", 1.0))
    )
    std = std / vae.config.get("scaling_factor", 1.0)
    return tuple(value.to(like, non_blocking=True).reshape(-1, 1, 1, 1) for value in (mean, std))


def encode_frames(vae: ModelMixin, frames: Tensor) -> Tensor:
    """Encodes frames (B, 3, 1 + r·m, H, W) in [-1, 1] to normalised latents (B, C, 1 + m, h, w) in float32."""
    latents = vae.encode(frames.to(vae.dtype)).latent_dist.mode().float()
    mean, std = latent_statistics(vae, latents)
    return (latents - mean) / std


def decode_latents(vae: ModelMixin, latents: Tensor) -> Tensor:
    """Decodes normalised latents (B, C, 1 + m, h, w) to frames (B, 3, 1 + r·m, H, W) in [-1, 1], float32."""
    mean, std = latent_statistics(vae, latents.float())
    return vae.decode((latents.float() * std + mean).to(vae.dtype)).sample.float().clamp(-1, 1)


def temporal_reference(
    vae: ModelMixin, portrait: Tensor, layout: WindowLayout, mode: ReferenceMode = "temporal"
) -> Tensor:
    """Encodes the identity image as a window of its own, `z_ref`.

    Args:
        portrait: (B, 3, H, W) in [-1, 1].
        mode: "temporal" encodes the portrait repeated over the window (TRE); "static" encodes the single image and
            fills the other latent frames with zeros, as image-to-video models do (the paper's ablation).

    Returns:
        (B, C, 1 + m, h, w).

    Raises:
        ValueError: if there is no such mode.
    """
    if mode not in get_args(ReferenceMode):
        raise ValueError(f'reference_mode must be "temporal" or "static", not "{mode}".')
    if mode == "temporal":
        return encode_frames(vae, still(portrait, layout.window_frames))
    first = encode_frames(vae, portrait.unsqueeze(2))
    return F.pad(first, (0, 0, 0, 0, 0, layout.latent_frames - 1))


def continuity_reference(vae: ModelMixin, past: Tensor, layout: WindowLayout) -> Tensor:
    """Encodes the frames before a chunk as its continuity reference κ.

    Args:
        past: at least the last `continuity_frames` frames, (B, 3, F, H, W) in [-1, 1].

    Returns:
        (B, C, K, h, w).
    """
    return encode_frames(vae, past[:, :, -layout.continuity_frames :])


def still(portrait: Tensor, frames: int) -> Tensor:
    """Holds an image (B, 3, H, W) still: (B, 3, frames, H, W)."""
    return portrait.unsqueeze(2).expand(-1, -1, frames, -1, -1)


def speech_span(encoder: ModelMixin, layout: WindowLayout) -> tuple[int, int]:
    """Frames of sound that a window's features are made from: up to its end, and after it."""
    margin = SPEECH_WINDOW // 2 + 1
    return max(encoder.context_frames, layout.window_frames + margin), encoder.lookahead_frames


def cut_speech(waveform: Tensor, window_start: int, layout: WindowLayout, span: tuple[int, int]) -> Tensor:
    """Cuts the sound of a window out of 16 kHz speech; what lies outside the speech is silence.

    Args:
        waveform: (..., samples), sample 0 at frame 0.
        window_start: first frame of the window, possibly negative.
        span: see `speech_span`.

    Returns:
        (..., 640 · (span[0] + span[1])).
    """
    end = window_start + layout.window_frames
    first, last = (end - span[0]) * SAMPLES_PER_FRAME, (end + span[1]) * SAMPLES_PER_FRAME
    inside = waveform[..., max(first, 0) : max(last, 0)]
    before = min(max(-first, 0), last - first)
    return F.pad(inside, (before, last - first - before - inside.shape[-1]))


def speech_windows(encoder: ModelMixin, segments: Tensor, layout: WindowLayout) -> Tensor:
    """Encodes the sound of windows to speech features, ±2 frames around each frame.

    Args:
        segments: from `cut_speech`, (B, samples).

    Returns:
        (B, 1 + r·m, 5, layers, dim); indices past the end of the sound are clamped to it.
    """
    context, lookahead = speech_span(encoder, layout)
    features = encoder(segments)
    reach = SPEECH_WINDOW // 2
    frames = torch.arange(context - layout.window_frames, context, device=features.device)
    offsets = torch.arange(-reach, reach + 1, device=features.device)
    return features[:, (frames[:, None] + offsets).clamp(max=context + lookahead - 1)]


def null_speech(windows: Tensor) -> Tensor:
    """The condition without speech, for dropout in training and for guidance: zeroed features."""
    return torch.zeros_like(windows)


@dataclass
class Window:
    """One window of a real clip, as a network sees it.

    Attributes:
        latents: what is to be generated, the new latents (B, C, N, h, w).
        continuity: κ of the real past (B, C, K, h, w).
        reference: z_ref (B, C, 1 + m, h, w).
        speech: (B, 1 + r·m, 5, layers, dim).
    """

    latents: Tensor
    continuity: Tensor
    reference: Tensor
    speech: Tensor


def encode_window(
    vae: ModelMixin,
    encoder: ModelMixin,
    frames: Tensor,
    portrait: Tensor,
    segments: Tensor,
    layout: WindowLayout,
    mode: ReferenceMode = "temporal",
) -> Window:
    """Encodes windows of real clips for training.

    Args:
        frames: (B, 3, 1 + r·m, H, W) in [-1, 1].
        portrait: (B, 3, H, W) in [-1, 1].
        segments: sound from `cut_speech`, (B, samples).
    """
    latents = encode_frames(vae, frames)
    return Window(
        latents=latents[:, :, layout.continuity_latents :],
        continuity=latents[:, :, : layout.continuity_latents],
        reference=temporal_reference(vae, portrait, layout, mode),
        speech=speech_windows(encoder, segments, layout),
    )


class SpeechBuffer:
    """The tail of a running recording, or of several of one length: takes sound as it comes, hands out that of windows.

    Attributes:
        samples: of each recording so far.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._tail = torch.zeros(0)

    def append(self, samples: Tensor) -> None:
        """Adds 16 kHz samples (n,), or (B, n) of several recordings."""
        tail = self._tail if self.samples else samples[..., :0]
        self._tail = torch.cat([tail.float(), samples.float()], dim=-1)
        self.samples += samples.shape[-1]

    def cut(self, window_start: int, layout: WindowLayout, span: tuple[int, int]) -> Tensor:
        """`cut_speech` for a window, (..., samples); forgets whole frames that no later window can need."""
        origin = (self.samples - self._tail.shape[-1]) // SAMPLES_PER_FRAME
        segment = cut_speech(self._tail, window_start - origin, layout, span)
        keep_from = max(window_start + layout.window_frames - span[0], 0)
        self._tail = self._tail[..., max(keep_from - origin, 0) * SAMPLES_PER_FRAME :]
        return segment


def _first_set(*values: object) -> object:
    return next(value for value in values if value is not None)
