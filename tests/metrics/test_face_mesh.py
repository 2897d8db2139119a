"""The face mesh's worker, and the curves that are read from landmarks. What needs mediapipe is skipped without it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.metrics import FaceMesh, MetricUnavailableError, eye_opening, fill_gaps, lip_opening
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from asymtalker.renderer.landmarks import NOSE_TIP

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def mesh():
    try:
        with FaceMesh() as mesh:
            yield mesh
    except MetricUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def portrait():
    return np.asarray(crop_portrait(read_portrait(EXAMPLES / "nora.jpg")).image.resize((256, 256)))


def test_landmarks_follow_a_moved_picture(mesh, portrait):
    moved = np.roll(portrait, 6, axis=1)
    mesh.reset()
    here = mesh.landmarks(portrait[None])[0]
    mesh.reset()
    there = mesh.landmarks(moved[None])[0]
    assert np.abs(here[NOSE_TIP, :2] - 128).max() < 60
    np.testing.assert_allclose(np.median(there[:, :2] - here[:, :2], axis=0), [6, 0], atol=1)


def test_no_face_gives_nan(mesh):
    mesh.reset()
    assert np.isnan(mesh.landmarks(np.zeros((2, 64, 64, 3), np.uint8))).all()


def test_a_worker_that_has_ended_says_so(portrait):
    try:
        mesh = FaceMesh()
    except MetricUnavailableError as error:
        pytest.skip(str(error))
    with mesh:
        mesh._worker.terminate()
        mesh._worker.wait(10)
        with pytest.raises(ConnectionError, match="run again"):
            mesh.landmarks(portrait[None])


def test_a_missing_environment_says_what_to_do(monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    with pytest.raises(MetricUnavailableError, match=f"{PYTHON_VARIABLE} names /nowhere/python"):
        FaceMesh()


def test_an_environment_without_mediapipe_says_what_to_do(tmp_path):
    bare = tmp_path / "python"  # isolated: sees no installed package
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with pytest.raises(MetricUnavailableError, match=r"cannot be loaded.*mediapipe==0\.10\.14"):
        FaceMesh(bare)


def test_openings_are_in_eye_distances():
    points = np.zeros((2, 478, 3))
    points[:, 263, 0] = 40  # the eyes are 40 apart
    points[1, 14, 1] = 10  # the lower lip is 10 below the upper one
    points[:, [145, 374], 1] = [4, 8]
    np.testing.assert_allclose(lip_opening(points), [0, 0.25])
    np.testing.assert_allclose(eye_opening(points), 6 / 40)


def test_gaps_are_interpolated():
    curve = np.array([[0.0, 1], [np.nan, np.nan], [2, 3], [np.nan, np.nan], [np.nan, 0], [8, 9]])
    with pytest.raises(ValueError, match="only 3 of 6"):
        fill_gaps(curve)
    np.testing.assert_allclose(fill_gaps(np.vstack([curve, curve[-1:]]))[:6, 0], [0, 1, 2, 4, 6, 8])
