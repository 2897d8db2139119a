"""Training pushes to a Hub and resumes from it: the real client against a server on loopback."""

import json
import os
import subprocess
import sys
import time

import huggingface_hub
import pytest

from tests.hub import serve_hub
from tests.train.tiny_stage import ROOT, command
from train import hub as hub_module
from train import teacher
from train.hub import HubPusher, fetch_state

REPOSITORY = "models/tester/talker"


@pytest.fixture
def hub():
    with serve_hub() as server:
        yield server


@pytest.fixture
def client(hub, monkeypatch, tmp_path):
    """This process's huggingface_hub talks to the server."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr(hub_module, "WAITS", (0.05, 0.05))
    return hub


def run_python(hub, *arguments, home):
    environment = os.environ | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_a_run_is_pushed_resumed_elsewhere_and_used(hub, data, initial, tmp_path):
    def arguments(output, steps):
        settings = {"init": initial, "output": tmp_path / output, "max_steps": steps, "push_steps": 2}
        return command("teacher", **data, **settings, hub_branch="a")

    def train(output, steps, *options):
        run_python(hub, "train/teacher.py", *arguments(output, steps), *options, home=tmp_path / "home")

    train("here", 2, "--hub-model-id", "tester/talker", "--set", "sample_steps=2")
    repository = hub.repositories[REPOSITORY]
    assert set(repository.branches) == {"main", "a"}
    assert {"model_index.json", "README.md", "samples/step-0000002.mp4", "training/run.json"} <= set(
        repository.files("a")
    )
    assert "training/run.json" not in repository.files("main")  # there lies only what is to be used
    assert json.loads(repository.files("a")["training/run.json"])["step"] == 2
    card = repository.files("main")["README.md"].decode()
    assert "# tester/talker" in card and "after 2 steps" in card and "learning_rate:" in card and "- loss:" in card

    train("there", 4, "--hub-model-id", "tester/talker", "--resume-from", "hub")
    teacher.main(arguments("here", 4))
    here, there = (
        [json.loads(row) for row in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("here", "there")
    )
    assert [row["step"] for row in there] == [3, 4]
    assert [row["loss"] for row in there] == pytest.approx([row["loss"] for row in here[2:]], rel=1e-6)

    video = tmp_path / "video.mp4"
    made = ["--image", "examples/nora.jpg", "--audio", "examples/nora.wav", "--output", video, "--steps", "1"]
    run_python(hub, "-m", "asymtalker", "generate", *made, "--checkpoint", "tester/talker", home=tmp_path / "home")
    assert video.stat().st_size > 10_000


def test_a_failed_push_is_tried_again(client, tmp_path):
    folder = tmp_path / "pipeline"
    folder.mkdir()
    (folder / "weights").write_bytes(b"1" * 200_000)
    pusher = HubPusher("tester/talker", "run", private=False)
    client.failures = 2
    pushed = pusher.push({"": folder}, "Step 1")
    replaced = tmp_path / "new"
    replaced.write_bytes(b"2")
    replaced.replace(folder / "weights")  # the next save does not wait
    pusher.finish()
    assert pushed.result() is True
    assert client.repositories[REPOSITORY].files("run")["weights"] == b"1" * 200_000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".pushing")] == []


def test_a_push_that_fails_for_good_loses_nothing(client, tmp_path, caplog):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "weights").write_bytes(b"1")
    pusher = HubPusher("tester/talker", "run", private=False)
    client.failures = 99
    pushed = pusher.push({"": tmp_path / "pipeline"}, "Step 1")
    pusher.finish()
    assert pushed.result() is False
    assert (tmp_path / "pipeline" / "weights").read_bytes() == b"1"
    assert "given up; it is kept here" in caplog.text


def test_pushing_does_not_hold_up_training(client, tmp_path):
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "weights").write_bytes(b"1")
    pusher = HubPusher("tester/talker", "run", private=False)
    with client.lock:  # the Hub is slow
        begin = time.monotonic()
        pusher.push({"": tmp_path / "pipeline"}, "Step 1")
        assert pusher.busy
        assert time.monotonic() - begin < 5
    pusher.finish()
    assert not pusher.busy


def test_a_token_that_may_not_write_is_found_out_before_training(client, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another")
    with pytest.raises(ValueError, match="Cannot push to tester/talker"):
        HubPusher("tester/talker", "run", private=False)


def test_there_must_be_something_to_resume_from(client, tmp_path):
    HubPusher("tester/talker", "run", private=False).finish()
    with pytest.raises(ValueError, match="has no branch other"):
        fetch_state("tester/talker", "other", tmp_path / "state")
    with pytest.raises(ValueError, match="has no training state"):
        fetch_state("tester/talker", "run", tmp_path / "state")
    with pytest.raises(ValueError, match="Cannot resume from tester/unknown"):
        fetch_state("tester/unknown", "run", tmp_path / "state")


def test_a_pipeline_pushes_itself(hub, initial, tmp_path):
    script = (
        "import sys; from asymtalker import AsymTalkerPipeline;"
        "AsymTalkerPipeline.from_pretrained(sys.argv[1]).push_to_hub('tester/talker')"
    )
    run_python(hub, "-c", script, initial, home=tmp_path)
    files = hub.repositories[REPOSITORY].files()
    assert {"model_index.json", "transformer/config.json", "vae/config.json"} <= set(files)
