"""The one denoising loop, for the pipeline, the teacher and the student's rollouts in training.

What the schedulers of diffusers do stays theirs: FlowMatchLCMScheduler predicts x₀ and adds fresh noise (few steps),
FlowMatchEulerDiscreteScheduler integrates (many steps); both own the shift.
"""

from collections.abc import Callable

import numpy as np
import torch
from diffusers import ModelMixin, SchedulerMixin
from torch import Tensor

from asymtalker.conditioning import null_speech
from asymtalker.stages import STEP, stage


def set_steps(scheduler: SchedulerMixin, steps: int, device: torch.device | str | None = None) -> None:
    """Sets `steps` timesteps, evenly spaced before the scheduler's own shift.

    `set_timesteps(steps)` would end close to σ = 0 instead, and sigmas that are shifted already get shifted twice.
    """
    scheduler.set_timesteps(sigmas=np.linspace(1, 0, steps + 1)[:-1].tolist(), device=device)


def unwrapped(transformer: torch.nn.Module) -> ModelMixin:
    """The network itself: a distributed wrapper has nothing but its `forward`."""
    return getattr(transformer, "module", transformer)


def predict_flow(
    transformer: ModelMixin,
    latents: Tensor,
    sigma: Tensor,
    continuity: Tensor,
    reference: Tensor,
    speech: Tensor,
    guidance_scale: float = 1.0,
) -> Tensor:
    """Predicts the flow of the new latents of a window.

    Args:
        latents: noisy new latents (B, C, N, h, w).
        sigma: noise level (B,), in (0, 1].
        continuity: κ, (B, C, K, h, w), takes the first K latent frames as it is.
        reference: z_ref, (B, C, K + N, h, w).
        speech: speech windows, see `asymtalker.conditioning.speech_windows`.
        guidance_scale: w of `uncond + w·(cond − uncond)`; 1 is no guidance and one evaluation.

    Returns:
        (B, C, N, h, w) in float32.
    """
    dtype = unwrapped(transformer).dtype
    window = torch.cat([continuity.to(latents.dtype), latents], dim=2)
    inputs = torch.cat([window, reference.to(latents.dtype)], dim=1).to(dtype)

    def flow(condition: Tensor) -> Tensor:
        sample = transformer(inputs, sigma * 1000, condition.to(dtype), return_dict=False)[0]
        return sample[:, :, continuity.shape[2] :].float()

    conditional = flow(speech)
    if guidance_scale == 1:
        return conditional
    unconditional = flow(null_speech(speech))
    return unconditional + guidance_scale * (conditional - unconditional)


def denoise_chunk(
    transformer: ModelMixin,
    scheduler: SchedulerMixin,
    noise: Tensor,
    continuity: Tensor,
    reference: Tensor,
    speech: Tensor,
    *,
    guidance_scale: float = 1.0,
    generator: torch.Generator | None = None,
    first_step: int = 0,
    exit_step: int | None = None,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Denoises the new latents of one window.

    Args:
        scheduler: with timesteps set (`set_steps`); this stream's own copy.
        noise: (B, C, N, h, w); latents at the noise level of `first_step` if that is not 0.
        continuity, reference, speech, guidance_scale: see `predict_flow`.
        generator: for schedulers that add noise.
        first_step: step to start with.
        exit_step: stop at this step (from 0) and return its x₀-prediction; only that step carries a gradient. None
            runs all steps and leaves gradients as the caller has them.
        on_step: called with the step and the latents after it.

    Returns:
        The new latents (B, C, N, h, w) in float32.
    """
    scheduler.set_begin_index(first_step)
    scheduler._step_index = None
    latents = noise.float()
    levels = scheduler.sigmas.to(latents.device).unsqueeze(1).expand(-1, len(latents))
    for step, timestep in enumerate(scheduler.timesteps[first_step:], start=first_step):
        leaving = step == exit_step
        with torch.set_grad_enabled(torch.is_grad_enabled() and (leaving or exit_step is None)), stage(STEP):
            flow = predict_flow(transformer, latents, levels[step], continuity, reference, speech, guidance_scale)
            if leaving:
                return latents - scheduler.sigmas[step] * flow
            latents = scheduler.step(flow, timestep, latents, generator=generator, return_dict=False)[0]
        if on_step is not None:
            on_step(step, latents)
    return latents
