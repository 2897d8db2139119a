"""`make space` uploads the project to a Space: the real client against a Hub on loopback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hub import serve_hub

pytestmark = pytest.mark.skipif(not shutil.which("make") or not (ROOT / ".git").exists(), reason="needs make and git")


def make_space(hub, home, *settings):
    environment = os.environ | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": hub.token,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_HOME": str(home),
    }
    environment = {name: value for name, value in environment.items() if not name.startswith("MAKE")}
    command = ["make", "-o", ".venv/.installed", "space", f"BIN={Path(sys.executable).parent}", *settings]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_uploads_what_is_committed(tmp_path):
    committed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "-z", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")[:-1]
    with serve_hub() as hub:
        for _ in range(2):  # a second time, it is brought up to date
            done = make_space(hub, tmp_path, "SPACE=tester/talker")
            assert done.returncode == 0, done.stderr
            files = hub.repositories["spaces/tester/talker"].files()
            assert sorted(files) == sorted(committed)
            hub.repositories["spaces/tester/talker"].files()["stale.py"] = b"from an earlier version"
    head = subprocess.run(["git", "show", "HEAD:README.md"], cwd=ROOT, capture_output=True, check=True).stdout
    assert files["README.md"] == head
    assert b"sdk: gradio" in files["README.md"]


def test_asks_for_the_name(tmp_path):
    with serve_hub() as hub:
        done = make_space(hub, tmp_path)
        assert done.returncode != 0
        assert "make space SPACE=owner/name" in done.stderr
        assert hub.repositories == {}
