import numpy as np
import pytest

from asymtalker.renderer.landmarks import CHIN
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER, Lips, shut_moves
from asymtalker.renderer.motion import FaceFrame
from tests.renderer.conftest import opened, still


def gap(points, moves):
    """How far apart the inner lips are, (11,) in eye distances."""
    frame = FaceFrame.of(points)
    places = frame.to_face(points[:, :2] + moves)
    return places[list(INNER_LOWER), 1] - places[list(INNER_UPPER), 1]


@pytest.fixture
def smiling(observed):
    """Landmarks of the same person with lips apart."""
    points = observed.points.copy()
    lips = Lips(points)
    points[:, :2] += lips.moves(opened(0.15).lips[0])
    return points


def test_shut_lips_meet(smiling):
    assert gap(smiling, np.zeros((478, 2))).max() > 0.1
    assert np.abs(gap(smiling, shut_moves(smiling))).max() < 1e-3


def test_a_smile_is_shut_unless_it_is_kept(smiling):
    rest = still().lips[0]
    assert gap(smiling, Lips(smiling).moves(rest, rest=1.0)).max() < 1e-3
    assert gap(smiling, Lips(smiling, keep_smile=True).moves(rest, rest=1.0)).max() > 0.1
    assert gap(smiling, Lips(smiling, keep_smile=True).moves(rest, rest=0.0)).max() < 1e-3


def test_lips_do_not_pass_through_each_other(observed):
    pressed = opened(-0.2).lips[0]
    assert gap(observed.points, Lips(observed.points).moves(pressed)).min() > -1e-3


def test_the_chin_goes_with_the_jaw(observed):
    lips = Lips(observed.points)
    moves = lips.moves(opened(0.2).lips[0])
    drop = lips.jaw(moves) @ FaceFrame.of(observed.points).axes[1] / FaceFrame.of(observed.points).unit
    assert 0.15 < drop < 0.25
    assert np.hypot(*moves[CHIN]) > 0.6 * np.hypot(*moves[17])
    assert not moves[1].any()  # the nose stays
