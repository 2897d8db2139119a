"""What cannot be converted is said in one line, and leaves nothing behind."""

import json
import resource
import shutil
import socket

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from asymtalker.__main__ import main
from tests.convert.published import SIZE


@pytest.fixture
def source(flashhead, tmp_path):
    """A copy to be spoilt."""
    return shutil.copytree(flashhead, tmp_path / "source")


@pytest.fixture
def run(source, wav2vec2, tmp_path, capsys):
    """Converts; returns the error's last line. Nothing may be left."""

    def convert(*overrides, kind="flashhead", output=tmp_path / "out" / "checkpoint"):
        before = sorted(output.parent.iterdir()) if output.parent.exists() else []
        arguments = ["--source", str(source), "--speech-encoder", str(wav2vec2), "--size", str(SIZE)]
        assert main(["convert", kind, *arguments, "--output", str(output), *overrides]) == 2
        assert (sorted(output.parent.iterdir()) if output.parent.exists() else []) == before
        (error,) = capsys.readouterr().err.strip().splitlines()[-1:]
        assert error.startswith("error: ")
        return error

    return convert


def change(path, edit):
    weights = load_file(path)
    edit(weights)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda w: w.pop("blocks.1.self_attn.q.weight"), "missing: blocks.1.attn1.to_q.weight"),
        (lambda w: w.update({"img_emb.proj.weight": torch.ones(1)}), "unknown: img_emb.proj.weight"),
        (lambda w: w.update({"head.head.bias": torch.ones(3)}), "proj_out.bias (3,) instead of (64,)"),
        (lambda w: w.pop("audio_proj.proj1.weight"), "audio_proj.proj1.weight"),
        (lambda w: w.clear(), "audio_proj.proj1.weight"),
    ],
)
def test_every_tensor_is_checked(run, source, edit, told):
    change(source / "Model_Pro" / "diffusion_pytorch_model.safetensors", edit)
    assert told in run()


def test_many_faults_are_counted(run, source):
    path = source / "Model_Pro" / "diffusion_pytorch_model.safetensors"
    change(path, lambda weights: [weights.pop(name) for name in list(weights) if name.startswith("blocks.1.")])
    assert "and 22 more" in run()


@pytest.mark.parametrize(
    "name",
    [
        "Model_Pro/diffusion_pytorch_model.safetensors",
        "VAE_Wan/Wan2.1_VAE.pth",
    ],
)
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_half_downloaded_file(run, source, name, share):
    path = source / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    error = run()
    assert name in error
    assert "download it again" in error


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: shutil.rmtree(root / "Model_Pro"), "has no Model_Pro (there is: Model_Lite, VAE_LTX, VAE_Wan)"),
        (lambda root: (root / "VAE_Wan" / "Wan2.1_VAE.pth").unlink(), "has no VAE_Wan/Wan2.1_VAE.pth"),
        (lambda root: (root / "Model_Pro" / "config.json").write_text("{"), "not JSON"),
        (lambda root: (root / "Model_Pro" / "config.json").write_text("{}"), "does not say 'dim'"),
        (lambda root: (root / "Model_Pro").rename(root / "Model_Lite.old"), "has no Model_Pro"),
        (lambda root: torch.save({"w": torch.ones(1)}, root / "VAE_Wan" / "Wan2.1_VAE.pth"), "encoder.conv1.weight"),
    ],
)
def test_a_folder_of_something_else(run, source, spoil, told):
    spoil(source)
    assert told in run()


def test_the_weights_of_the_other_variant(run, source):
    shutil.rmtree(source / "Model_Pro")
    (source / "Model_Lite").rename(source / "Model_Pro")
    assert "--variant" in run()


def test_a_speech_encoder_that_is_none(run, wav2vec2, tmp_path):
    other = shutil.copytree(wav2vec2, tmp_path / "other")
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(settings | {"model_type": "hubert"}))
    assert "is a hubert: the speech encoder must be a wav2vec2" in run("--speech-encoder", str(other))
    shutil.copy(wav2vec2 / "config.json", other)
    change(other / "model.safetensors", lambda weights: weights.pop("wav2vec2.feature_projection.layer_norm.bias"))
    assert "missing: wav2vec2.feature_projection.layer_norm.bias" in run("--speech-encoder", str(other))
    assert "has no config.json" in run("--speech-encoder", str(tmp_path))


def test_a_missing_shard(run, wan, tmp_path):
    broken = shutil.copytree(wan, tmp_path / "broken")
    index = json.loads((broken / "transformer" / "diffusion_pytorch_model.safetensors.index.json").read_text())
    shard = max(index["weight_map"].values())
    (broken / "transformer" / shard).unlink()
    assert f"has no {shard}" in run("--source", str(broken), kind="wan")


@pytest.mark.parametrize(("size", "multiple"), [("500", 16), ("0", 16)])
def test_a_size_that_does_not_divide(run, size, multiple):
    assert f"multiple of {multiple}, not {size}" in run("--size", size)


def test_what_is_there_is_not_overwritten(run, tmp_path):
    output = tmp_path / "mine"
    output.mkdir()
    (output / "work").write_text("of months")
    assert "exists already" in run(output=output)
    assert (output / "work").read_text() == "of months"


def test_a_full_disk(run):
    """A file may grow to 20 kB, as if there were no more room."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        assert "could not be written" in run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_an_unknown_variant(run, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("--variant", "max")
    assert "pro" in capsys.readouterr().err


def test_the_hub(hub, flashhead, wav2vec2, tmp_path, run, capsys):
    """Downloads what a variant needs, once; says what is wrong where there is nothing to download."""
    for name, folder in (("soul/flashhead", flashhead), ("face/wav2vec2", wav2vec2)):
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        hub.publish(name, files)
    sources = ["--source", "soul/flashhead", "--speech-encoder", "face/wav2vec2", "--size", str(SIZE)]
    assert main(["convert", "flashhead", *sources, "--output", str(tmp_path / "done")]) == 0, capsys.readouterr().err
    assert (tmp_path / "done" / "model_index.json").is_file()
    cached = {path.name for path in (tmp_path / "cache").rglob("*")}
    assert "Model_Pro" in cached and "Model_Lite" not in cached and "VAE_LTX" not in cached

    assert "neither a folder nor a repository" in run("--source", "soul/nothing")
    assert "neither a folder nor a repository" in run("--source", "a folder that is not there")
    hub.gated.add("models/soul/flashhead")
    shutil.rmtree(tmp_path / "cache")
    assert "is gated" in run("--source", "soul/flashhead")


def test_offline_mode(monkeypatch, run):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "could not be downloaded" in run("--source", "soul/flashhead")


def test_no_network(monkeypatch, run, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    error = run("--source", "soul/flashhead")
    assert "could not be downloaded" in error
    assert "give a folder" in error
