"""What noise says of heads and lids."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler

from asymtalker.models.gestures import BLINK, BLINKS_PER_MINUTE, GRID, Gestures, coarse_movement
from asymtalker.sampling import denoise_chunk, read_gestures, set_steps, write_gestures
from tests.tiny import LATENT_CHANNELS, tiny_transformer

NEW = (4, 16)  # latent frames and frames


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, LATENT_CHANNELS, NEW[0], 4, 4, generator=torch.Generator().manual_seed(seed))


def test_numbers_in_noise_are_standard_normal():
    numbers = Gestures(*NEW).read_noise(noise(4000), torch.ones(4000))
    assert numbers.shape == (4000, 7 * 4)
    covariance = torch.cov(numbers.T)
    torch.testing.assert_close(covariance, torch.eye(28), atol=0.1, rtol=0)
    assert numbers.mean(0).abs().max() < 0.08


def test_what_is_written_is_read_at_every_noise_level_and_the_rest_of_the_noise_stays():
    gestures, latents, numbers = Gestures(*NEW), noise(3), torch.randn(3, 28)
    sigma = torch.tensor([1.0, 0.5, 0.05])
    told = gestures.write_noise(latents, sigma, numbers)
    torch.testing.assert_close(gestures.read_noise(told, sigma), numbers, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(told[:, :-7], latents[:, :-7])
    inner = [values[:, -7:] - values[:, -7:].mean((-2, -1), keepdim=True) for values in (told, latents)]
    torch.testing.assert_close(*inner, atol=1e-5, rtol=0)


def test_movements_are_added_up_in_pixels_of_any_size():
    gestures = Gestures(*NEW)
    gestures.fields[2, 0] = 0.25  # to the right by a quarter of the width
    numbers = torch.zeros(1, 28)
    numbers[0, 4 + 2] = 2.0
    for side in (16, 32):
        field = gestures(numbers, (side, side))
        assert field.shape == (1, 2, 16, side, side)
        torch.testing.assert_close(field[:, 0], torch.full((1, 16, side, side), 0.5 * 4 * side))
        assert not field[:, 1].any()
    pixels = torch.full((1, 2, 18, 16, 16), 3.2)
    torch.testing.assert_close(coarse_movement(pixels), torch.full((1, 2, 18, GRID, GRID), 0.05))


def test_blinks_come_at_a_human_rate_and_are_whole():
    numbers = torch.randn(20_000, 28, generator=torch.Generator().manual_seed(0))
    shut = Gestures(*NEW).lids(numbers)
    blinking = shut.amax(1) > 0
    minutes = len(shut) * 16 / 25 / 60
    assert int(blinking.sum()) / minutes == pytest.approx(BLINKS_PER_MINUTE, rel=0.05)
    torch.testing.assert_close(shut[blinking].sum(1), torch.full((int(blinking.sum()),), sum(BLINK)))
    starts = shut[blinking].ne(0).int().argmax(1)
    assert set(starts.tolist()) == set(range(16 - len(BLINK) + 1))


@torch.no_grad()
@pytest.mark.parametrize("scheduler", [FlowMatchLCMScheduler, FlowMatchEulerDiscreteScheduler])
def test_a_chunk_keeps_its_gestures_from_step_to_step(scheduler):
    """Each step shows the movement that the first noise spoke of, also where noise is added anew."""
    transformer, seen = tiny_transformer(motion_prior=(6, 2)), []
    transformer.motion.gestures.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    scheduler = scheduler(shift=3.0)
    set_steps(scheduler, 3)
    first = noise(2)
    conditions = (torch.zeros(2, 8, 2, 4, 4), torch.zeros(2, 8, 6, 4, 4), torch.randn(2, 21, 5, 4, 16))
    denoise_chunk(transformer, scheduler, first, *conditions, generator=torch.Generator().manual_seed(1))
    assert len(seen) == 3
    for numbers in seen:
        torch.testing.assert_close(numbers, read_gestures(transformer, first, torch.ones(2)), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_other_noise_moves_the_head_otherwise_and_blinks_where_it_says():
    transformer = tiny_transformer(motion_prior=(6, 2))
    torch.nn.init.normal_(transformer.motion.gestures.fields, std=0.01)
    window = torch.cat([torch.zeros(1, 8, 2, 4, 4), noise(1)], dim=2)
    inputs, speech = torch.cat([window, torch.zeros_like(window)], dim=1), torch.zeros(1, 21, 5, 4, 16)
    numbers = torch.zeros(1, 28)
    displacements, samples = [], []
    for place, value in ((4, 2.0), (4, -2.0), (0, 3.0), (0, -1.0)):  # of a movement, and of blinks
        told = numbers.clone()
        told[0, place] = value
        inputs[:, :8, 2:] = write_gestures(transformer, window[:, :, 2:], torch.ones(1), told)
        sample, displacement = transformer(inputs, torch.tensor([1000.0]), speech, return_dict=False)
        displacements.append(displacement)
        samples.append(sample)
    field = 4 * transformer.motion.gestures(torch.eye(28)[4:5], (16, 16))
    torch.testing.assert_close(displacements[0] - displacements[1], field, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(displacements[2], displacements[3])
    assert (samples[2] - samples[3]).abs().max() > 0


def test_networks_without_a_motion_prior_have_no_gestures():
    transformer, latents = tiny_transformer(), noise(2)
    assert read_gestures(transformer, latents, torch.ones(2)) is None
    assert write_gestures(transformer, latents, torch.ones(2), None) is latents
