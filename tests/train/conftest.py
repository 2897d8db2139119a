"""Clips and settings at a tiny size, for the tests that run whole stages."""

import numpy as np
import PIL.Image
import pytest

from asymtalker.media.video import VideoWriter
from tests.tracks import FACE_MODEL, write_performances
from tests.train.tiny_stage import ROOT, command
from train import autoencoder

FRAMES = 60


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A folder of mp4 clips: the example portraits swaying, with noise for a voice; and one clip without a face."""
    folder = tmp_path_factory.mktemp("dataset")
    portraits = sorted((ROOT / "examples").glob("*.jpg"))
    assert portraits
    rng = np.random.default_rng(0)
    for path in portraits[:3]:
        portrait = PIL.Image.open(path).convert("RGB").resize((200, 200))
        write_clip(folder / f"{path.stem}.mp4", [sway(portrait, frame) for frame in range(FRAMES)], rng)
    write_clip(folder / "wall.mp4", [np.full((200, 200, 3), 128, np.uint8)] * FRAMES, rng)
    return folder


def sway(portrait, frame):
    shift = 4 * np.sin(frame / 9)
    return np.asarray(portrait.transform(portrait.size, PIL.Image.AFFINE, (1, 0, shift, 0, 1, 0)))


def write_clip(path, frames, rng):
    with VideoWriter(path, (200, 200), 25, 16_000, label=False) as writer:
        writer.write(np.stack(frames))
        writer.write_speech(rng.normal(0, 0.1, len(frames) * 640).astype(np.float32))


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def data(dataset, runs):
    """Settings of a stage that trains on clips."""
    return {"dataset": dataset, "store": runs / "store"}


@pytest.fixture(scope="session")
def tracks(runs):
    """Settings of a stage that trains on tracks."""
    return {"dataset": write_performances(runs / "performances", count=4, frames=FRAMES), "face_model": FACE_MODEL}


@pytest.fixture(scope="session")
def initial(data, runs):
    """A pipeline of pictures to train, of the first stage."""
    autoencoder.main(command("autoencoder", **data, output=runs / "autoencoder"))
    return runs / "autoencoder"


@pytest.fixture(scope="session")
def initial_motion(tracks, runs):
    """A pipeline of motion frames to train, of the first stage."""
    autoencoder.main(command("autoencoder", **tracks, output=runs / "motion-autoencoder"))
    return runs / "motion-autoencoder"


@pytest.fixture(scope="session", params=["clips", "tracks"])
def recordings(request, tracks):
    """Settings of a stage that trains on either, and what it starts from."""
    if request.param == "clips":
        return request.getfixturevalue("data"), request.getfixturevalue("initial")
    return tracks, request.getfixturevalue("initial_motion")
