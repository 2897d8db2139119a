import numpy as np
import pytest

from asymtalker.renderer.landmarks import OUTER_EYES, RIGID
from asymtalker.renderer.motion import FaceFrame, fit_pose, pose_basis


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    points = rng.uniform([40, 40, -90], [200, 200, 90], (478, 3))
    points[list(OUTER_EYES)] = (80, 100, 0), (160, 130, 0)  # a tilted face
    return points


def test_the_eyes_are_one_apart_and_level_in_the_faces_own_axes(points):
    frame = FaceFrame.of(points)
    left, right = frame.to_face(points[list(OUTER_EYES)])
    np.testing.assert_allclose(right - left, [1, 0, 0], atol=1e-6)
    vector = np.array([[0.2, -0.1]])
    moved = frame.to_face(points[list(OUTER_EYES), :2] + frame.to_pixels(vector)) - [left[:2], right[:2]]
    np.testing.assert_allclose(moved, np.repeat(vector, 2, 0), atol=1e-6)


def test_a_pose_is_found_in_what_it_does(points):
    frame = FaceFrame.of(points)
    pose = np.array([[0.05, -0.03, 0.04, 0.02, 0.1, -0.06], [0, 0, 0, 0, 0, 0]])
    basis = pose_basis(frame.to_face(points[list(RIGID)]))
    found = fit_pose(points, frame.to_pixels(np.moveaxis(basis @ pose.T, -1, 0)))
    np.testing.assert_allclose(found, pose, atol=0.02)
    assert np.abs(found[0]).min() > 0.01


def test_a_pose_of_zero_moves_nothing():
    assert not (pose_basis(np.random.default_rng(0).normal(size=(4, 3))) @ np.zeros(6)).any()
