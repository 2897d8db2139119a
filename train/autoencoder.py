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
from diffusers import FlowMatchEulerDiscreteScheduler, ModelMixin
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import WindowLayout
from asymtalker.conditioning import still
from asymtalker.models import (
    AsymTalkerTransformer3DModel,
    AutoencoderPatchKLT,
    LandmarkSpeechEncoder,
    LogMelSpeechEncoder,
)
from asymtalker.renderer.motion_frame import CHANNELS
from asymtalker.renderer.renderer import FaceRenderer
from train.config import DataSettings, parse_settings, start_logging
from train.data import WindowDataset, WindowLaw, to_unit
from train.face_model import FaceModel
from train.loop import explained
from train.recordings import few_recordings
from train.views import Recording

logger = logging.getLogger(__name__)

TEMPORAL_RATIO = 4


@dataclass(frozen=True, kw_only=True)
class AutoencoderSettings(DataSettings):
    """Attributes:
    output: folder for the pipeline.
    latent_channels: components kept.
    patch: side of a patch in pixels.
    motion_weight: how much more what moves within a patch counts in the choice of components.
    whitening: latents are divided by std^whitening, between 0 (components keep their scale) and 1 (all equal).
    windows: windows that the covariance is estimated from.
    window_frames, continuity_frames, live_window_frames: the window; see `AsymTalkerPipeline`.
    shift: of the flow-matching schedule.
    width, heads, layers, ffn_dim, audio_tokens, audio_hidden_dim: of the transformer.
    speech_encoder: folder of a speech encoder (`train/speech.py`); None: log-mel features.
    renderer: folder of the renderer that a checkpoint of motion frames gets (`train/renderer.py`).
    """

    output: str
    latent_channels: int = 128
    patch: int = 16
    motion_weight: float = 10.0
    whitening: float = 0.5
    windows: int = 1500
    window_frames: int = 21
    continuity_frames: int = 5
    live_window_frames: int | None = None
    shift: float = 3.0
    width: int = 256
    heads: int = 4
    layers: int = 8
    ffn_dim: int = 1024
    audio_tokens: int = 8
    audio_hidden_dim: int = 256
    speech_encoder: str | None = None
    renderer: str | None = None


@torch.no_grad()
def fit(
    vae: AutoencoderPatchKLT,
    windows: Iterable[Tensor],
    whitening: float,
    motion_weight: float = 0.0,
    mirror: bool = True,
) -> None:
    """Sets mean, basis and latent statistics of an autoencoder to those of windows (B, C, F, H, W) in [-1, 1].

    Motion has little energy. Where it is lost the frames of a patch come out too much alike, and the video steps from
    patch to patch; `motion_weight` times the covariance of what differs from a patch's mean over time is added, to have
    it kept. With `mirror`, mirror images count as well: faces are about symmetric, and the basis should be.
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
    moving = square.view(*(vae.config.in_channels, frames_per_patch, side**2) * 2)
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


def reconstruction_psnr(vae: AutoencoderPatchKLT, windows: list[Tensor]) -> float:
    """Mean PSNR in dB of decoded windows, frames in [0, 1]."""
    errors = [((vae(window).sample - window) / 2).square().mean((1, 2, 3, 4)).clamp(min=1e-10) for window in windows]
    return float((-10 * torch.cat(errors).log10()).mean())


def main(argv: list[str] | None = None) -> None:
    start_logging()
    settings = parse_settings(AutoencoderSettings, __doc__, argv)
    recordings, held_out = explained(few_recordings, settings, settings.window_frames + 1)
    torch.manual_seed(settings.seed)
    layout = WindowLayout(settings.window_frames, settings.continuity_frames, TEMPORAL_RATIO)
    moves = settings.face_model is not None
    vae = AutoencoderPatchKLT(
        in_channels=CHANNELS if moves else 3,
        latent_channels=settings.latent_channels,
        scale_factor_spatial=1 if moves else settings.patch,
        scale_factor_temporal=TEMPORAL_RATIO,
    )
    source = settings.speech_encoder
    encoder = LogMelSpeechEncoder() if source is None else LandmarkSpeechEncoder.from_pretrained(source)
    windows = _windows(recordings, layout, encoder, settings, settings.windows)
    fit(vae, windows, settings.whitening, settings.motion_weight, mirror=not moves)
    for name, part in (("training", recordings), ("held-out", held_out)):
        if part:
            found = reconstruction_psnr(vae, _windows(part, layout, encoder, settings, 64))
            logger.info("%s recordings: %.2f dB", name, found)
    transformer = build_transformer(encoder, settings)
    pipeline = AsymTalkerPipeline(
        transformer=transformer,
        vae=vae,
        speech_encoder=encoder,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=settings.shift),
        renderer=explained(build_renderer, settings) if moves else None,
        window_frames=settings.window_frames,
        continuity_frames=settings.continuity_frames,
        live_window_frames=settings.live_window_frames,
        num_inference_steps=20,
    )
    pipeline.save_pretrained(settings.output)
    logger.info("%.1f M parameters, saved to %s", transformer.num_parameters() / 1e6, settings.output)


def build_transformer(encoder: ModelMixin, settings: AutoencoderSettings) -> AsymTalkerTransformer3DModel:
    """A fresh network: a token for each latent pixel."""
    side = 1 if settings.face_model is not None else settings.size // settings.patch
    return AsymTalkerTransformer3DModel(
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
        sample_size=(side, side),
    )


def build_renderer(settings: AutoencoderSettings) -> FaceRenderer:
    """The renderer of a checkpoint of motion frames, which are measured from the face model's mean face.

    Raises:
        ValueError: there is no renderer, or no face model.
    """
    if settings.renderer is None:
        raise ValueError("renderer: a checkpoint of motion frames needs one; `train/renderer.py` trains it.")
    renderer = FaceRenderer.from_pretrained(settings.renderer)
    model = FaceModel.load(settings.face_model)
    renderer.adopt(model.skull, model.mean)
    return renderer


def _windows(
    recordings: list[Recording],
    layout: WindowLayout,
    encoder: ModelMixin,
    settings: AutoencoderSettings,
    count: int,
    batch_size: int = 8,
) -> list[Tensor]:
    dataset = WindowDataset(recordings, [layout], encoder, settings.size, WindowLaw(cold_start=0.0), settings.seed)
    batches = int(np.ceil(count / batch_size))
    loader = torch.utils.data.DataLoader(dataset, batch_size, sampler=range(batches * batch_size))
    return [to_unit(batch["window"]) for batch in loader]


if __name__ == "__main__":
    main()
