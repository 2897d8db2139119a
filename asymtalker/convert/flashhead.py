"""SoulX-FlashHead 1.3B (arXiv 2602.07449), Pro and Lite."""

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan
from torch import Tensor

from asymtalker.conditioning import temporal_ratio
from asymtalker.convert.files import fetch, find, new_folder, open_weights, read_config, write_model
from asymtalker.convert.parts import (
    SPEECH_ENCODER,
    Variant,
    assemble,
    check_stride,
    latent_size,
    write_pipeline,
    write_speech_encoder,
    write_vae,
)
from asymtalker.convert.wan import write_original_vae
from asymtalker.models import AsymTalkerTransformer3DModel, Wav2Vec2SpeechEncoder
from asymtalker.pipeline import AsymTalkerPipeline

FLASHHEAD = "Soul-AILab/SoulX-FlashHead-1_3B"

_MODELS: dict[Variant, str] = {"pro": "Model_Pro", "lite": "Model_Lite"}
_VAES: dict[Variant, str] = {"pro": "VAE_Wan/Wan2.1_VAE.pth", "lite": "VAE_LTX"}
_SETTINGS = {"color_match": 1.0, "first_continuity_frames": 1}
_UNUSED = ("text_embedding.", "audio_emb.")
_CONFIG = (
    "dim",
    "ffn_dim",
    "freq_dim",
    "eps",
    "num_heads",
    "num_layers",
    "in_dim",
    "out_dim",
    "vae_stride",
    "patch_size",
)

_RENAMES = (
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"^head\.head\.", "proj_out."),
    (r"^(head|blocks\.\d+)\.modulation$", r"\1.scale_shift_table"),
    (r"^head\.", ""),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.(attn\d)\.([qkv])\.", r".\1.to_\2."),
    (r"\.(attn\d)\.o\.", r".\1.to_out.0."),
    (r"\.norm3\.", ".norm2."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
)


def convert_flashhead(
    output: str | Path,
    variant: Variant,
    source: str | Path = FLASHHEAD,
    speech_encoder: str | Path = SPEECH_ENCODER,
    size: int = 512,
) -> None:
    """Makes a pipeline folder of a published FlashHead checkpoint.

    The settings are the published ones: windows of 33 frames, four steps with shift 5, frames matched in Lab colour to
    the portrait, and a first window that starts from a single latent frame of the reference.

    Args:
        output: folder to make.
        variant: "pro" (Wan 2.1's autoencoder) or "lite" (LTX-Video's).
        source, speech_encoder: folders or Hub ids.
        size: side of the frames in pixels; the weights were trained at 512.

    Raises:
        ValueError: a source is not what it should be; every name that does not fit is told.
        OSError: the Hub cannot be reached, or the folder cannot be written.
    """
    with new_folder(Path(output)) as folder:
        root = fetch(source, [f"{_MODELS[variant]}/*", f"{_VAES[variant].split('/')[0]}/*"])
        published, autoencoder = find(root, _MODELS[variant]), find(root, _VAES[variant])
        if variant == "pro":
            vae = write_original_vae(autoencoder, folder / "vae")
        else:
            vae = write_vae(AutoencoderKLLTXVideo, autoencoder, folder / "vae")
        encoder = write_speech_encoder(speech_encoder, folder / "speech_encoder")
        config, weights = read_config(published, _CONFIG), rename_weights(open_weights(published))
        check_stride(vae, config["vae_stride"], config["out_dim"])
        sample_size = latent_size(vae, config["patch_size"], size)
        transformer = build_transformer(config, weights, encoder, sample_size)
        write_model(transformer, weights, folder / "transformer", str(published))
        write_pipeline(folder, transformer, vae, encoder, variant, **_SETTINGS)


def outline_flashhead(variant: Variant, size: int = 512) -> AsymTalkerPipeline:
    """What `convert_flashhead` makes of the published files, on the meta device and without them.

    The transformer's sizes are the published ones, the autoencoders are diffusers' own Wan 2.1 and LTX-Video.

    Raises:
        ValueError: `size` does not divide into patches.
    """
    with torch.device("meta"):
        vae = AutoencoderKLWan() if variant == "pro" else AutoencoderKLLTXVideo()
        encoder = Wav2Vec2SpeechEncoder()
        patch_size = (1, 2, 2) if variant == "pro" else (1, 1, 1)
        channels = vae.config.z_dim if variant == "pro" else vae.config.latent_channels
        transformer = AsymTalkerTransformer3DModel(
            patch_size=patch_size,
            in_channels=2 * channels,
            out_channels=channels,
            temporal_ratio=temporal_ratio(vae),
            sample_size=latent_size(vae, patch_size, size),
        )
        pipeline = assemble(transformer, vae, encoder, variant, **_SETTINGS)
    return pipeline.to("meta")  # a model of transformers makes some of its parameters on the CPU whatever it is told


def rename_weights(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives a published transformer's tensors this project's names, and leaves out those that it never uses."""
    return {rename(name): tensor for name, tensor in published.items() if not name.startswith(_UNUSED)}


def rename(name: str) -> str:
    """The name in AsymTalkerTransformer3DModel of a published parameter."""
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def build_transformer(
    config: dict[str, Any], weights: dict[str, Tensor], encoder: Wav2Vec2SpeechEncoder, sample_size: tuple[int, int]
) -> AsymTalkerTransformer3DModel:
    """The transformer of a published configuration, on the meta device.

    Args:
        weights: renamed; they give the sizes of the audio projection, which the configuration leaves out.
    """
    audio = {name: weights.get(f"audio_proj.{name}.weight") for name in ("proj1", "proj3")}
    if missing := [name for name, tensor in audio.items() if tensor is None]:
        raise ValueError(f"The checkpoint has no audio_proj.{missing[0]}.weight: it is no FlashHead transformer.")
    with torch.device("meta"):
        return AsymTalkerTransformer3DModel(
            patch_size=tuple(config["patch_size"]),
            num_attention_heads=config["num_heads"],
            attention_head_dim=config["dim"] // config["num_heads"],
            in_channels=config["in_dim"],
            out_channels=config["out_dim"],
            speech_layers=encoder.layers,
            speech_dim=encoder.feature_dim,
            audio_tokens=audio["proj3"].shape[0] // config["dim"],
            audio_hidden_dim=audio["proj1"].shape[0],
            temporal_ratio=config["vae_stride"][0],
            freq_dim=config["freq_dim"],
            ffn_dim=config["ffn_dim"],
            num_layers=config["num_layers"],
            eps=config["eps"],
            sample_size=sample_size,
        )
