"""Frames as the encoder takes them, of which only what moves is converted."""

import numpy as np
import pytest

from asymtalker.media.yuv import YuvConverter

MOVING = (21, 11, 60, 50)


def converted(frames, size=(96, 64), **options):
    """Luma and chroma of each frame, (F, 1.5 H, W)."""
    converter = YuvConverter(size, **{"label": False} | options)
    return np.stack([converter.convert(frame).to_ndarray() for frame in frames]).astype(int)


@pytest.fixture
def frames():
    """Noise in which only the rectangle moves."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 96, 3), np.uint8)
    still, (left, top, right, bottom) = np.repeat(noise[:1], 4, 0), MOVING
    still[:, top:bottom, left:right] = noise[:, top:bottom, left:right]
    return still


@pytest.mark.parametrize("label", [True, False])
def test_converting_what_moves_is_enough(frames, label):
    whole, part = converted(frames, label=label), converted(frames, label=label, moving=MOVING)
    np.testing.assert_array_equal(whole, part)
    assert np.abs(np.diff(part, axis=0)).max() > 20


def test_that_nothing_else_moves_is_taken_at_its_word(frames):
    frames[1:] = 0
    first, second, *_ = converted(frames, moving=MOVING)
    assert (second[20:40, 30:50] == 16).all()
    np.testing.assert_array_equal(second[:6], first[:6])


@pytest.mark.parametrize("moving", [(0, 0, 97, 63), (90, 50, 97, 63), (0, 0, 1, 1)])
def test_rectangles_at_the_edge_of_odd_frames(moving):
    noise = np.random.default_rng(0).integers(0, 256, (2, 63, 97, 3), np.uint8)
    noise[1, : moving[1]], noise[1, moving[3] :] = noise[0, : moving[1]], noise[0, moving[3] :]
    noise[1, :, : moving[0]], noise[1, :, moving[2] :] = noise[0, :, : moving[0]], noise[0, :, moving[2] :]
    whole, part = (converted(noise, (97, 63), moving=given) for given in (None, moving))
    assert whole.shape == (2, 96, 98)
    np.testing.assert_array_equal(whole, part)


def test_the_label_does_not_add_up(frames):
    labelled = converted(np.repeat(frames[:1], 3, 0), label=True, moving=MOVING)
    np.testing.assert_array_equal(labelled[0], labelled[2])
