"""Wan 2.1 T2V 1.3B, from which training of `pro` starts, and its autoencoder in the original layout."""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from torch import Tensor, nn

from asymtalker.conditioning import temporal_ratio
from asymtalker.convert.files import fetch, find, new_folder, open_weights, read_config, write_model
from asymtalker.convert.parts import (
    SPEECH_ENCODER,
    Variant,
    latent_size,
    write_pipeline,
    write_speech_encoder,
    write_vae,
)
from asymtalker.models import AsymTalkerTransformer3DModel

WAN = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers"
LTX_VIDEO = "Lightricks/LTX-Video"

_CONFIG = (
    "num_attention_heads",
    "attention_head_dim",
    "freq_dim",
    "ffn_dim",
    "num_layers",
    "cross_attn_norm",
    "eps",
    "rope_max_seq_len",
)
_TEXT = "condition_embedder.text_embedder."


def convert_wan(
    output: str | Path,
    variant: Variant = "pro",
    source: str | Path = WAN,
    vae: str | Path | None = None,
    speech_encoder: str | Path = SPEECH_ENCODER,
    size: int = 512,
    seed: int = 0,
) -> None:
    """Makes a pipeline folder to start training from: it moves, but knows neither portraits nor speech yet.

    All blocks are Wan's, text cross-attention becoming audio cross-attention. The input takes the reference's channels
    with weights of zero, so the network starts out as Wan's; the audio projection is new. For "lite" the layers that
    touch latents are new as well, as they are LTX-Video's latents. Frames are not matched in colour, as they are not
    in training's rollouts.

    Args:
        output: folder to make.
        source, vae, speech_encoder: folders or Hub ids; the autoencoder is in the folder `vae` of its own, by default
            Wan's for "pro" and LTX-Video's for "lite".
        size: side of the frames in pixels.
        seed: of the new parameters.

    Raises:
        ValueError: a source is not what it should be; every name that does not fit is told.
        OSError: the Hub cannot be reached, or the folder cannot be written.
    """
    kind = {"pro": AutoencoderKLWan, "lite": AutoencoderKLLTXVideo}[variant]
    with new_folder(Path(output)) as folder:
        root = fetch(source, ["transformer/*", "vae/*"] if variant == "pro" else ["transformer/*"])
        other = vae or (root if variant == "pro" else LTX_VIDEO)
        autoencoder = write_vae(kind, find(fetch(other, ["vae/*"]), "vae"), folder / "vae")
        encoder = write_speech_encoder(speech_encoder, folder / "speech_encoder")
        wan = find(root, "transformer")
        patch_size = (1, 2, 2) if variant == "pro" else (1, 1, 1)
        channels = autoencoder.config.z_dim if variant == "pro" else autoencoder.config.latent_channels
        with torch.device("meta"):
            transformer = AsymTalkerTransformer3DModel(
                **read_config(wan, _CONFIG),
                patch_size=patch_size,
                in_channels=2 * channels,
                out_channels=channels,
                speech_layers=encoder.layers,
                speech_dim=encoder.feature_dim,
                temporal_ratio=temporal_ratio(autoencoder),
                sample_size=latent_size(autoencoder, patch_size, size),
            )
        new = ["audio_proj"] if variant == "pro" else ["audio_proj", "patch_embedding", "proj_out"]
        weights = adapt_weights(open_weights(wan), transformer, new, seed)
        write_model(transformer, weights, folder / "transformer", str(wan))
        write_pipeline(folder, transformer, autoencoder, encoder, variant)


def adapt_weights(
    wan: dict[str, Tensor], transformer: AsymTalkerTransformer3DModel, new: Sequence[str], seed: int
) -> dict[str, Tensor]:
    """Turns the tensors of Wan's transformer into those of `transformer` (on the meta device).

    Args:
        new: modules that are initialised anew; where the patch embedding is not, it grows by the reference's channels.
        seed: of what is new.
    """
    weights = {name: tensor for name, tensor in wan.items() if not name.startswith(_TEXT)}
    patch = weights.get("patch_embedding.weight")
    if patch is not None:
        weights["patch_embedding.weight"] = torch.cat([patch, torch.zeros_like(patch)], dim=1)
    for name in new:
        fresh = _initialised(transformer.get_submodule(name), seed)
        weights |= {f"{name}.{key}": tensor for key, tensor in fresh.items()}
    return weights


def _initialised(module: nn.Module, seed: int) -> dict[str, Tensor]:
    """Parameters of a module on the meta device, as torch initialises them."""
    module = copy.deepcopy(module).to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for part in module.modules():
            if hasattr(part, "reset_parameters"):
                part.reset_parameters()
    return module.state_dict()


def write_original_vae(source: Path, folder: Path) -> AutoencoderKLWan:
    """Writes Wan 2.1's autoencoder from the file `Wan2.1_VAE.pth`; returns it on the meta device.

    Raises:
        ValueError: the file is damaged, or holds something else.
    """
    weights = convert_wan_vae_to_diffusers(open_weights(source))
    first = weights.get("encoder.conv_in.weight")
    if first is None:
        raise ValueError(f"{source} has no encoder.conv1.weight: it is not the autoencoder of Wan 2.1.")
    with torch.device("meta"):
        vae = AutoencoderKLWan(base_dim=first.shape[0])
    write_model(vae, weights, folder, str(source))
    return vae
