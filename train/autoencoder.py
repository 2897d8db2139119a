"""Stage 0: fits the linear patch autoencoder in closed form and writes a pipeline folder with fresh networks.

accelerate launch train/autoencoder.py --config train/configs/tiny/autoencoder.yaml
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import WindowLayout
from asymtalker.conditioning import encode_window, speech_span, still
from asymtalker.models import AsymTalkerTransformer3DModel, AutoencoderPatchKLT, LogMelSpeechEncoder
from asymtalker.models.gestures import coarse_movement
from asymtalker.models.motion import warp
from train.clips import Clip, few_clips
from train.config import DataSettings, parse_settings, start_logging
from train.data import WindowDataset, WindowLaw, to_unit, window_displacement
from train.gestures import fit_gestures
from train.loop import explained, open_pipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(DataSettings):
    """Attributes:
    output: folder for the pipeline.
    latent_channels: components kept.
    patch: side of a patch in pixels.
    motion_weight: how much more what moves within a patch counts in the choice of components.
    whitening: latents are divided by std^whitening, between 0 (components keep their scale) and 1 (all equal).
    windows: windows that the covariance is estimated from.
    window_frames, continuity_frames: the window.
    shift: of the flow-matching schedule.
    width, heads, layers, ffn_dim, audio_tokens, audio_hidden_dim: of the transformer.
    motion_prior: whether the transformer displaces the portrait; without, it paints every frame, as the published one.
    speech_encoder: checkpoint whose speech encoder is taken over; None: log-mel features.
    """

    output: str
    latent_channels: int = 128
    patch: int = 16
    motion_weight: float = 10.0
    whitening: float = 0.5
    windows: int = 1500
    window_frames: int = 21
    continuity_frames: int = 5
    shift: float = 3.0
    width: int = 256
    heads: int = 4
    layers: int = 8
    ffn_dim: int = 1024
    audio_tokens: int = 8
    audio_hidden_dim: int = 256
    motion_prior: bool = True
    speech_encoder: str | None = None


@torch.no_grad()
def fit(
    vae: AutoencoderPatchKLT,
    windows: Iterable[Tensor],
    whitening: float,
    motion_weight: float = 0.0,
    mirror: bool = True,
) -> None:
    """Sets mean, basis and latent statistics of an autoencoder to those of windows (B, 3, F, H, W) in [-1, 1].

    Motion has little energy. Where it is lost the frames of a patch come out too much alike, and the video steps from
    patch to patch; `motion_weight` times the covariance of what differs from a patch's mean over time is added, to have
    it kept. Mirror images count as well: faces are about symmetric, and the basis should be.
    """
    dim, frames_per_patch, side = vae.mean.shape[0], vae.config.scale_factor_temporal, vae.config.scale_factor_spatial
    count, total, square = 0, torch.zeros(dim, dtype=torch.float64), torch.zeros(dim, dim, dtype=torch.float64)
    vae.mean.zero_()
    for window in windows:
        patches = vae._patches(torch.cat([still(window[:, :, 0], frames_per_patch), window[:, :, 1:]], dim=2))
        patches = patches.reshape(-1, dim)
        count += len(patches)
        total += patches.double().sum(0)
        square += (patches.T @ patches).double()
    if mirror:  # the patches of a mirrored image are its patches, mirrored
        mirrored = torch.arange(dim).unflatten(0, (-1, side)).flip(1).flatten()
        count, total, square = 2 * count, total + total[mirrored], square + square[mirrored][:, mirrored]
    moving = square.view(*(3, frames_per_patch, side**2) * 2)
    moving = moving - moving.mean(1, keepdim=True)  # as if a patch's mean over time were taken from it
    moving = (moving - moving.mean(4, keepdim=True)).reshape(dim, dim)
    mean = total / count
    covariance = square / count - torch.outer(mean, mean)
    basis = torch.linalg.eigh((covariance + motion_weight * moving / count).float()).eigenvectors
    basis = basis.flip(1)[:, : vae.config.latent_channels]
    values = (basis * (covariance.float() @ basis)).sum(0).clamp(min=0)
    vae.mean.copy_(mean)
    vae.basis.copy_(basis)
    scale = values.sqrt().clamp(min=1e-6) ** whitening
    scale = scale * (values / scale**2).mean().sqrt()  # overall variance 1
    vae.register_to_config(latents_mean=[0.0] * len(scale), latents_std=scale.tolist())
    logger.info("%d components keep %.2f %% of the variance", len(scale), 100 * values.sum() / covariance.trace())


@torch.no_grad()
def fit_prior(
    transformer: AsymTalkerTransformer3DModel,
    vae: AutoencoderPatchKLT,
    encoder: LogMelSpeechEncoder,
    batches: list[dict],
    layout: WindowLayout,
) -> None:
    """Gives the motion prior the autoencoder's basis and principal movements, and measures what they leave open."""
    motion = transformer.motion
    motion.adopt(vae)
    static, held, rests, movements = [], [], [], []
    for batch in batches:
        frames, portrait = to_unit(batch["window"]), to_unit(batch["portrait"])
        window = encode_window(vae, encoder, frames, portrait, batch["segment"], layout)
        noise_free = torch.cat([window.continuity, window.latents], dim=2)
        seen, _ = motion.observe(noise_free, window.reference, torch.zeros(len(frames)), window.speech)
        held_image = warp(seen.portrait, seen.start).unsqueeze(2).expand(-1, -1, layout.temporal_ratio, -1, -1)
        displacement = window_displacement(batch, portrait, frames, layout.continuity_frames)
        movements.append(coarse_movement(displacement))
        guess = motion.guess(seen, displacement[:, :, 2:], window.speech, blinking=False)
        rests.append((window.latents - guess).square().mean((0, 3, 4)))
        held.append((window.latents - motion.project(held_image)).square().mean())
        static.append((window.latents - window.reference[:, :, layout.continuity_latents :]).square().mean())
    rest = torch.stack(rests).mean(0)  # c n
    motion.deviation[layout.continuity_latents :] = rest.sqrt().T.clamp(min=1e-3)
    logger.info(
        "of a latent's variance the portrait leaves %.3f open, held where κ is %.3f, displaced frame by frame %.3f",
        torch.stack(static).mean(),
        torch.stack(held).mean(),
        rest.mean(),
    )
    shares = fit_gestures(motion.gestures, torch.cat(movements))
    logger.info("of a head's movement %.3f is to be expected, principal movements show %.3f of the rest", *shares)


def reconstruction_psnr(vae: AutoencoderPatchKLT, windows: list[Tensor]) -> float:
    """Mean PSNR in dB of decoded windows, frames in [0, 1]."""
    errors = [((vae(window).sample - window) / 2).square().mean((1, 2, 3, 4)).clamp(min=1e-10) for window in windows]
    return float((-10 * torch.cat(errors).log10()).mean())


def main(argv: list[str] | None = None) -> None:
    start_logging()
    settings = parse_settings(AutoencoderSettings, __doc__, argv)
    clips, held_out = explained(few_clips, settings, settings.window_frames + 1)
    torch.manual_seed(settings.seed)
    layout = WindowLayout(settings.window_frames, settings.continuity_frames, temporal_ratio=4)
    vae = AutoencoderPatchKLT(
        latent_channels=settings.latent_channels, scale_factor_spatial=settings.patch, scale_factor_temporal=4
    )
    source = settings.speech_encoder
    encoder = LogMelSpeechEncoder() if source is None else open_pipeline(source).speech_encoder
    span = speech_span(encoder, layout)
    batches = _batches(clips, layout, span, settings)
    fit(vae, (to_unit(batch["window"]) for batch in batches), settings.whitening, settings.motion_weight)
    for name, part in (("training", clips), ("held-out", held_out)):
        if part:
            windows = [to_unit(batch["window"]) for batch in _batches(part, layout, span, settings, count=64)]
            logger.info("%s clips: %.2f dB", name, reconstruction_psnr(vae, windows))
    transformer = AsymTalkerTransformer3DModel(
        patch_size=(1, 1, 1),
        num_attention_heads=settings.heads,
        attention_head_dim=settings.width // settings.heads,
        in_channels=2 * settings.latent_channels,
        out_channels=settings.latent_channels,
        speech_layers=encoder.layers,
        speech_dim=encoder.feature_dim,
        audio_tokens=settings.audio_tokens,
        audio_hidden_dim=settings.audio_hidden_dim,
        ffn_dim=settings.ffn_dim,
        num_layers=settings.layers,
        sample_size=(settings.size // settings.patch,) * 2,
        motion_prior=(layout.latent_frames, layout.continuity_latents) if settings.motion_prior else None,
        spatial_ratio=settings.patch,
    )
    if settings.motion_prior:
        fit_prior(transformer, vae, encoder, batches, layout)
    pipeline = AsymTalkerPipeline(
        transformer=transformer,
        vae=vae,
        speech_encoder=encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=settings.shift),
        window_frames=settings.window_frames,
        continuity_frames=settings.continuity_frames,
        num_inference_steps=20,
    )
    pipeline.save_pretrained(settings.output)
    logger.info("%.1f M parameters, saved to %s", transformer.num_parameters() / 1e6, settings.output)


def _batches(
    clips: list[Clip],
    layout: WindowLayout,
    span: tuple[int, int],
    settings: AutoencoderSettings,
    count: int | None = None,
    batch_size: int = 8,
) -> list[dict]:
    dataset = WindowDataset(clips, layout, span, settings.size, WindowLaw(cold_start=0.0), settings.seed)
    batches = int(np.ceil((count or settings.windows) / batch_size))
    return list(torch.utils.data.DataLoader(dataset, batch_size, sampler=range(batches * batch_size)))


if __name__ == "__main__":
    main()
