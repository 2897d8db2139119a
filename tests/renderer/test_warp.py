import numpy as np
import pytest
import torch

from asymtalker.renderer.warp import look_up, resize_field, sample


@pytest.fixture
def picture():
    rng = np.random.default_rng(0)
    return np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)


def grid(height, width):
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)


def test_a_picture_looked_up_at_its_own_pixels_is_itself(picture):
    np.testing.assert_array_equal(look_up(picture, grid(48, 64)), picture)


def test_a_shift_by_whole_pixels_repeats_the_border(picture):
    moved = look_up(picture, grid(48, 64) + np.float32([3, -2]))
    np.testing.assert_array_equal(moved[2:, :-3], picture[:-2, 3:])
    np.testing.assert_array_equal(moved[:2, :-3], np.broadcast_to(picture[0, 3:], (2, 61, 3)))


def test_opencv_and_pytorch_agree(picture):
    """What a CPU shows is what a GPU shows, to a few levels: OpenCV rounds places to 1/32 of a pixel."""
    rng = np.random.default_rng(1)
    smooth = picture // 2 + 64
    places = grid(48, 64) + rng.uniform(-1, 1, 2).astype(np.float32) + 0.3 * np.sin(grid(48, 64) / 9)
    places = (np.round(places * 32) / 32).astype(np.float32)
    tensor = torch.from_numpy(smooth).permute(2, 0, 1)[None].float()
    ours = sample(tensor, torch.from_numpy(places)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - look_up(smooth, places)).max() <= 2


def test_a_field_is_resized_from_corner_to_corner():
    field = np.stack(np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 2, 5)), axis=-1).astype(np.float32)
    large = resize_field(field, (33, 17))
    np.testing.assert_allclose(large[0, :, 0], np.linspace(0, 1, 33), atol=0.01)
    np.testing.assert_allclose(large[:, -1, 1], np.linspace(0, 2, 17), atol=0.02)
