"""The landmark finder: patches lie where they are said to lie, and what is found is in pixels of the picture."""

import cv2
import numpy as np
import pytest
import torch

from asymtalker.renderer.finder import (
    MIRRORED_LIPS,
    LandmarkFinder,
    PatchNetwork,
    cut_out,
    fit_squares,
    halved,
    to_pixels,
    to_unit,
)
from asymtalker.renderer.landmarks import LIPS, LIPS_OUTER, POINTS

SQUARES = torch.tensor([[30.0, 40.0, 12.0, 5.0], [50.0, 45.0, -8.0, 20.0]])
"""Turned, and of different sizes."""


def ramps(side):
    """A picture whose first colour is x, and whose second is y, both as shares of the side."""
    middles = (torch.arange(side) + 0.5) / side
    return torch.stack([middles.expand(side, side), middles[:, None].expand(side, side), torch.zeros(side, side)])


@pytest.fixture(scope="module")
def finder():
    """A finder that has seen no picture, but knows a shape."""
    torch.manual_seed(0)
    finder = LandmarkFinder().eval()
    finder.reference.copy_(torch.rand(POINTS, 2) * 1.6 - 0.8)
    for network in (finder.locator, finder.face):
        face = torch.cat([finder.reference, 0.1 * torch.randn(POINTS, 1)], dim=1)
        network.set_shapes(face * 0.7 + 0.02 * torch.randn(80, POINTS, 3))
    return finder


@pytest.mark.parametrize("dims", [2, 3])
def test_positions_in_a_square_and_in_the_picture_are_inverse(dims):
    points = torch.rand(2, 9, dims) * 2 - 1
    torch.testing.assert_close(to_unit(to_pixels(points, SQUARES), SQUARES), points, atol=1e-5, rtol=0)


def test_depth_is_in_the_scale_of_the_picture():
    points = torch.tensor([[[0.0, 0.0, 0.5]]] * 2)
    torch.testing.assert_close(to_pixels(points, SQUARES)[:, 0, 2], 0.5 * SQUARES[:, 2:].norm(dim=1))


def test_a_square_is_fitted_to_a_moved_turned_and_scaled_face():
    reference = torch.rand(20, 2) * 1.6 - 0.7  # not around the middle
    faces = to_pixels(reference.expand(2, -1, -1), SQUARES)
    torch.testing.assert_close(fit_squares(faces, reference), SQUARES, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("half", [6.0, 24.0])
def test_a_patch_shows_the_picture_upright_with_the_square(half):
    side, turn = 16, np.radians(30)
    square = torch.tensor([50.0, 46.0, half * np.cos(turn), half * np.sin(turn)], dtype=torch.float32)
    patch = cut_out(halved(ramps(96)), square, side)
    middles = (torch.arange(side) + 0.5) * (2 / side) - 1
    places = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1).view(1, -1, 2)
    expected = to_pixels(places, square[None]).view(side, side, 2).permute(2, 0, 1) / 96
    torch.testing.assert_close(patch[:2], expected, atol=2e-3, rtol=0)


def test_beyond_the_picture_its_border_goes_on():
    patch = cut_out(halved(ramps(32)), torch.tensor([0.0, 16.0, 6.0, 0.0]), 8)
    torch.testing.assert_close(patch[0, :, :4], torch.full((8, 4), 0.5 / 32), atol=1e-3, rtol=0)


def test_small_detail_is_averaged_before_it_is_left_out():
    stripes = torch.tensor([0.0, 1.0]).repeat(64).expand(3, 128, 128)
    patch = cut_out(halved(stripes), torch.tensor([64.0, 64.0, 60.0, 0.0]), 16)
    torch.testing.assert_close(patch, torch.full_like(patch, 0.5), atol=0.05, rtol=0)


def test_a_network_starts_from_the_shapes_it_is_given():
    network = PatchNetwork(16, (8, 8), points=5, dims=2, rank=3).eval()
    mean, modes = torch.randn(10), torch.randn(3, 10)
    shapes = mean + torch.randn(40, 3) @ modes
    network.set_shapes(shapes.view(40, 5, 2))
    away = (network(torch.rand(6, 3, 16, 16))[0].flatten(1) - shapes.mean(0)).T
    fitted = modes.T @ torch.linalg.lstsq(modes.T, away).solution
    torch.testing.assert_close(fitted, away, atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [64, 150, 333])
def test_an_observation_has_all_points_and_a_confidence(finder, side):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    points, confidence = finder.observe(image)
    assert points.shape == (POINTS, 3) and points.dtype == np.float32
    assert np.isfinite(points).all() and 0 <= confidence <= 1
    from_floats = finder.observe(image / np.float64(255))
    np.testing.assert_allclose(from_floats.points, points, atol=1e-2)


def test_points_are_in_pixels_of_the_picture(finder):
    image = cv2.resize(np.random.default_rng(1).integers(0, 256, (20, 20, 3), dtype=np.uint8), (256, 256))
    small = finder.observe(image).points
    for scale in (2, 4):  # the larger one is reduced first
        large = finder.observe(cv2.resize(image, None, fx=scale, fy=scale)).points
        np.testing.assert_allclose(large, scale * small, atol=2 * scale)


def test_lips_are_those_of_the_second_look(finder):
    """The mouth is looked at as it is and mirrored, so a point that moves takes half its mirror image along."""
    image = np.random.default_rng(2).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    before = finder.observe(image).points
    finder.mouth.basis.bias.data[2] += 0.5
    after = finder.observe(image).points
    finder.mouth.basis.bias.data[2] -= 0.5
    moved = np.abs(after - before).max(1) > 1e-3
    assert set(np.flatnonzero(moved)) == {LIPS_OUTER[1], LIPS_OUTER[9]}


def test_a_mirrored_picture_has_mirrored_lips():
    torch.manual_seed(1)
    finder = LandmarkFinder().eval()
    finder.reference[:, 1] = torch.rand(POINTS) * 1.6 - 0.8
    points = torch.cat([finder.reference * 40 + 64, torch.zeros(POINTS, 1)], dim=1)  # on the middle line
    picture = torch.rand(3, 128, 128)
    with torch.no_grad():
        lips, mirrored = (
            finder._look_closer(halved(image), points)[0][list(LIPS), :2] for image in (picture, picture.flip(-1))
        )
    assert (lips - points[list(LIPS), :2]).abs().max() > 1
    expected = mirrored[MIRRORED_LIPS] * torch.tensor([-1, 1]) + torch.tensor([128, 0])
    torch.testing.assert_close(lips, expected, atol=1e-3, rtol=0)


def test_lips_that_look_otherwise_in_a_mirror_are_not_trusted(finder):
    image = np.random.default_rng(4).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    basis = finder.mouth.basis
    before = basis.weight.data.clone(), basis.bias.data.clone()
    basis.weight.data.zero_()
    confidences = []
    for shift in (0.0, 1.0):  # one way for the picture and the other way for its mirror image
        basis.bias.data.zero_()
        basis.bias.data[::2] = shift
        confidences.append(finder.observe(image).confidence)
    basis.weight.data, basis.bias.data = before
    assert confidences[1] < 0.01 < confidences[0]


def test_its_weights_take_no_more_than_2_megabytes_in_half_precision(finder):
    assert 2 * sum(value.numel() for value in finder.state_dict().values()) < 2e6


@pytest.mark.parametrize("shape", [(64, 80, 3), (64, 64), (64, 64, 4)])
def test_what_is_no_square_picture_is_refused(finder, shape):
    with pytest.raises(ValueError, match="square RGB image"):
        finder.observe(np.zeros(shape, np.uint8))
