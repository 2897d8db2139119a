"""What several tests need: a checkpoint with the real classes at a tiny size, a portrait, a voice, the running app."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import soundfile
from PIL import Image

from asymtalker.generation import load_pipeline
from tests.hub import serve_hub
from tests.tiny import tiny_pipeline

ROOT = Path(__file__).parents[1]
SAMPLING_RATE = 16_000
APP_MAX_SECONDS = 90


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """Folder of a checkpoint with random weights."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def pipeline(checkpoint):
    return load_pipeline(checkpoint)


@pytest.fixture(scope="session")
def portrait_file(tmp_path_factory):
    """An image that is no face: for tests that turn the crop off."""
    across, down = np.meshgrid(np.linspace(0, 255, 160), np.linspace(0, 255, 120))
    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8)).save(path)
    return str(path)


@pytest.fixture(scope="session")
def two_people(tmp_path_factory):
    """Path of a picture of two people, the one on the right larger."""
    canvas = Image.new("RGB", (940, 540), (120, 130, 140))
    for name, side, corner in (("nora", 400, (0, 140)), ("leon", 540, (400, 0))):
        canvas.paste(Image.open(ROOT / f"examples/{name}.jpg").resize((side, side)), corner)
    path = tmp_path_factory.mktemp("people") / "people.jpg"
    canvas.save(path)
    return path


@pytest.fixture(scope="session")
def speech_file(tmp_path_factory):
    """1.3 s of sound: neither a whole number of frames nor of chunks."""
    return write_speech(tmp_path_factory.mktemp("speech") / "speech.wav", 1.3)


@pytest.fixture(scope="session")
def long_speech_file(tmp_path_factory):
    """As long as the app accepts: enough to be interrupted."""
    return write_speech(tmp_path_factory.mktemp("speech") / "long.wav", APP_MAX_SECONDS)


def write_speech(path, seconds):
    """Syllable-like bursts of a buzz, 16 kHz mono."""
    time_axis = np.arange(round(seconds * SAMPLING_RATE)) / SAMPLING_RATE
    syllables = np.clip(np.sin(2 * np.pi * 4 * time_axis), 0, 1)
    buzz = sum(np.sin(2 * np.pi * 120 * harmonic * time_axis) / harmonic for harmonic in range(1, 12))
    soundfile.write(path, 0.2 * syllables * buzz, SAMPLING_RATE)
    return str(path)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub on loopback that this process's huggingface_hub talks to."""
    with serve_hub() as server:
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
        server.cache = str(tmp_path / "cache")
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", server.cache)
        monkeypatch.setenv("HF_TOKEN", server.token)
        yield server


@pytest.fixture(scope="session")
def app_folder(tmp_path_factory):
    """Where the running app keeps its temporary files."""
    return tmp_path_factory.mktemp("app")


@pytest.fixture(scope="session")
def app_url(checkpoint, app_folder):
    """Address of the running app."""
    with serve_app(checkpoint, app_folder) as url:
        yield url


@contextmanager
def serve_app(checkpoint, folder):
    """`python app.py`, as a user starts it; its temporary files are in `folder`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "ASYMTALKER_CHECKPOINT": str(checkpoint),
        "ASYMTALKER_MAX_SECONDS": str(APP_MAX_SECONDS),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "TMPDIR": str(folder),
    }
    log = folder / "log.txt"
    with open(log, "w") as output:
        command = [sys.executable, "app.py"]
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=output, stderr=output)
        try:
            url = f"http://127.0.0.1:{port}/"
            wait_until(lambda: process.poll() is not None or answers(url), seconds=120)
            assert process.poll() is None, log.read_text()
            yield url
        finally:
            process.terminate()
            process.wait(10)


def answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def wait_until(condition, seconds):
    """Waits for `condition()`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds} s"
        time.sleep(0.05)
