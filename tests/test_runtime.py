"""What is traded for speed or memory: the networks still compute the same."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.generation import load_pipeline
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.runtime import Runtime, apply_runtime, check_runtime, is_heavy, runtime_of, wants_warm_up, warm_up
from tests.tiny import tiny_pipeline

CPU = torch.device("cpu")
EXAMPLE = Path(__file__).parents[1] / "examples" / "nora.jpg"


def make_video(pipeline, portrait=None):
    portrait = portrait or PIL.Image.linear_gradient("L").convert("RGB")
    speech = np.random.default_rng(0).normal(0, 0.1, 40 * SAMPLES_PER_FRAME).astype(np.float32)
    blocks = pipeline.stream(portrait, speech, generator=pipeline.noise(0))
    return np.concatenate(list(blocks)).astype(int)


def stored(module):
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        ({"float8": "half"}, "float8 must be one of none, storage, compute, not 'half'"),
        ({"offload": "disk"}, "offload must be one of none, model, group, not 'disk'"),
        ({"compile": True, "offload": "model"}, "compile goes neither with offload"),
        ({"compile": True, "float8": "storage"}, "nor with float8 storage"),
        ({"float8": "compute", "offload": "group"}, "choose offload model or float8 storage"),
    ],
)
def test_choices_that_cannot_be(choices, said):
    with pytest.raises(ValueError, match=said):
        Runtime(**choices)


def test_the_environment_names_it(monkeypatch):
    assert Runtime.from_environment() == Runtime()
    for name, value in (("COMPILE", "0"), ("FLOAT8", "storage"), ("OFFLOAD", "group")):
        monkeypatch.setenv(f"ASYMTALKER_{name}", value)
    assert Runtime.from_environment() == Runtime(float8="storage", offload="group")
    assert str(Runtime.from_environment()) == "float8 storage, offload group"
    monkeypatch.setenv("ASYMTALKER_COMPILE", "yes")
    with pytest.raises(ValueError, match="ASYMTALKER_COMPILE must be 0 or 1, not 'yes'"):
        Runtime.from_environment()
    monkeypatch.setenv("ASYMTALKER_COMPILE", "")
    monkeypatch.setenv("ASYMTALKER_OFFLOAD", "disk")
    with pytest.raises(ValueError, match=r"not 'disk'.*ASYMTALKER_"):
        Runtime.from_environment()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloading_needs_a_gpu(checkpoint, offload):
    with pytest.raises(ValueError, match=f"offload {offload} .* there is no GPU here"):
        load_pipeline(checkpoint, Runtime(offload=offload))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_computing_in_float8_needs_more_than_a_cpu():
    with pytest.raises(ValueError, match=r"float8 compute needs .* float8 storage"):
        check_runtime(Runtime(float8="compute"), CPU)


def test_nothing_is_compiled_where_gpus_are_lent(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    with pytest.raises(ValueError, match="ZeroGPU"):
        check_runtime(Runtime(compile=True), CPU)
    assert not wants_warm_up(Runtime(), torch.device("cuda"))


def test_float8_storage_takes_half_the_memory_and_changes_little():
    plain, small = tiny_pipeline(), tiny_pipeline()
    for pipeline in (plain, small):
        pipeline.transformer.to(torch.bfloat16)
    apply_runtime(small, Runtime(float8="storage"), CPU)
    assert runtime_of(small) == Runtime(float8="storage") and runtime_of(plain) == Runtime()
    linear = small.transformer.blocks[0].ffn.net[2]
    assert linear.weight.dtype == torch.float8_e4m3fn
    assert small.transformer.patch_embedding.weight.dtype == torch.bfloat16
    assert stored(small.transformer.blocks) < 0.6 * stored(plain.transformer.blocks)
    expected, actual = make_video(plain), make_video(small)
    assert linear.weight.dtype == torch.float8_e4m3fn  # again, after it was used
    assert 0 < np.abs(actual - expected).mean() < 2


def test_visitors_may_come_at_once():
    """Weights are cast for each use of a layer and back: two threads must not be inside it together."""
    pipeline = apply_runtime(tiny_pipeline(), Runtime(float8="storage"), CPU)
    expected = make_video(pipeline)
    with ThreadPoolExecutor(4) as visitors:
        for video in visitors.map(make_video, [pipeline] * 12):
            np.testing.assert_array_equal(video, expected)


def test_the_embedded_checkpoint_in_float8():
    pipeline = load_pipeline("tiny", Runtime(float8="storage"))
    assert pipeline is load_pipeline("tiny", Runtime(float8="storage"))
    assert pipeline is not load_pipeline("tiny", Runtime())
    portrait = crop_portrait(read_portrait(EXAMPLE)).image.resize((128, 128))
    difference = np.abs(make_video(pipeline, portrait) - make_video(load_pipeline("tiny", Runtime()), portrait))
    assert 0 < difference.mean() < 5


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
def test_offloading_reaches_every_network(kind):
    """With the CPU in the GPU's place: diffusers' hooks run for each network, however it is called."""
    expected, pipeline = make_video(tiny_pipeline(kind)), tiny_pipeline(kind)
    pipeline.enable_model_cpu_offload(device="cpu")
    came, sent_away = [], {}
    for name in ("speech_encoder", "transformer", "vae"):
        hook = getattr(pipeline, name)._hf_hook

        def come(*args, _name=name, _come=hook.pre_forward, **kwargs):
            came.append(_name)
            return _come(*args, **kwargs)

        hook.pre_forward = come
        sent_away[name] = hook.prev_module_hook and hook.prev_module_hook.model
    np.testing.assert_array_equal(make_video(pipeline), expected)
    assert came[:2] == ["vae"] * 2  # the reference, and the first κ
    assert came[2:7] == ["speech_encoder", "transformer", "transformer", "vae", "vae"]  # two steps; frames, and κ
    # What is computed of its memory: the autoencoder is sent away by none.
    assert sent_away == {
        "speech_encoder": None,
        "transformer": pipeline.speech_encoder,
        "vae": pipeline.transformer,
    }


@pytest.mark.parametrize("float8", ["none", "storage"])
def test_blocks_come_one_by_one(float8):
    plain, pipeline = (apply_runtime(tiny_pipeline("wan"), Runtime(float8=float8), CPU) for _ in range(2))
    expected = make_video(plain)
    pipeline.enable_group_offload(CPU, num_blocks_per_group=1, exclude_modules=["vae", "speech_encoder"])
    assert pipeline._execution_device == CPU
    np.testing.assert_array_equal(make_video(pipeline), expected)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler here (apt-get install g++)")
def test_compiled_blocks_compute_the_same():
    expected, pipeline = make_video(tiny_pipeline()), tiny_pipeline()
    apply_runtime(pipeline, Runtime(compile=True), CPU)
    graphs = torch._dynamo.utils.counters["stats"]
    before = graphs["unique_graphs"]
    warm_up(pipeline)
    assert graphs["unique_graphs"] == before + 1  # one serves all blocks, in the first window and in later ones
    assert np.abs(make_video(pipeline) - expected).max() <= 1
    assert graphs["unique_graphs"] == before + 1  # nothing is left for the first visitor


def test_warm_up_makes_two_chunks():
    pipeline, calls = tiny_pipeline(), []
    pipeline.speech_encoder.register_forward_hook(lambda *_: calls.append(1))
    warm_up(pipeline)
    assert len(calls) == 2
    assert wants_warm_up(Runtime(compile=True), CPU) and not wants_warm_up(Runtime(), CPU)


def test_float8_takes_layers_whose_sides_divide():
    assert is_heavy(torch.nn.Linear(1536, 8960))
    assert not is_heavy(torch.nn.Linear(1536, 50))
    assert not is_heavy(torch.nn.LayerNorm(1536))
