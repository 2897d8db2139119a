"""That principal movements are found, and that noise says what a clip shows."""

import pytest
import torch
import torch.nn.functional as F

from asymtalker.models.gestures import GRID, Gestures
from asymtalker.sampling import read_gestures
from tests.tiny import tiny_transformer
from train.gestures import add_telling_noise, fit_gestures, with_blinks


def swaying(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Heads that go on as they went, drawn back to the middle, and depart from that along two paths.

    Returns:
        Movements (B, 2, 18, 8, 8) in widths of the picture, and departures (B, 2) from what was to be expected.
    """
    now, speed, departure = (torch.randn(count, 2, generator=generator) for _ in range(3))
    now, speed = 0.05 * now, 0.002 * speed
    time = torch.arange(1.0, 17.0)
    paths = torch.stack([time / 16, (time / 16) ** 2]) * torch.tensor([[0.02], [0.01]])
    after = now[..., None] * 0.97**time + speed[..., None] * time + departure[..., None] * paths
    track = torch.cat([(now - 4 * speed)[..., None], now[..., None], after], dim=-1)
    return track[..., None, None].expand(-1, -1, -1, GRID, GRID), departure


def test_departures_are_found_and_shown_again():
    generator = torch.Generator().manual_seed(0)
    gestures = Gestures(4, 16)
    expected, shown = fit_gestures(gestures, swaying(600, generator)[0])
    assert 0 < expected < 1 and shown > 0.99
    movement, departure = swaying(200, generator)
    pixels = F.interpolate(128 * movement.transpose(1, 2).flatten(0, 1), scale_factor=4).unflatten(0, (200, 18))
    numbers = gestures.read_movement(pixels.transpose(1, 2))
    assert numbers.shape == (200, 24)
    assert numbers[:, :2].std(0).tolist() == pytest.approx([1, 1], rel=0.15)
    found = torch.linalg.lstsq(numbers[:, :2], departure).solution
    assert (departure - numbers[:, :2] @ found).square().mean() < 0.02
    paths = torch.stack([torch.arange(1.0, 17.0) / 16, (torch.arange(1.0, 17.0) / 16) ** 2]) * 128
    wanted = departure[..., None] * paths * torch.tensor([[0.02], [0.01]])
    told = gestures(with_blinks(gestures, numbers), (32, 32))[:, :, :, 16, 16]
    assert (told - wanted).square().mean() < 0.02 * wanted.square().mean()


def test_noise_and_noisy_samples_tell_alike():
    torch.manual_seed(0)
    transformer = tiny_transformer(motion_prior=(6, 2))
    movement, sigma = torch.randn(3, 24), torch.tensor([1.0, 0.6, 0.1])
    numbers = with_blinks(transformer.motion.gestures, movement)
    assert numbers.shape == (3, 28) and torch.equal(transformer.motion.gestures.movement(numbers), movement)
    noisy, noise = add_telling_noise(transformer, torch.randn(3, 8, 4, 4, 4), sigma, numbers)
    torch.testing.assert_close(read_gestures(transformer, noise, torch.ones(3)), numbers, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(read_gestures(transformer, noisy, sigma), numbers, atol=1e-3, rtol=1e-3)
