"""The groups of landmarks: complete, without repetition, and alike on both sides of the face."""

import pytest

from asymtalker.metrics import face_mesh
from asymtalker.renderer import landmarks


@pytest.mark.parametrize(
    "name", ["LIPS", "RIGHT_EYE", "LEFT_EYE", "LIDS", "RIGHT_BROW", "LEFT_BROW", "NOSE", "OVAL", "JAW", "RIGID"]
)
def test_a_group_names_each_landmark_once(name):
    points = getattr(landmarks, name)
    assert len(set(points)) == len(points)
    assert all(0 <= point < landmarks.POINTS for point in points)


def test_groups_are_those_of_the_measurements():
    assert set(landmarks.LIPS) == set(face_mesh.LIPS)
    assert landmarks.RIGID == face_mesh.RIGID
    assert (landmarks.UPPER_LIDS, landmarks.LOWER_LIDS) == (face_mesh.UPPER_LIDS, face_mesh.LOWER_LIDS)


@pytest.mark.parametrize("eye", [0, 1])
def test_lids_are_the_rings_of_the_eyes_without_their_corners(eye):
    ring, half = landmarks.EYES[eye], slice(7 * eye, 7 * eye + 7)
    assert ring[1:8] == landmarks.LOWER_LIDS[half]
    assert ring[:8:-1] == landmarks.UPPER_LIDS[half]
    assert (ring[0], ring[8]) == (landmarks.OUTER_EYES[eye], landmarks.INNER_EYES[eye])
