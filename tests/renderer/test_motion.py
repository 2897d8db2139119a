import numpy as np
import pytest

from asymtalker.renderer.landmarks import OUTER_EYES
from asymtalker.renderer.motion import FaceFrame, pose_basis


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


def test_a_pose_of_zero_moves_nothing():
    assert not (pose_basis(np.random.default_rng(0).normal(size=(4, 3))) @ np.zeros(6)).any()
