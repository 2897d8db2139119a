"""The equations of the method on tensors small enough to check by hand."""

import pytest
import torch

from train.losses import (
    add_noise,
    draw_matching_sigma,
    draw_sigma,
    flow_loss,
    flow_target,
    matching_gradient,
    matching_loss,
    predicted_sample,
    regression_loss,
    shift_sigma,
)

SHAPE = (2, 1, 2, 1, 1)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(SHAPE, generator=generator) for _ in range(3)]


def test_noising_and_prediction_are_inverse(tensors):
    clean, noise, _ = tensors
    sigma = torch.tensor([0.3, 1.0])
    noisy = add_noise(clean, noise, sigma)
    torch.testing.assert_close(noisy[0], 0.7 * clean[0] + 0.3 * noise[0])
    torch.testing.assert_close(noisy[1], noise[1])
    torch.testing.assert_close(predicted_sample(noisy, flow_target(clean, noise), sigma), clean)


@pytest.mark.parametrize(
    ("shift", "sigma", "shifted"), [(5, 0.75, 0.9375), (5, 0.25, 0.625), (3, 0.5, 0.75), (1, 0.4, 0.4)]
)
def test_shift(shift, sigma, shifted):
    assert shift_sigma(torch.tensor(sigma), shift).item() == pytest.approx(shifted)


def test_noise_levels_are_in_range():
    torch.manual_seed(0)
    sigma = draw_sigma(10_000, shift=3.0, pure_noise=0.2)
    assert sigma.min() > 0 and sigma.max() == 1
    assert (sigma == 1).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert sigma[sigma < 1].median().item() == pytest.approx(0.75, abs=0.02)
    matching = draw_matching_sigma(10_000, shift=5.0)
    assert (matching.min().item(), matching.max().item()) == pytest.approx((0.02, 0.98))


def test_no_gradient_where_teacher_and_critic_agree(tensors):
    sample, real, _ = tensors
    assert matching_gradient(sample, real, real).abs().max() == 0


def test_gradient_is_normalised_per_sample(tensors):
    sample, real, fake = tensors
    gradient = matching_gradient(sample, real, fake)
    for index in range(2):
        scale = (sample[index] - real[index]).abs().mean()
        torch.testing.assert_close(gradient[index], (fake[index] - real[index]) / scale)
    close = matching_gradient(real, real, real + 1)
    torch.testing.assert_close(close, torch.full(SHAPE, 1000.0))  # 1 / 1e-3: the floor


def test_matching_loss_hands_the_gradient_to_the_sample(tensors):
    sample, real, fake = tensors
    sample.requires_grad_()
    gradient = matching_gradient(sample.detach(), real, fake)
    matching_loss(sample, gradient).backward()
    torch.testing.assert_close(sample.grad, gradient / sample.numel())


def test_a_step_down_the_gradient_moves_from_fake_to_real():
    sample, real, fake = torch.zeros(SHAPE), torch.ones(SHAPE), -torch.ones(SHAPE)
    assert (sample - 0.1 * matching_gradient(sample, real, fake) > 0).all()


def test_weights_scale_their_own_part_of_the_loss(tensors):
    flow, target, _ = tensors
    first = (flow - target).square()[:, :, 0].mean()
    weight = torch.tensor([2.0, 0.0]).view(1, 1, 2, 1, 1)
    torch.testing.assert_close(flow_loss(flow, target, weight), first)
    torch.testing.assert_close(regression_loss(flow, target, weight), first)
    torch.testing.assert_close(flow_loss(flow, target), (flow - target).square().mean())
