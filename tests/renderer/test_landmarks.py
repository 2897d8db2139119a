"""The groups of landmarks: complete, without repetition, and alike on both sides of the face."""

import pytest

from asymtalker.renderer import landmarks


@pytest.mark.parametrize(
    "name", ["LIPS", "RIGHT_EYE", "LEFT_EYE", "LIDS", "RIGHT_BROW", "LEFT_BROW", "NOSE", "OVAL", "JAW", "RIGID"]
)
def test_a_group_names_each_landmark_once(name):
    points = getattr(landmarks, name)
    assert len(set(points)) == len(points)
    assert all(0 <= point < landmarks.POINTS for point in points)


# What checkpoints and stored clips were made with: neither places nor their order may change.
# fmt: off
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 78, 95, 88, 178, 87,
        14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
RIGID = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 168, 6,
         197, 195, 5, 4, 1, 98, 327, 2, 33, 133, 362, 263, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
# fmt: on


def test_groups_are_those_of_the_measurements():
    assert landmarks.LIPS == LIPS
    assert landmarks.RIGID == RIGID
    assert (landmarks.UPPER_LIDS, landmarks.LOWER_LIDS) == (UPPER_LIDS, LOWER_LIDS)


@pytest.mark.parametrize("eye", [0, 1])
def test_lids_are_the_rings_of_the_eyes_without_their_corners(eye):
    ring, half = landmarks.EYES[eye], slice(7 * eye, 7 * eye + 7)
    assert ring[1:8] == landmarks.LOWER_LIDS[half]
    assert ring[:8:-1] == landmarks.UPPER_LIDS[half]
    assert (ring[0], ring[8]) == (landmarks.OUTER_EYES[eye], landmarks.INNER_EYES[eye])
