"""Memory and arithmetic from shapes: compared with tensors and formulas that are known."""

import collections
import json
import subprocess
import sys

import psutil
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from asymtalker.convert import outline_flashhead
from asymtalker.footprint import GB, Meter, check_room, explain_shortage, like, measure, outline, parameters
from asymtalker.generation import load_pipeline
from asymtalker.runtime import Runtime
from asymtalker.stages import COLOR, CONTINUITY, DECODE, REFERENCE, SPEECH, STEP
from tests.conftest import ROOT
from tests.convert.published import FULL_LITE, GOLDEN, flashhead_shapes
from tests.test_runtime import stored
from tests.tiny import tiny_motion_pipeline, tiny_pipeline

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pro():
    return measure(outline_flashhead("pro"), torch.bfloat16)


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
def test_weights_are_those_of_the_networks(kind):
    pipeline = tiny_pipeline(kind)
    footprint = measure(like(pipeline), torch.float32)
    assert footprint.weights["none"]["transformer"] >= stored(pipeline.transformer)  # and its buffers
    assert footprint.weights["none"]["vae"] >= stored(pipeline.vae)
    pipeline.transformer.enable_layerwise_casting(torch.float8_e4m3fn, compute_dtype=torch.float32)
    saved = footprint.weights["none"]["transformer"] - footprint.weights["storage"]["transformer"]
    assert saved == stored(tiny_pipeline(kind).transformer) - stored(pipeline.transformer)


def test_an_outline_is_what_is_loaded(checkpoint):
    outlined, loaded = outline(checkpoint), tiny_pipeline()
    assert outlined.layout == loaded.layout
    assert outlined.frame_size == loaded.frame_size
    for name in ("transformer", "vae", "speech_encoder"):
        part = getattr(outlined, name)
        assert {parameter.device.type for parameter in part.parameters()} == {"meta"}
        assert parameters(part) == parameters(getattr(loaded, name))


def test_an_outline_of_motion_is_without_its_renderer(tmp_path):
    pipeline = tiny_motion_pipeline()
    pipeline.save_pretrained(tmp_path)
    for outlined in (outline(tmp_path), like(pipeline)):
        assert outlined.renderer is None
        assert outlined.frame_size == (1, 1)  # a motion frame's
        assert parameters(outlined.transformer) == parameters(pipeline.transformer)
    footprint = measure(like(pipeline), torch.float32)
    assert footprint.weights["none"]["transformer"] >= stored(pipeline.transformer)
    assert footprint.new_frames == 16
    assert footprint.stages[STEP].flops < measure(like(tiny_pipeline()), torch.float32).stages[STEP].flops


def test_the_folder_of_something_else(tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps({"vae": ["diffusers", "NoSuchModel"]}))
    with pytest.raises(ValueError, match="NoSuchModel"):
        outline(tmp_path)


@torch.no_grad()
def test_what_is_alive_is_counted():
    linear = torch.nn.Linear(10, 20, device="meta")
    meter = Meter([linear])
    with meter, meter.stage("first"):
        inputs = torch.empty(3, 10, device="meta")
        outputs = linear(inputs)  # the weights, of which it makes a view, are not counted
        flat = outputs.view(-1)  # takes nothing of its own
        del inputs
        doubled = flat * 2
    with meter, meter.stage("second"):
        del outputs, flat
        torch.ones_like(doubled)
    assert meter.stages["first"].activations == max(120 + 240, 240 + 240)
    assert meter.stages["first"].flops == 2 * 3 * 10 * 20
    assert meter.stages["second"].activations == 240 + 240


def test_activations_hold_what_a_stage_hands_on():
    pipeline = tiny_pipeline("wan")
    footprint = measure(like(pipeline), torch.float32)
    state = pipeline.prepare_stream(torch.zeros(1, 3, 64, 64), 1)
    carried = state.portrait.nbytes + state.reference.nbytes + state.continuity.nbytes
    window = 4 * 3 * 13 * 64 * 64
    assert footprint.stages[STEP].activations > carried
    assert footprint.stages[DECODE].activations > carried + window


def test_arithmetic_is_that_of_a_transformer(pro):
    """Linear layers and attention of the 1.4 B configuration over 9 × 32 × 32 tokens, by hand."""
    tokens, dim, ffn, layers = 9 * 32 * 32, 1536, 8960, 30
    speech = 9 * 32
    attention = 4 * tokens * dim * dim + 2 * tokens * tokens * dim
    cross = 2 * tokens * dim * dim + 2 * speech * dim * dim + 2 * tokens * 32 * dim
    expected = 2 * layers * (attention + cross + 2 * tokens * dim * ffn)
    assert pro.stages[STEP].flops == pytest.approx(expected, rel=0.01)
    assert pro.stages[STEP].calls == 4
    assert {name for name, stage in pro.stages.items() if stage.calls} == {
        REFERENCE,
        SPEECH,
        STEP,
        DECODE,
        COLOR,
        CONTINUITY,
    }
    once = sum(stage.flops for name, stage in pro.stages.items() if name != REFERENCE)
    assert pro.chunk_flops() == once + 3 * pro.stages[STEP].flops
    assert pro.new_frames == 28


def test_thrift_takes_less(pro):
    plain, stored8, model, group = (
        pro.peak(Runtime(float8=float8, offload=offload))
        for float8, offload in (("none", "none"), ("storage", "none"), ("none", "model"), ("none", "group"))
    )
    assert plain - stored8 == sum(pro.weights["none"].values()) - sum(pro.weights["storage"].values())
    assert max(model, group, stored8) < plain
    weights = pro.weights["none"]
    at_work = weights["transformer"] + weights["vae"] + pro.stages[STEP].activations
    assert model == max(at_work, weights["vae"] + pro.stages[DECODE].activations)
    assert plain > sum(pro.weights["none"].values()) + pro.stages[DECODE].activations - 1


def test_the_cards_that_the_readme_names(pro):
    """With a fifth to spare: `pro` on 12 GB as it is, `lite` on 8 GB."""
    assert 1.2 * pro.peak(Runtime()) < 12 * GB
    lite = measure(outline_flashhead("lite"), torch.bfloat16, steps=1)  # the next steps take what the first one took
    assert 1.2 * lite.peak(Runtime()) < 8 * GB


@pytest.mark.parametrize(("variant", "small"), [("pro", GOLDEN["config"]), ("lite", FULL_LITE)])
def test_outlines_are_of_the_published_size(variant, small):
    shapes = flashhead_shapes(small | {"ffn_dim": 8960, "num_layers": 30, "text_dim": 4096}, 12 * 768)
    used = (shape for name, shape in shapes.items() if not name.startswith(("text_embedding.", "audio_emb.")))
    published = sum(torch.Size(shape).numel() for shape in used)
    assert parameters(outline_flashhead(variant).transformer) == published


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="multiple of 32, not 500"):
        outline_flashhead("lite", 500)
    with pytest.raises(ValueError, match="multiples of 16"):
        measure(like(tiny_pipeline()), torch.float32, (72, 72))


def test_weights_that_do_not_fit(monkeypatch):
    pipeline = outline_flashhead("pro")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: collections.namedtuple("Memory", "available")(1e9))
    with pytest.raises(ValueError, match=r"weights take 3\.\d GB of the CPU's memory, 1.0 GB are free"):
        check_room(pipeline, torch.bfloat16, Runtime(), CPU)
    check_room(like(tiny_pipeline()), torch.bfloat16, Runtime(), CPU)


def test_a_checkpoint_that_does_not_fit_is_not_loaded(checkpoint, monkeypatch):
    load_pipeline.__globals__["_load"].cache_clear()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: collections.namedtuple("Memory", "available")(1000))
    with pytest.raises(ValueError, match="Too little memory"):
        load_pipeline(checkpoint)


def test_what_would_be_enough_is_said():
    pipeline = tiny_pipeline()
    said = explain_shortage(pipeline, (1024, 1024))
    assert "1024 × 1024 needs about" in said and "with float8 storage" in said and "(computed)" in said


LIMITED = """
import resource, sys
from asymtalker.generation import GenerateOptions, generate_video, load_pipeline
pipeline = load_pipeline(sys.argv[1])
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 300_000_000, -1))
try:
    generate_video(pipeline, *sys.argv[2:], GenerateOptions(crop=False, size=1024))
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_running_out_of_memory_says_how_much_is_needed(checkpoint, portrait_file, speech_file, tmp_path):
    output = tmp_path / "video.mp4"
    command = [sys.executable, "-c", LIMITED, checkpoint, portrait_file, speech_file, str(output)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Too little memory: 1024 × 1024 needs about" in result.stdout, result.stderr
    assert list(tmp_path.iterdir()) == []


class _Copies(TorchDispatchMode):
    """What makes the CPU wait for a device, were the meta device one."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result, kwargs = func(*args, **(kwargs or {})), kwargs or {}
        devices = {tensor.device.type for tensor in (*args, result) if isinstance(tensor, torch.Tensor)}
        copies = devices == {"cpu", "meta"} and func._overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
        if (copies and not kwargs.get("non_blocking")) or func is torch.ops.aten._local_scalar_dense.default:
            self.waits.append((str(func), kwargs))
        return result


@pytest.mark.parametrize("variant", ["pro", "lite"])
def test_no_step_of_a_chunk_waits_for_the_device(variant):
    pipeline = outline_flashhead(variant, 64).to("meta")
    state = pipeline.prepare_stream(torch.zeros(1, 3, 64, 64), 2, size=(64, 64), color_match=1.0)
    state.speech.append(torch.zeros(640 * 80))
    with _Copies() as copies:
        pipeline.next_chunk(state)
    assert copies.waits == []
    with _Copies() as copies, pytest.raises(NotImplementedError):
        torch.zeros(1, device="meta").cpu()
