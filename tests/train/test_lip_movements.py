import numpy as np
import pytest

from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.lips import INNER_LOWER, INNER_UPPER, OUTER_LOWER
from train.lip_movements import lip_movements, mirrored, principal_movements


@pytest.fixture
def clip():
    """A face whose lower lip goes down and up again, seen tilted and twice as large in the last frame."""
    rng = np.random.default_rng(0)
    face = rng.uniform(0, 100, (478, 3))
    face[[33, 263]] = (20, 30, 0), (80, 30, 0)
    for row, height in ((INNER_UPPER, 70), (INNER_LOWER, 71), (OUTER_LOWER, 80)):
        face[list(row), 0], face[list(row), 1] = np.linspace(40, 60, 11), height
    frames = []
    for opening in (0, 6, 12, 6):
        frame = face.copy()
        frame[list(INNER_LOWER[1:-1]), 1] += opening
        frame[list(OUTER_LOWER[1:-1]), 1] += opening
        frames.append(frame)
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    frames[-1][:, :2] = 2 * frames[-1][:, :2] @ turn
    return np.stack(frames)


def test_movements_are_relative_to_rest_and_to_the_face(clip):
    movements = lip_movements(clip)
    assert movements.shape == (4, len(LIPS), 2)
    assert not movements[0].any()
    np.testing.assert_allclose(movements[2, LIPS.index(14)], [0, 12 / 60], atol=1e-6)
    np.testing.assert_allclose(movements[3], movements[1], atol=1e-6)  # neither size nor tilt counts


def test_one_movement_has_one_component(clip):
    basis, deviations = principal_movements(lip_movements(clip), 3)
    assert basis.shape == (3, 80)
    assert deviations[0] > 0.1 and deviations[1] < 1e-6
    np.testing.assert_allclose(basis @ basis.T, np.eye(3), atol=1e-6)
    flat = lip_movements(clip).reshape(4, -1)
    np.testing.assert_allclose(flat @ basis[:1].T @ basis[:1], flat, atol=1e-6)


def test_components_are_symmetric():
    movements = 0.05 * np.random.default_rng(0).normal(size=(50, len(LIPS), 2))
    basis, _ = principal_movements(movements, 4)
    shapes = basis.reshape(4, len(LIPS), 2)
    np.testing.assert_allclose(mirrored(shapes), shapes, atol=1e-6)
    np.testing.assert_array_equal(mirrored(mirrored(movements)), movements)


def test_what_cannot_be_lips_is_left_out():
    with pytest.raises(ValueError, match="no moving lips"):
        principal_movements(np.full((3, len(LIPS), 2), 2.0), 2)
