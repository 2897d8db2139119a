"""`benchmark`: every stage is there, and the figures are what their names say. No speed is asked of this machine."""

import collections
import json
import statistics
import time

import psutil
import pytest
import torch

from asymtalker.__main__ import main
from asymtalker.benchmark import (
    BenchmarkOptions,
    StageTimer,
    _figure,
    _number,
    benchmark,
    footprint_of,
    load_random,
    materialize,
    render,
    render_footprint,
    time_pipeline,
)
from asymtalker.footprint import like
from asymtalker.runtime import Runtime
from asymtalker.stages import COLOR, CONTINUITY, COPY, DECODE, REFERENCE, SPEECH, STEP, WRITE, observed, stage
from tests.tiny import tiny_pipeline

CPU = torch.device("cpu")
STAGES = [REFERENCE, SPEECH, STEP, DECODE, COLOR, CONTINUITY, COPY, WRITE]
"""Of a checkpoint without a renderer."""
WHOLE = ["chunk", "speed", "first frame", "peak memory"]


@pytest.fixture(scope="module", params=["patch", "wan", "ltx"])
def result(request):
    pipeline = tiny_pipeline(request.param)
    pipeline.register_to_config(color_match=1.0)
    return time_pipeline(pipeline, BenchmarkOptions(chunks=4, steps=3))


def named(result):
    return {figure.name: figure for figure in result.figures}


def test_every_stage_is_timed(result):
    assert [figure.name for figure in result.figures] == [*STAGES, *WHOLE]
    figures = named(result)
    assert {name: figures[name].calls for name in STAGES} == {name: 3 if name == STEP else 1 for name in STAGES}
    for figure in result.figures:
        assert 0 < figure.low <= figure.value <= figure.high
    assert {figure.unit for figure in result.figures} == {"ms", "frames/s", "GB"}


def test_figures_agree_with_each_other(result):
    figures = named(result)
    chunk, frames = figures["chunk"], int(result.setting["window"].split()[0])
    assert 1000 * frames / chunk.high <= figures["speed"].value <= 1000 * frames / chunk.low
    parts = sum(figures[name].low * figures[name].calls for name in (SPEECH, STEP, DECODE, COLOR, CONTINUITY, COPY))
    assert parts < chunk.high  # what a chunk consists of is no longer than a chunk
    assert figures["first frame"].value > figures[REFERENCE].value


def test_the_setting_stands_beside_each_figure(result):
    for figure in result.figures:
        for value in ("64 × 64", "3 steps", "float32", result.setting["vae"], result.setting["hardware"]):
            assert value in figure.setting
    assert result.setting["threads"].startswith(str(torch.get_num_threads()))


def test_the_table_holds_all(result):
    lines = render(result).splitlines()
    for name, value in result.setting.items():
        assert any(line.startswith(name) and value in line for line in lines)
    for figure in result.figures:
        assert any(line.startswith(figure.name) and _number(figure.value) in line for line in lines)


def test_median_and_spread():
    figure = _figure("stage", torch.arange(1.0, 12).numpy(), "ms", "setting", 2)
    assert (figure.value, figure.low, figure.high, figure.calls) == (6, 2, 10, 2)


def test_a_stage_takes_the_time_it_takes():
    timer = StageTimer(CPU)
    with observed(timer):
        for _ in range(3):
            with stage(DECODE):
                time.sleep(0.02)
    with stage(DECODE):  # not observed
        time.sleep(0.02)
    seconds = timer.seconds()
    assert list(seconds) == [DECODE] and len(seconds[DECODE]) == 3
    assert 0.02 <= statistics.median(seconds[DECODE]) < 0.2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_events_on_a_gpu():
    timer, matrix = StageTimer(torch.device("cuda")), torch.randn(2048, 2048, device="cuda")
    with observed(timer), stage(DECODE):
        for _ in range(10):
            matrix @ matrix
    assert timer.seconds()[DECODE][0] > 0


def test_the_same_video_whether_it_is_timed_or_not():
    """Also across the thread that writes: its stage is seen there too."""
    timer = StageTimer(CPU)
    pipeline = tiny_pipeline()
    with observed(timer):
        time_pipeline(pipeline, BenchmarkOptions(chunks=2))
    assert len(timer.seconds()[WRITE]) == 2  # of the warm-up; the timed run has a timer of its own


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"checkpoint": "tiny", "random": "pro"}, "not both"),
        ({"chunks": 1}, "chunks must be a whole number from 2 to 1000, not 1"),
        ({"steps": 0}, "steps must be"),
        ({"size": 5000}, "size must be"),
    ],
)
def test_options_out_of_range(options, said):
    with pytest.raises(ValueError, match=said):
        BenchmarkOptions(**options)


def test_random_weights_make_a_pipeline_that_runs():
    pipeline = materialize(like(tiny_pipeline("wan")), torch.float32)
    assert {parameter.device.type for parameter in pipeline.transformer.parameters()} == {"cpu"}
    assert pipeline.layout == tiny_pipeline("wan").layout
    speed = named(time_pipeline(pipeline, BenchmarkOptions(random="pro", chunks=2)))["speed"]
    assert speed.setting.startswith("pro, random weights")


def test_formats_are_those_of_loaded_weights(checkpoint):
    loaded = type(tiny_pipeline()).from_pretrained(checkpoint, dtype=torch.bfloat16)
    random = materialize(like(tiny_pipeline()), torch.bfloat16)
    for name in ("transformer", "vae", "speech_encoder"):
        expected = {key: tensor.dtype for key, tensor in getattr(loaded, name).named_parameters()}
        assert {key: tensor.dtype for key, tensor in getattr(random, name).named_parameters()} == expected


def test_too_little_memory_for_random_weights(monkeypatch):
    for free, said in ((1e9, "weights take"), (8.5e9, r"needs about \d+\.\d GB on cpu \(computed\), 8.5 GB are free")):
        memory = collections.namedtuple("Memory", "available")(free)
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: memory)
        with pytest.raises(ValueError, match=said):
            load_random(BenchmarkOptions(random="lite", size=1024, steps=1), Runtime())


def test_what_is_computed_is_shown():
    footprint = footprint_of(BenchmarkOptions(random="lite", steps=2))
    lines = render_footprint(footprint, "lite", tflops=989).splitlines()
    assert any(line.startswith(STEP) and line.split()[2] == "2" for line in lines)
    assert sum("offload" in line for line in lines) == 3
    frames = float(lines[-1].split("at most ")[1].split()[0])
    assert frames == pytest.approx(24 * 989e12 / footprint.chunk_flops(), abs=0.5)


def test_from_the_command_line(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ASYMTALKER_FLOAT8", "storage")
    path = tmp_path / "figures.json"
    arguments = ["benchmark", "--checkpoint", checkpoint, "--chunks", "2", "--json", str(path)]
    assert main(arguments) == 0
    shown, written = capsys.readouterr().out, json.loads(path.read_text())
    assert [figure["name"] for figure in written["figures"]] == [name for name in STAGES if name != COLOR] + WHOLE
    assert written["setting"]["options"] == "float8 storage"
    for figure in written["figures"]:
        assert figure["setting"] == ", ".join(written["setting"].values())
        assert figure["name"] in shown
    assert main(["benchmark", "--checkpoint", checkpoint, "--estimate", "--size", "128"]) == 0
    assert "computed from shapes" in capsys.readouterr().out
    assert main(["benchmark", "--checkpoint", checkpoint, "--size", "72"]) == 2
    assert "multiples of 16" in capsys.readouterr().err
    assert main(["benchmark", "--checkpoint", "nothing", "--estimate"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_with_a_portrait(pipeline, portrait_file, monkeypatch):
    with pytest.raises(ValueError, match="No face"):
        time_pipeline(pipeline, BenchmarkOptions(chunks=2, image=portrait_file))


def test_benchmark_loads_what_it_is_told(checkpoint):
    result = benchmark(BenchmarkOptions(checkpoint=checkpoint, chunks=2), Runtime())
    assert result.setting["checkpoint"] == checkpoint
