"""Converted FlashHead weights compute what the published ones do, from the transformer to the video file."""

import math
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLLTXVideo
from gradio_client import Client, handle_file
from safetensors.torch import load_file
from transformers import Wav2Vec2Model

from app import build_page, launch
from asymtalker import AsymTalkerPipeline
from asymtalker.__main__ import main
from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.conditioning import encode_frames
from asymtalker.convert import convert_flashhead
from asymtalker.convert.files import check_weights, write_model
from asymtalker.convert.flashhead import build_transformer, rename_weights
from asymtalker.convert.parts import write_speech_encoder
from asymtalker.media.video import probe_video
from asymtalker.models import AsymTalkerTransformer3DModel, Wav2Vec2SpeechEncoder
from tests.convert.published import (
    FULL_LITE,
    GOLDEN,
    SIZE,
    flashhead_shapes,
    ltx_vae,
    named_weights,
    wan_vae,
)

FEATURES = 12 * 768
PUBLISHED_BYTES = {"pro": 6_030_864_656, "lite": 6_107_542_048}


@pytest.fixture(scope="module")
def speech_encoder():
    with torch.device("meta"):
        return Wav2Vec2SpeechEncoder()


@pytest.fixture(scope="module", params=["pro", "lite"])
def converted(request, flashhead, wav2vec2, tmp_path_factory):
    """(variant, folder) of a converted tiny checkpoint."""
    folder = tmp_path_factory.mktemp("converted") / request.param
    convert_flashhead(folder, request.param, source=flashhead, speech_encoder=wav2vec2, size=SIZE)
    return request.param, folder


@torch.no_grad()
def test_the_published_implementation_s_output_is_reproduced(speech_encoder, tmp_path):
    """See golden/: weights and inputs follow from seeds, the output was made by the published code in float32."""
    weights = rename_weights(named_weights(GOLDEN["parameter_shapes"]))
    model = build_transformer(GOLDEN["config"], weights, speech_encoder, (8, 8))
    write_model(model, weights, tmp_path, "golden")
    model = AsymTalkerTransformer3DModel.from_pretrained(tmp_path)

    generator = torch.Generator().manual_seed(1)
    shape = (1, 16, GOLDEN["latent_frames"], GOLDEN["latent_hw"], GOLDEN["latent_hw"])
    noisy, reference = (torch.randn(shape, generator=generator) for _ in range(2))
    speech = torch.randn((1, GOLDEN["frames"], 5, 12, 768), generator=generator)
    output = model(torch.cat([noisy, reference], dim=1), torch.tensor([937.5]), speech).sample

    golden = load_file(Path(__file__).parent / "golden" / "flashhead_pro_output.safetensors")["output"]
    assert (output - golden).norm() / golden.norm() < 1e-4
    assert (output - golden).abs().max() / golden.abs().max() < 1e-4


def test_the_published_names_are_known():
    golden = {name: tuple(shape) for name, shape in GOLDEN["parameter_shapes"].items()}
    assert flashhead_shapes(GOLDEN["config"], FEATURES) == golden


@pytest.mark.parametrize(("variant", "small"), [("pro", GOLDEN["config"]), ("lite", FULL_LITE)])
def test_at_full_size_every_published_tensor_has_its_place(variant, small, speech_encoder):
    config = small | {"ffn_dim": 8960, "num_layers": 30, "text_dim": 4096}
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in flashhead_shapes(config, FEATURES).items()}
    header = PUBLISHED_BYTES[variant] - sum(4 * tensor.numel() for tensor in published.values())
    assert 50_000 < header < 100_000  # the rest of the public file: names and places of 843 tensors
    assert len(published) == 843
    weights = rename_weights(published)
    check_weights(build_transformer(config, weights, speech_encoder, (64, 64)), weights, variant)


@torch.no_grad()
def test_components(converted):
    """Autoencoder and speech encoder come out as they went in."""
    variant, folder = converted
    pipeline = AsymTalkerPipeline.from_pretrained(folder)
    source = {"pro": wan_vae, "lite": ltx_vae}[variant]()
    frames = torch.rand(1, 3, 17, SIZE, SIZE) * 2 - 1
    latents = encode_frames(source, frames)
    torch.testing.assert_close(encode_frames(pipeline.vae, frames), latents)
    torch.testing.assert_close(pipeline.vae.decode(latents).sample, source.decode(latents).sample)
    if isinstance(source, AutoencoderKLLTXVideo):
        raw = source.encode(frames).latent_dist.mode()
        expected = (raw - source.latents_mean.view(-1, 1, 1, 1)) / source.latents_std.view(-1, 1, 1, 1)
        torch.testing.assert_close(latents, expected)


@torch.no_grad()
def test_speech_features_are_wav2vec2_s(converted, wav2vec2):
    """Transformers' own layers on features that were interpolated to 25 a second before them."""
    encoder = AsymTalkerPipeline.from_pretrained(converted[1]).speech_encoder
    model = Wav2Vec2Model.from_pretrained(wav2vec2).eval()
    waveform = torch.randn(1, 30 * SAMPLES_PER_FRAME)
    normal = (waveform - waveform.mean()) / waveform.std(correction=0)
    features = model.feature_extractor(normal)
    features = torch.nn.functional.interpolate(features, size=30, mode="linear", align_corners=True)
    expected = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, __, output: expected.append(output))
    model.encoder(model.feature_projection(features.transpose(1, 2))[0])
    torch.testing.assert_close(encoder(waveform), torch.stack(expected, dim=2), atol=1e-4, rtol=1e-4)


def test_a_speech_model_without_a_task(wav2vec2, tmp_path):
    """Published as the bare model: the same weights without their prefix, and with what training needs."""
    Wav2Vec2Model.from_pretrained(wav2vec2).save_pretrained(tmp_path / "bare")
    for name, source in (("bare", tmp_path / "bare"), ("recogniser", wav2vec2)):
        write_speech_encoder(source, tmp_path / "out" / name)
    bare, recogniser = (
        Wav2Vec2SpeechEncoder.from_pretrained(tmp_path / "out" / name) for name in ("bare", "recogniser")
    )
    for name, tensor in bare.state_dict().items():
        torch.testing.assert_close(recogniser.state_dict()[name], tensor, rtol=0, atol=0)


@torch.no_grad()
def test_windows_are_the_published_ones(converted):
    """Four steps; one latent frame of the reference first, two of what was made later; frames dropped as ever."""
    variant, folder = converted
    pipeline = AsymTalkerPipeline.from_pretrained(folder)
    calls = []
    pipeline.transformer.register_forward_pre_hook(lambda _, args, __: calls.append(args), with_kwargs=True)
    state = pipeline.prepare_stream(torch.rand(1, 3, SIZE, SIZE), pipeline.config.num_inference_steps)
    state.speech.append(torch.randn(100 * SAMPLES_PER_FRAME))
    carried = {"pro": 5, "lite": 9}[variant]
    frames = [pipeline.next_chunk(state) for _ in range(2)]

    assert [block.shape[2] for block in frames] == [33 - carried] * 2
    sigmas = [float(timestep) / 1000 for _, timestep, _ in calls]
    assert sigmas == pytest.approx([1, 0.9375, 5 * 0.5 / 3, 0.625] * 2)
    windows = [hidden.chunk(2, dim=1) for hidden, _, _ in calls]
    for noisy, reference in windows[:4]:
        torch.testing.assert_close(noisy[:, :, :1], reference[:, :, :1], atol=1e-5, rtol=1e-4)
        assert not torch.isclose(noisy[:, :, 1], reference[:, :, 1]).all()
    made = encode_frames(pipeline.vae, frames[0][:, :, -carried:])
    for noisy, _ in windows[4:]:
        torch.testing.assert_close(noisy[:, :, :2], made, atol=1e-5, rtol=1e-4)
    assert pipeline.config.color_match == 1.0
    assert all(speech.shape[1] == 33 for _, _, speech in calls)


def test_from_the_command_line_to_a_video(flashhead, wav2vec2, portrait_file, speech_file, tmp_path, capsys):
    for variant in ("pro", "lite"):
        folder, video = tmp_path / variant, tmp_path / f"{variant}.mp4"
        sources = ["--source", str(flashhead), "--speech-encoder", str(wav2vec2)]
        arguments = [*sources, "--variant", variant, "--size", str(SIZE), "--output", str(folder)]
        assert main(["convert", "flashhead", *arguments]) == 0, capsys.readouterr().err
        inputs = ["--image", portrait_file, "--audio", speech_file, "--output", str(video), "--no-crop"]
        assert main(["generate", *inputs, "--checkpoint", str(folder)]) == 0, capsys.readouterr().err
        assert f"{math.ceil(1.3 * 25)} frames" in capsys.readouterr().out
        assert video.stat().st_size > 0


@contextmanager
def serve_page(checkpoint):
    """The page from this process, which has what it needs imported."""
    page = build_page(str(checkpoint))
    launch(page, prevent_thread_lock=True, quiet=True)
    try:
        yield page.local_url
    finally:
        page.close()


def test_from_the_app_to_a_client(converted, portrait_file, speech_file, tmp_path):
    """All of the app's actions on a converted checkpoint, and the same folder in the benchmark."""
    variant, folder = converted
    inputs = {"portrait": handle_file(portrait_file), "speech": handle_file(speech_file), "crop": False}
    with serve_page(folder) as url:
        client = Client(url, verbose=False, download_files=str(tmp_path / "downloads"))
        info = client.predict(api_name="/info")
        assert (info["size"], info["steps"]) == ([SIZE, SIZE], 4)
        assert info["chunk_frames"] == {"pro": 28, "lite": 24}[variant]
        video, figures = client.predict(**inputs, seed=1, api_name="/generate")
        assert probe_video(video).frames == figures["frames"] == math.ceil(1.3 * 25)
        *_, (_, figures) = client.submit(**inputs, api_name="/live")
        assert figures["start"] == pytest.approx(1.32)
        *sides, film, figures = client.predict(**inputs, left={"steps": 1}, right={"steps": 2}, api_name="/compare")
        assert [probe_video(side).frames for side in sides] == [math.ceil(1.3 * 25)] * 2
        assert probe_video(film).width >= 2 * SIZE
    assert main(["benchmark", "--checkpoint", str(folder), "--chunks", "2"]) == 0
