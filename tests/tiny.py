"""Real classes at tiny configurations, with seeded random weights."""

import torch
from diffusers import AutoencoderKLLTXVideo, AutoencoderKLWan, FlowMatchLCMScheduler

from asymtalker import AsymTalkerPipeline
from asymtalker.generation import PRESETS
from asymtalker.models import AsymTalkerTransformer3DModel, AutoencoderPatchKLT, LogMelSpeechEncoder
from asymtalker.renderer.motion_frame import CHANNELS
from asymtalker.renderer.renderer import FaceRenderer

LATENT_CHANNELS = 8


def tiny_transformer(**overrides: object) -> AsymTalkerTransformer3DModel:
    torch.manual_seed(0)
    config = {
        "patch_size": (1, 1, 1),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 2 * LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "speech_layers": 4,
        "speech_dim": 16,
        "audio_tokens": 4,
        "audio_hidden_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 32,
        "num_layers": 2,
        "sample_size": (4, 4),
    }
    return AsymTalkerTransformer3DModel(**(config | overrides)).eval()


def tiny_vae() -> AutoencoderPatchKLT:
    torch.manual_seed(0)
    return AutoencoderPatchKLT(latent_channels=LATENT_CHANNELS, scale_factor_spatial=16)


def tiny_wan_vae() -> AutoencoderKLWan:
    """8×8×4 compression, like Wan 2.1's."""
    torch.manual_seed(0)
    statistics = torch.rand(2, LATENT_CHANNELS) + 0.5
    return AutoencoderKLWan(
        base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=statistics[0].tolist(),
        latents_std=statistics[1].tolist(),
    ).eval()


def tiny_ltx_vae() -> AutoencoderKLLTXVideo:
    """32×32×8 compression, like LTX-Video's, with statistics that are not trivial."""
    torch.manual_seed(0)
    vae = AutoencoderKLLTXVideo(
        latent_channels=LATENT_CHANNELS,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        encoder_causal=True,
        decoder_causal=False,
    ).eval()
    vae.latents_mean.copy_(torch.rand(LATENT_CHANNELS))
    vae.latents_std.copy_(torch.rand(LATENT_CHANNELS) + 0.5)
    return vae


def tiny_speech_encoder() -> LogMelSpeechEncoder:
    return LogMelSpeechEncoder(mel_bins=16)


def tiny_pipeline(kind: str = "patch") -> AsymTalkerPipeline:
    """A pipeline of 64² frames and two steps, on one of the three autoencoders: "patch", "wan" or "ltx"."""
    vae = {"patch": tiny_vae, "wan": tiny_wan_vae, "ltx": tiny_ltx_vae}[kind]()
    window = {"patch": (21, 5, 4), "wan": (13, 5, 8), "ltx": (25, 9, 2)}[kind]  # frames, carried, latent side
    pipeline = AsymTalkerPipeline(
        transformer=tiny_transformer(sample_size=(window[2], window[2]), temporal_ratio=8 if kind == "ltx" else 4),
        vae=vae,
        speech_encoder=tiny_speech_encoder(),
        scheduler=FlowMatchLCMScheduler(shift=3.0),
        window_frames=window[0],
        continuity_frames=window[1],
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def tiny_motion_vae() -> AutoencoderPatchKLT:
    """For motion frames, which it does not keep whole."""
    torch.manual_seed(0)
    return AutoencoderPatchKLT(in_channels=CHANNELS, latent_channels=LATENT_CHANNELS, scale_factor_spatial=1)


def tiny_motion_pipeline() -> AsymTalkerPipeline:
    """A pipeline of motion frames, of one step and random weights but for the renderer's: no others find a face."""
    pipeline = AsymTalkerPipeline(
        transformer=tiny_transformer(sample_size=(1, 1)),
        vae=tiny_motion_vae(),
        speech_encoder=tiny_speech_encoder(),
        scheduler=FlowMatchLCMScheduler(shift=3.0),
        renderer=FaceRenderer.from_pretrained(PRESETS / "tiny" / "renderer"),
        num_inference_steps=1,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
