import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FlowMatchLCMScheduler

from asymtalker.sampling import denoise_chunk, predict_flow, set_steps
from tests.tiny import LATENT_CHANNELS, tiny_transformer


@pytest.mark.parametrize(
    ("shift", "steps", "sigmas"),
    [(5.0, 4, [1, 0.9375, 0.8333, 0.625]), (5.0, 2, [1, 0.8333]), (3.0, 2, [1, 0.75]), (3.0, 1, [1])],
)
@pytest.mark.parametrize("scheduler", [FlowMatchLCMScheduler, FlowMatchEulerDiscreteScheduler])
def test_noise_levels_come_out_of_the_schedulers(scheduler, shift, steps, sigmas):
    scheduler = scheduler(shift=shift)
    set_steps(scheduler, steps)
    np.testing.assert_allclose(scheduler.sigmas[:-1], sigmas, atol=1e-4)
    np.testing.assert_allclose(scheduler.timesteps, 1000 * scheduler.sigmas[:-1], atol=1e-3)
    assert scheduler.sigmas[-1] == 0


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    shape = (2, LATENT_CHANNELS, 6, 4, 4)
    return {
        "noise": torch.randn(2, LATENT_CHANNELS, 4, 4, 4, generator=generator),
        "continuity": torch.randn(2, LATENT_CHANNELS, 2, 4, 4, generator=generator),
        "reference": torch.randn(shape, generator=generator),
        "speech": torch.randn(2, 21, 5, 4, 16, generator=generator),
    }


def lcm(steps: int) -> FlowMatchLCMScheduler:
    scheduler = FlowMatchLCMScheduler(shift=3.0)
    set_steps(scheduler, steps)
    return scheduler


@torch.no_grad()
def test_the_network_sees_the_same_continuity_reference_at_every_step(inputs):
    transformer, seen = tiny_transformer(), []
    transformer.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    denoise_chunk(transformer, lcm(4), **inputs)
    assert len(seen) == 4
    for hidden in seen:
        torch.testing.assert_close(hidden[:, :LATENT_CHANNELS, :2], inputs["continuity"])
        torch.testing.assert_close(hidden[:, LATENT_CHANNELS:], inputs["reference"])
    assert not torch.equal(seen[0][:, :LATENT_CHANNELS, 2:], seen[1][:, :LATENT_CHANNELS, 2:])


@torch.no_grad()
def test_one_step_predicts_the_sample(inputs):
    transformer = tiny_transformer()
    conditions = {name: inputs[name] for name in ("continuity", "reference", "speech")}
    flow = predict_flow(transformer, inputs["noise"], torch.ones(2), **conditions)
    torch.testing.assert_close(denoise_chunk(transformer, lcm(1), **inputs), inputs["noise"] - flow)


@torch.no_grad()
def test_euler_follows_the_flow(inputs):
    transformer = tiny_transformer()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    set_steps(scheduler, 2)
    conditions = {name: inputs[name] for name in ("continuity", "reference", "speech")}
    latents = inputs["noise"]
    for sigma, following in ((1.0, 0.75), (0.75, 0.0)):
        flow = predict_flow(transformer, latents, torch.full((2,), sigma), **conditions)
        latents = latents + (following - sigma) * flow
    torch.testing.assert_close(denoise_chunk(transformer, scheduler, **inputs), latents)


@torch.no_grad()
def test_same_generator_same_chunk(inputs):
    transformer = tiny_transformer()
    first, second = (
        denoise_chunk(transformer, lcm(3), **inputs, generator=torch.Generator().manual_seed(7)) for _ in range(2)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_the_gradient_flows_through_the_exit_step_alone(inputs):
    transformer, calls = tiny_transformer(), []
    transformer.register_forward_hook(lambda module, args, output: calls.append(output[0].requires_grad))
    sample = denoise_chunk(transformer, lcm(4), **inputs, exit_step=2)
    assert calls == [False, False, True]
    sample.square().mean().backward()
    assert transformer.proj_out.weight.grad.abs().sum() > 0


def test_an_exit_returns_the_prediction_of_that_step(inputs):
    transformer = tiny_transformer()
    with torch.no_grad():
        whole = denoise_chunk(transformer, lcm(1), **inputs)
        early = denoise_chunk(transformer, lcm(4), **inputs, exit_step=0)
    torch.testing.assert_close(early, whole)


@torch.no_grad()
def test_a_chunk_can_be_taken_up_at_a_later_step(inputs):
    transformer, scheduler = tiny_transformer(), lcm(2)
    steps = {}
    whole = denoise_chunk(
        transformer,
        scheduler,
        **inputs,
        generator=torch.Generator().manual_seed(1),
        on_step=lambda step, latents: steps.setdefault(step, latents),
    )
    rest = denoise_chunk(transformer, scheduler, **(inputs | {"noise": steps[0]}), first_step=1)
    torch.testing.assert_close(rest, whole)


@torch.no_grad()
def test_guidance_is_the_standard_form(inputs):
    transformer = tiny_transformer()
    arguments = (inputs["noise"], torch.full((2,), 0.5), inputs["continuity"], inputs["reference"])
    conditional = predict_flow(transformer, *arguments, inputs["speech"])
    unconditional = predict_flow(transformer, *arguments, torch.zeros_like(inputs["speech"]))
    guided = predict_flow(transformer, *arguments, inputs["speech"], guidance_scale=3.0)
    torch.testing.assert_close(guided, unconditional + 3 * (conditional - unconditional))
