"""The pose of a head, and motion frames: what is left of landmarks without it."""

import numpy as np
import pytest

from asymtalker.renderer.head import HeadPose
from asymtalker.renderer.landmarks import CHIN, IRISES, LIPS, LOWER_LIDS, OUTER_EYES, RIGID, UPPER_LIDS
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER
from asymtalker.renderer.motion_frame import (
    BROW_CHANNELS,
    CHANNELS,
    CHIN_CHANNELS,
    EYE_CHANNELS,
    GAZE_CHANNELS,
    LIP_CHANNELS,
    POSE_CHANNELS,
    denormalize,
    measure,
    normalize,
)
from tests.renderer.heads import rotation, skull_of

POSES = [(0, 0, 0), (0.3, 0, 0), (0, -0.5, 0), (0, 0, 0.4), (0.2, 0.3, -0.25), (-0.4, -0.2, 0.3)]


@pytest.fixture(scope="module")
def face():
    """Landmarks of a face that looks straight ahead, in eye distances."""
    return skull_of(np.random.default_rng(0))


def seen(face, angles=(0, 0, 0), unit=90.0, middle=(120, 100, 5)):
    return face @ rotation(*angles).T * unit + middle


def pose_of(points, face):
    return HeadPose.of(points, face[list(RIGID)])


@pytest.mark.parametrize("angles", POSES)
def test_a_pose_is_found_again(face, angles):
    head = pose_of(seen(face, angles, unit=70.0), face)
    np.testing.assert_allclose(head.angles, angles, atol=1e-6)
    assert head.unit == pytest.approx(70)
    np.testing.assert_allclose(head.origin, (120, 100, 5), atol=1e-6)


def test_signs_of_the_angles(face):
    """Clockwise as seen, to the viewer's left, upwards; z goes away from the viewer."""
    right, nose = np.array([1.0, 0, 0]), np.array([0, 0, -1.0])
    assert (rotation(0.1, 0, 0) @ right)[1] > 0
    assert (rotation(0, 0.1, 0) @ nose)[0] < 0
    assert (rotation(0, 0, 0.1) @ nose)[1] < 0


@pytest.mark.parametrize("angles", POSES)
def test_a_face_is_the_same_however_it_is_turned(face, angles):
    points = seen(face, angles)
    head = pose_of(points, face)
    np.testing.assert_allclose(head.to_face(points), face, atol=1e-6)
    across = np.array([[0.1, -0.2]])
    expected = np.array([[0.1, -0.2, 0]]) @ rotation(*angles).T * 90
    np.testing.assert_allclose(head.to_pixels(across), expected[:, :2], atol=1e-6)


def test_another_persons_skull_gives_nearly_the_same_pose(face):
    points = seen(face + np.random.default_rng(1).normal(0, 0.03, face.shape), POSES[4])
    np.testing.assert_allclose(pose_of(points, face).angles, POSES[4], atol=0.04)


@pytest.mark.parametrize("angles", POSES)
def test_a_motion_frame_has_the_pose_in_its_channels_and_nowhere_else(face, angles):
    straight, turned = (measure(points, pose_of(points, face)) for points in (seen(face), seen(face, angles, 50.0)))
    assert turned.shape == (CHANNELS,) and turned.dtype == np.float32
    np.testing.assert_allclose(turned[POSE_CHANNELS], angles, atol=1e-5)
    np.testing.assert_allclose(turned[: POSE_CHANNELS.start], straight[: POSE_CHANNELS.start], atol=1e-5)


def test_channels_are_what_they_are_called(face):
    def change(points, move):
        """Channels that differ when landmarks move by (x, y) in eye distances, and by how much."""
        moved = face.copy()
        moved[list(points), :2] += move
        moved = seen(moved)
        frames = [measure(places, pose_of(seen(face), face)) for places in (seen(face), moved)]
        return frames[1] - frames[0]

    def only(channels, values):
        expected = np.zeros(CHANNELS)
        expected[channels] = values
        return expected

    np.testing.assert_allclose(change([CHIN], (0.1, 0.2)), only(CHIN_CHANNELS, (0.1, 0.2)), atol=1e-5)
    lips = np.zeros((40, 2))
    lips[LIPS.index(14)] = 0.02, 0.1
    np.testing.assert_allclose(change([14], (0.02, 0.1)), only(LIP_CHANNELS, lips.ravel()), atol=1e-5)
    np.testing.assert_allclose(change(UPPER_LIDS[:7], (0, 0.05)), only(EYE_CHANNELS, (-0.05, 0)), atol=1e-5)
    np.testing.assert_allclose(change(LOWER_LIDS[7:], (0, 0.05)), only(EYE_CHANNELS, (0, 0.05)), atol=1e-5)
    np.testing.assert_allclose(
        change([iris[0] for iris in IRISES], (0.03, -0.02)), only(GAZE_CHANNELS, (0.03, -0.02)), atol=1e-5
    )
    inner_left = (296, 336, 285, 295)
    np.testing.assert_allclose(change(inner_left, (0, -0.1)), only(BROW_CHANNELS, (0, 0, 0, -0.1)), atol=1e-5)


def test_shut_lips_have_no_gap_on_any_face(face):
    for wide in (0.8, 1.2):
        points = seen(face * [wide, 1, 1], POSES[4])
        lips = measure(points, pose_of(points, face * [wide, 1, 1]))[LIP_CHANNELS].reshape(-1, 2)
        upper, lower = ([LIPS.index(point) for point in half] for half in (INNER_UPPER, INNER_LOWER))
        np.testing.assert_allclose(lips[lower, 1] - lips[upper, 1], 0, atol=1e-6)


def test_normalised_frames_come_back():
    rng = np.random.default_rng(0)
    frames, mean = rng.normal(size=(5, CHANNELS)), rng.normal(size=CHANNELS)
    np.testing.assert_allclose(denormalize(normalize(frames, mean), mean), frames, atol=1e-12)
    assert not normalize(mean, mean).any()
    weighted = normalize(mean + 0.1, mean)
    assert weighted[EYE_CHANNELS].min() > weighted[GAZE_CHANNELS].max() > weighted[LIP_CHANNELS].max()


def test_eyes_are_one_apart(face):
    points = seen(face, POSES[5])
    eyes = pose_of(points, face).to_face(points[list(OUTER_EYES)])
    np.testing.assert_allclose(eyes[1] - eyes[0], [1, 0, 0], atol=1e-6)
