"""What converted checkpoints have in common: autoencoder, speech encoder, scheduler and settings."""

from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FlowMatchLCMScheduler, ModelMixin
from torch import Tensor
from transformers import Wav2Vec2Config

from asymtalker.conditioning import spatial_ratio, temporal_ratio
from asymtalker.convert.files import fetch, find, open_weights, read_config, write_model
from asymtalker.models import AsymTalkerTransformer3DModel, Wav2Vec2SpeechEncoder
from asymtalker.pipeline import AsymTalkerPipeline

Variant = Literal["pro", "lite"]

VARIANTS: dict[Variant, int] = {"pro": 5, "lite": 9}
"""Frames carried from window to window (κ): two latent frames of Wan 2.1's autoencoder, or of LTX-Video's."""

WINDOW_FRAMES = 33
STEPS = 4
SHIFT = 5.0
SPEECH_ENCODER = "facebook/wav2vec2-base-960h"

_CONFIG_OF_THE_FILE = ("architectures", "dtype", "model_type", "torch_dtype", "transformers_version")
_TRAINING = ("lm_head.", "quantizer.", "project_hid.", "project_q.", "wav2vec2.masked_spec_embed")


def write_vae(kind: type[ModelMixin], source: Path, folder: Path) -> ModelMixin:
    """Copies an autoencoder in diffusers' layout; returns it on the meta device."""
    with torch.device("meta"):
        vae = kind.from_config(kind.load_config(source))
    write_model(vae, open_weights(source), folder, str(source))
    return vae


def write_speech_encoder(source: str | Path, folder: Path) -> Wav2Vec2SpeechEncoder:
    """Writes a wav2vec2 of transformers as a speech encoder; returns it on the meta device.

    Args:
        source: a folder or a Hub id.

    Raises:
        ValueError: it is no such model, or not all of it is there.
    """
    root = fetch(source, ["config.json", "model.safetensors"])
    kind = read_config(root, ["model_type"])["model_type"]
    if kind != "wav2vec2":
        raise ValueError(f"{source} is a {kind}: the speech encoder must be a wav2vec2.")
    config = Wav2Vec2Config.from_pretrained(root, mask_time_prob=0.0, mask_feature_prob=0.0)  # it is never trained
    settings = {key: value for key, value in config.to_diff_dict().items() if key not in _CONFIG_OF_THE_FILE}
    with torch.device("meta"):
        encoder = Wav2Vec2SpeechEncoder(settings)
    weights = open_weights(find(root, "model.safetensors"))
    write_model(encoder, _rename_wav2vec2(weights), folder, str(source))
    return encoder


def _rename_wav2vec2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leaves out what only training needs, and names the normalised convolution as torch does since 2.0."""
    renamed = {}
    for name, tensor in weights.items():
        name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        name = name.replace("conv.weight_v", "conv.parametrizations.weight.original1")
        name = name if name.startswith(("wav2vec2.", *_TRAINING)) else f"wav2vec2.{name}"
        if not name.startswith(_TRAINING):
            renamed[name] = tensor
    return renamed


def latent_size(vae: ModelMixin, patch_size: tuple[int, int, int], size: int) -> tuple[int, int]:
    """Latent (height, width) of frames of `size` × `size` pixels.

    Raises:
        ValueError: `size` does not divide into patches.
    """
    multiple = spatial_ratio(vae) * patch_size[1]
    if size < multiple or size % multiple:
        raise ValueError(f"--size must be a multiple of {multiple}, not {size}.")
    return (size // spatial_ratio(vae),) * 2


def check_stride(vae: ModelMixin, stride: tuple[int, int, int], channels: int) -> None:
    """Raises ValueError if a transformer was made for another autoencoder."""
    spatial = spatial_ratio(vae)
    found = (temporal_ratio(vae), spatial, spatial), vae.config.get("z_dim") or vae.config.get("latent_channels")
    if found != (tuple(stride), channels):
        raise ValueError(
            f"The transformer wants latents of {channels} channels and strides {tuple(stride)}, its autoencoder makes "
            f"{found[1]} and {found[0]}: is it the right --variant?"
        )


def assemble(
    transformer: AsymTalkerTransformer3DModel,
    vae: ModelMixin,
    speech_encoder: Wav2Vec2SpeechEncoder,
    variant: Variant,
    **settings: Any,
) -> AsymTalkerPipeline:
    """A pipeline with the published windows, steps and schedule, and further settings of its own."""
    return AsymTalkerPipeline(
        transformer,
        vae,
        speech_encoder,
        FlowMatchLCMScheduler(shift=SHIFT),
        window_frames=WINDOW_FRAMES,
        continuity_frames=VARIANTS[variant],
        num_inference_steps=STEPS,
        **settings,
    )


def write_pipeline(
    folder: Path,
    transformer: AsymTalkerTransformer3DModel,
    vae: ModelMixin,
    speech_encoder: Wav2Vec2SpeechEncoder,
    variant: Variant,
    **settings: Any,
) -> None:
    """Writes what makes a pipeline of components that are there already: index, settings and scheduler."""
    pipeline = assemble(transformer, vae, speech_encoder, variant, **settings)
    pipeline.save_config(folder)
    pipeline.scheduler.save_pretrained(folder / "scheduler")
