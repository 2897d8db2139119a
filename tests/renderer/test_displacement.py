import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from asymtalker.renderer.displacement import Displacement
from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.lips import Lips
from tests.renderer.conftest import SIDE, gap, lip_moves

POSE = np.array([0.04, -0.03, 0.02, 0.03, 0.08, -0.05])
NOTHING = np.zeros(6)


@pytest.fixture(scope="module")
def displacement(observed):
    return Displacement(observed.points, SIDE)


def came_from(places, at):
    """Where points (n, 2) of a frame lie in the portrait."""
    return np.stack([map_coordinates(places[..., axis], at[:, ::-1].T, order=1) for axis in (0, 1)], axis=1)


def identity():
    return np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1)


def test_without_motion_every_pixel_is_its_own(displacement):
    places = displacement.places(np.zeros((478, 2)), NOTHING)
    np.testing.assert_allclose(places, identity(), atol=1e-2)


def test_rigid_landmarks_go_with_the_head(displacement, observed):
    moves, inner = np.zeros((478, 2)), [168, 6, 197, 195, 33, 133, 362, 263, 105, 334]
    arrived = displacement.moved(moves, POSE)[inner]
    found = came_from(displacement.places(moves, POSE), arrived)
    assert np.hypot(*(arrived - observed.points[inner, :2]).T).mean() > 3
    assert np.hypot(*(found - observed.points[inner, :2]).T).mean() < 1


def test_lips_are_carried_to_their_landmarks(displacement, observed, head):
    moves = lip_moves(observed.points, head, 0.15)
    arrived = displacement.moved(moves, NOTHING)
    lower, upper = [17, 84, 314], [0, 37, 267]
    found = came_from(displacement.places(moves, NOTHING), arrived[lower + upper])
    np.testing.assert_allclose(found, observed.points[lower + upper, :2], atol=1.2)


def test_nothing_moves_at_the_border(displacement, observed, head):
    moves = lip_moves(observed.points, head, 0.25)
    away = np.abs(displacement.places(moves, 2 * POSE) - identity()).max(-1)
    assert max(away[0].max(), away[-1].max(), away[:, 0].max(), away[:, -1].max()) < 1e-3
    assert away.max() > 5


def test_a_wide_open_mouth_is_shut_without_a_fold(observed, head):
    """Newton's method finds where the skin came from though it is stretched twofold."""
    points = observed.points.copy()
    points[:, :2] += lip_moves(points, head, 0.22)
    shut = np.zeros((len(LIPS), 2)), np.zeros(11), np.zeros(2)
    displacement, moves = Displacement(points, SIDE), Lips(points, head).moves(*shut)
    assert gap(points, head).max() > 0.2 > 0.01 > np.abs(gap(points, head, moves)).max()
    places = displacement.places(moves, NOTHING)
    middle = round(float(points[17, 0]))
    chin = slice(int(points[17, 1]), int(points[152, 1]))
    assert (np.diff(places[chin, middle, 1]) > 0).all()  # down the chin, each pixel comes from further down


def test_the_skull_takes_the_lips_along(displacement, observed):
    pose = POSE + np.array([0.1, 0, 0, 0, 0, 0])
    skull = displacement.skull(pose)
    expected = displacement.moved(np.zeros((478, 2)), pose)[[13, 14]]
    found = observed.points[[13, 14], :2] @ skull[:, :2].T + skull[:, 2]
    np.testing.assert_allclose(found, expected, atol=1)
    assert np.abs(expected - observed.points[[13, 14], :2]).max() > 3
