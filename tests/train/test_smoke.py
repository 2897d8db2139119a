"""All stages as a user runs them, on two processes, pushed to a Hub on loopback, and used from there."""

import json
import os
import subprocess
import sys

import pytest

from tests.hub import serve_hub
from tests.train.tiny_stage import ROOT, command

pytestmark = pytest.mark.smoke


def run(*arguments, environment):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return done.stdout


def test_from_clips_to_a_video(dataset, tmp_path):
    with serve_hub() as hub:
        environment = {
            "HF_ENDPOINT": hub.endpoint,
            "HF_TOKEN": hub.token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
        }
        data = {"dataset": dataset, "store": tmp_path / "store"}
        folders = {stage: tmp_path / stage for stage in ("autoencoder", "teacher", "akd")}
        autoencoder = command("autoencoder", **data, output=folders["autoencoder"])
        run("-m", "accelerate.commands.launch", "train/autoencoder.py", *autoencoder, environment=environment)
        before = folders["autoencoder"]
        for stage in ("teacher", "akd"):
            source = {"teacher" if stage == "akd" else "init": before}
            arguments = command(stage, **data, **source, output=folders[stage], max_steps=6)
            if stage == "akd":
                arguments += ["--hub-model-id", "tester/talker"]
            # What `accelerate launch --num_processes 2` does on two GPUs; on a CPU it would want MPI.
            two = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2, f"train/{stage}.py")
            run(*two, *arguments, environment=environment)
            rows = [json.loads(row) for row in (folders[stage] / "log.jsonl").read_text().splitlines()]
            assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
            before = folders[stage] / "pipeline"
        assert "training/process_1.pt" in hub.repositories["models/tester/talker"].files("akd")
        video = tmp_path / "video.mp4"
        made = ("--image", "examples/nora.jpg", "--audio", "examples/nora.wav", "--output", video)
        run("-m", "asymtalker", "generate", *made, "--checkpoint", "tester/talker", environment=environment)
        assert video.stat().st_size > 10_000
