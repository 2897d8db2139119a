"""Random weights at tiny sizes in the layouts that are public: what the Hub would have given."""

import json
import zlib
from pathlib import Path

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from tests.models.test_speech import TINY_WAV2VEC2

GOLDEN = json.loads((Path(__file__).parent / "golden" / "flashhead_pro.json").read_text())
SIZE = 64
WAN_CHANNELS, LTX_CHANNELS = 16, 8  # Wan's statistics belong to 16 channels

PRO = {
    "dim": 24,
    "ffn_dim": 32,
    "freq_dim": 32,
    "text_dim": 8,
    "eps": 1e-6,
    "num_heads": 2,
    "num_layers": 2,
    "has_image_input": False,
    "in_dim": 2 * WAN_CHANNELS,
    "out_dim": WAN_CHANNELS,
    "vae_stride": [4, 8, 8],
    "patch_size": [1, 2, 2],
}
LITE = PRO | {
    "in_dim": 2 * LTX_CHANNELS,
    "out_dim": LTX_CHANNELS,
    "vae_stride": [8, 32, 32],
    "patch_size": [1, 1, 1],
}
FULL_LITE = GOLDEN["config"] | {
    "in_dim": 256,
    "out_dim": 128,
    "vae_stride": [8, 32, 32],
    "patch_size": [1, 1, 1],
}


def flashhead_shapes(config: dict, features: int, hidden: int = 512, tokens: int = 32, speech_dim: int = 768) -> dict:
    """Names and shapes of a published transformer.

    Args:
        features: speech features of one frame, layers × dim.
        hidden, tokens: of the audio projection.
        speech_dim: of the unused audio embedding.
    """
    dim, ffn = config["dim"], config["ffn_dim"]
    patch = config["patch_size"][0] * config["patch_size"][1] * config["patch_size"][2]
    linears = {
        "text_embedding.0": (dim, config["text_dim"]),
        "text_embedding.2": (dim, dim),
        "time_embedding.0": (dim, config["freq_dim"]),
        "time_embedding.2": (dim, dim),
        "time_projection.1": (6 * dim, dim),
        "head.head": (patch * config["out_dim"], dim),
        "audio_emb.proj.1": (speech_dim, speech_dim),
        "audio_emb.proj.3": (dim, speech_dim),
        "audio_proj.proj1": (hidden, 5 * features),
        "audio_proj.proj1_vf": (hidden, (config["vae_stride"][0] + 4) * features),
        "audio_proj.proj2": (hidden, hidden),
        "audio_proj.proj3": (tokens * dim, hidden),
        "patch_embedding": (dim, config["in_dim"], *config["patch_size"]),
    }
    norms = {"audio_emb.proj.0": speech_dim, "audio_emb.proj.4": dim, "audio_proj.norm": dim}
    shapes = {"head.modulation": (1, 2, dim)}
    for block in (f"blocks.{index}" for index in range(config["num_layers"])):
        shapes[f"{block}.modulation"] = (1, 6, dim)
        norms[f"{block}.norm3"] = dim
        linears |= {f"{block}.ffn.0": (ffn, dim), f"{block}.ffn.2": (dim, ffn)}
        for attention in ("self_attn", "cross_attn"):
            linears |= {f"{block}.{attention}.{name}": (dim, dim) for name in "qkvo"}
            shapes |= {f"{block}.{attention}.norm_{name}.weight": (dim,) for name in "qk"}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return shapes


def named_weights(shapes: dict, scale: float = 0.02) -> dict[str, torch.Tensor]:
    """Weights that follow from their names: the rule of the golden output."""
    weights = {}
    for name, shape in shapes.items():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        weights[name] = torch.randn(tuple(shape), generator=generator) * scale
        if "norm" in name and name.endswith("weight"):
            weights[name] += 1.0
    return weights


def write_transformer(folder: Path, config: dict, weights: dict[str, torch.Tensor]) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "diffusion_pytorch_model.safetensors")


def write_flashhead(root: Path) -> Path:
    """A tiny `Soul-AILab/SoulX-FlashHead-1_3B`, Pro and Lite."""
    features = TINY_WAV2VEC2["num_hidden_layers"] * TINY_WAV2VEC2["hidden_size"]
    for name, config in (("Model_Pro", PRO), ("Model_Lite", LITE)):
        shapes = flashhead_shapes(config, features, hidden=12, tokens=3, speech_dim=10)
        write_transformer(root / name, config, named_weights(shapes, scale=0.2))
    (root / "VAE_Wan").mkdir()
    torch.save(original_names(wan_vae()), root / "VAE_Wan" / "Wan2.1_VAE.pth")
    ltx_vae().save_pretrained(root / "VAE_LTX")
    return root


def write_wav2vec2(folder: Path) -> Path:
    """A tiny `facebook/wav2vec2-base-960h`: a recogniser of letters around the model, under its old names."""
    torch.manual_seed(0)
    Wav2Vec2ForCTC(Wav2Vec2Config(**TINY_WAV2VEC2, vocab_size=5)).save_pretrained(folder)
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights["wav2vec2.masked_spec_embed"]  # the public file has none
    for old, new in (
        ("weight_g", "parametrizations.weight.original0"),
        ("weight_v", "parametrizations.weight.original1"),
    ):
        place = "wav2vec2.encoder.pos_conv_embed.conv."
        weights[place + old] = weights.pop(place + new)
    save_file(weights, path, metadata={"format": "pt"})
    return folder


def write_wan(root: Path) -> Path:
    """A tiny `Wan-AI/Wan2.1-T2V-1.3B-Diffusers`, its transformer in two shards."""
    wan_transformer().save_pretrained(root / "transformer", max_shard_size="50KB")
    wan_vae().save_pretrained(root / "vae")
    return root


def wan_transformer() -> WanTransformer3DModel:
    torch.manual_seed(1)
    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=WAN_CHANNELS,
        out_channels=WAN_CHANNELS,
        text_dim=12,
        freq_dim=32,
        ffn_dim=64,
        num_layers=2,
    ).eval()


def wan_vae() -> AutoencoderKLWan:
    """Wan 2.1's autoencoder, narrow; no parameter keeps a trivial value."""
    torch.manual_seed(2)
    vae = AutoencoderKLWan(base_dim=4).eval()
    for parameter in vae.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return vae


def ltx_vae() -> AutoencoderKLLTXVideo:
    torch.manual_seed(3)
    vae = AutoencoderKLLTXVideo(
        latent_channels=LTX_CHANNELS,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
    ).eval()
    vae.latents_mean.copy_(torch.rand(LTX_CHANNELS))
    vae.latents_std.copy_(torch.rand(LTX_CHANNELS) + 0.5)
    return vae


def original_names(vae: AutoencoderKLWan) -> dict[str, torch.Tensor]:
    """Tensors of an autoencoder under the names of `Wan2.1_VAE.pth`, where modules are numbered as they are run."""
    up = [module for block in vae.decoder.up_blocks for module in (*block.resnets, *(block.upsamplers or ()))]
    places = {
        "conv1": vae.quant_conv,
        "conv2": vae.post_quant_conv,
        **{f"encoder.downsamples.{index}": block for index, block in enumerate(vae.encoder.down_blocks)},
        **{f"decoder.upsamples.{index}": module for index, module in enumerate(up)},
    }
    for name, half in (("encoder", vae.encoder), ("decoder", vae.decoder)):
        middle = (half.mid_block.resnets[0], half.mid_block.attentions[0], half.mid_block.resnets[1])
        places |= {f"{name}.middle.{index}": module for index, module in enumerate(middle)}
        places |= {f"{name}.conv1": half.conv_in, f"{name}.head.0": half.norm_out, f"{name}.head.2": half.conv_out}
    parts = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6"}
    parts |= {"conv_shortcut": "shortcut"}
    weights = {}
    for place, module in places.items():
        inside = parts if hasattr(module, "conv_shortcut") else {}
        for key, tensor in module.state_dict().items():
            first, _, rest = key.partition(".")
            weights[".".join(filter(None, (place, inside.get(first, first), rest)))] = tensor
    return weights
