import numpy as np
import pytest

from asymtalker.renderer.landmarks import CHIN, LIPS
from asymtalker.renderer.lips import JAW, OUTER_LOWER, OUTER_SHARE, OUTER_UPPER, SOFT, Lips
from tests.renderer.conftest import gap, lip_moves, opened

REST = np.zeros((len(LIPS), 2))
NO_CHIN = np.zeros(2)


@pytest.fixture
def smiling(observed, head):
    """Landmarks of the same person with lips apart."""
    points = observed.points.copy()
    points[:, :2] += lip_moves(points, head, 0.15)
    return points


def test_a_gap_of_nothing_shuts_a_mouth_whatever_the_portrait_shows(smiling, observed, head):
    assert gap(smiling, head).max() > 0.1
    for points in (smiling, observed.points):
        moves = Lips(points, head).moves(REST, np.zeros(11), NO_CHIN)
        assert np.abs(gap(points, head, moves)).max() < 1e-4


@pytest.mark.parametrize("size", [0.05, 0.2])
def test_gaps_are_met_but_for_what_is_soft(smiling, observed, head, size):
    gaps = size * (1 - np.linspace(-1, 1, 11) ** 2)
    for points in (smiling, observed.points):
        moves = Lips(points, head).moves(REST, gaps, NO_CHIN)
        np.testing.assert_allclose(gap(points, head, moves)[1:-1], (gaps - SOFT).clip(0)[1:-1], atol=1e-4)


def test_gaps_are_met_whatever_the_lips_do_besides(smiling, head):
    pressed = opened(smiling, head, -0.2).lips[0]
    moves = Lips(smiling, head).moves(pressed, np.full(11, 0.1), NO_CHIN)
    np.testing.assert_allclose(gap(smiling, head, moves)[1:-1], 0.1 - SOFT, atol=1e-4)


def test_a_share_of_nothing_is_the_portrait_and_of_half_half_the_way(smiling, head):
    motion = opened(smiling, head, 0.2)
    lips, (gaps, chin) = Lips(smiling, head), (np.full(11, 0.3), motion.chin[0])
    assert np.abs(lips.moves(motion.lips[0], gaps, chin, share=0.0)).max() < 1e-6
    half, whole = (lips.moves(motion.lips[0], gaps, chin, share) for share in (0.5, 1.0))
    np.testing.assert_allclose(half, whole / 2, atol=1e-4)
    assert np.abs(whole).max() > 5


def test_outer_lips_go_along_with_the_inner(observed, head):
    moves = Lips(observed.points, head).moves(REST, np.full(11, 0.2), NO_CHIN)
    for outer, inner in ((OUTER_LOWER, 14), (OUTER_UPPER, 13)):
        np.testing.assert_allclose(moves[outer[5]], OUTER_SHARE * moves[inner], atol=1e-4)


def test_the_chin_goes_with_the_jaw(observed, head):
    lips, motion = Lips(observed.points, head), opened(observed.points, head, 0.2)
    moves = lips.moves(REST, np.zeros(11), motion.chin[0])
    np.testing.assert_allclose(lips.jaw(moves), head.to_pixels(np.array([0, 0.2])), atol=1e-4)
    np.testing.assert_allclose(moves[CHIN], JAW[CHIN] * lips.jaw(moves), atol=1e-4)
    assert not moves[1].any()  # the nose stays
