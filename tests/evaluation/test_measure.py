"""What is read from a video, frame by frame or in some seconds only."""

from pathlib import Path

import numpy as np
import pytest

from asymtalker.evaluation.measure import Instruments, VideoMeasurement
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.metrics import FaceMesh, MetricUnavailableError

EXAMPLE = Path(__file__).parents[2] / "examples" / "nora.jpg"


@pytest.fixture
def frames():
    """Four seconds of a portrait that sways."""
    square = np.asarray(crop_portrait(read_portrait(EXAMPLE)).image.resize((192, 192)))
    return np.stack([np.roll(square, round(3 * np.sin(frame / 5)), axis=1) for frame in range(100)])


@pytest.fixture
def settings():
    try:
        FaceMesh().close()
    except MetricUnavailableError as error:
        pytest.skip(str(error))
    return EvaluationSettings("set", metrics=("geometry", "head"), seconds=4, face_every=2, interval=2)


def measured(frames, settings, sparse):
    with Instruments.open(settings, "cpu") as instruments:
        video = VideoMeasurement(frames[0], settings, instruments, keep=False, sparse=sparse)
        for block in np.split(frames, range(16, len(frames), 16)):  # seconds begin inside of blocks
            video.update(block)
        return video.compute()


def test_faces_are_looked_for_in_some_seconds_only(frames, settings):
    whole, some = (measured(frames, settings, sparse) for sparse in (False, True))
    assert settings.sparse
    assert "head" in whole and "head" not in some
    assert "one second of 2 only" in some["notes"]["head"]
    assert len(some["geometry"]) == 2  # a figure of each interval all the same
    assert some["geometry"] == pytest.approx(whole["geometry"], rel=0.5)
    assert some["drift"] == whole["drift"]


def test_an_interval_without_a_face_is_a_gap(frames, settings):
    frames[50:] = 128
    face, nothing = measured(frames, settings, sparse=False)["geometry"]
    assert face is not None and nothing is None
