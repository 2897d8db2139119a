"""Heads and brows move smoothly near the way that was sampled."""

import numpy as np
import pytest

from asymtalker.renderer.inertia import Inertia


def follow(wanted, pieces, **options):
    inertia = Inertia(wanted[0], **options)
    return np.concatenate([inertia.follow(piece) for piece in np.split(wanted, pieces)])


def steps_of_patches(frames=64, jump=0.005):
    """A head that sways slowly, and is off by something else in every four frames; the right way and what is wanted."""
    true = 0.05 * np.sin(np.arange(frames) / 12)[:, None] * np.ones(3)
    off = np.random.default_rng(0).normal(0, jump, (frames // 4, 3))
    return true, true + np.repeat(off, 4, axis=0)


def test_what_rests_stays():
    rest = np.full((8, 3), 0.2)
    np.testing.assert_allclose(follow(rest, 2), rest, atol=1e-12)


def test_an_even_movement_is_kept_once_it_has_begun():
    turn = np.arange(48)[:, None] * np.array([[0.01, -0.02]])
    np.testing.assert_allclose(follow(turn, 3)[24:], turn[24:], atol=1e-3)


@pytest.mark.parametrize("pieces", [4, 8, 16])
def test_jerks_between_patches_are_smoothed_and_the_movement_stays(pieces):
    true, wanted = steps_of_patches()
    taken = follow(wanted, pieces)
    jerks, left, real = (np.square(np.diff(way, n=2, axis=0)).mean() for way in (wanted, taken, true))
    assert real < left < 0.2 * jerks
    assert np.abs(taken - true).mean() < np.abs(wanted - true).mean()
    assert np.std(taken, axis=0) == pytest.approx(np.std(true, axis=0), rel=0.15)


def test_there_is_no_seam_between_pieces():
    _, wanted = steps_of_patches()
    accelerations = np.abs(np.diff(follow(wanted, 4), n=2, axis=0)).mean(1)
    seams = accelerations[[14, 15, 30, 31, 46, 47]]
    assert seams.mean() < 2 * np.delete(accelerations, [14, 15, 30, 31, 46, 47]).mean()


def test_without_stiffness_it_is_what_is_wanted():
    _, wanted = steps_of_patches()
    np.testing.assert_allclose(follow(wanted, 4, stiffness=0.0), wanted, atol=1e-12)
