"""Stage 2: asymmetric knowledge distillation (AKD, arXiv 2605.02948).

    accelerate launch train/akd.py --config train/configs/tiny/akd.yaml

The teacher sees the real continuity reference κ_gt, student and critic see κ_gen, the end of what the student itself
generated; the student learns by distribution matching and a regression anchor. The paper's ablation is the four
combinations of `teacher_continuity` and `student_continuity`, and `reference_mode`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from diffusers import FlowMatchLCMScheduler
from torch import Tensor

from asymtalker.conditioning import ReferenceMode
from asymtalker.sampling import denoise_chunk, predict_flow, set_steps
from train.config import DataSettings, RunSettings, parse_settings
from train.data import window_layouts
from train.loop import Run, explained, open_pipeline, prepare_transformer, start, update
from train.losses import (
    add_noise,
    draw_matching_sigma,
    flow_loss,
    flow_target,
    matching_gradient,
    matching_loss,
    predicted_sample,
    regression_loss,
)
from train.recordings import open_recordings
from train.rollout import RolloutBatch, RolloutPool

Continuity = Literal["real", "generated"]


@dataclass(frozen=True, kw_only=True)
class AKDSettings(DataSettings, RunSettings):
    """Attributes:
    teacher: pipeline folder of the teacher, which student and critic start from.
    steps: denoising steps of the student.
    student_learning_rate, critic_learning_rate: of AdamW with β = (0, 0.999).
    student_every: the student is updated every n-th iteration, the critic in each.
    guidance_scale: audio guidance of the teacher, standard form.
    regression_weight, noise_regression_weight: λ_reg where the exit step starts at σ = 0 and at σ = 1, linear between.
        Out of pure noise the anchor pulls to the mean: 0 there, unless a single step has no other hold.
    mouth_weight: how much more the mouth counts in the losses.
    max_chunks, warm_start, jitter, new_latents, carry_pose: see `train.rollout.RolloutPool`.
    teacher_continuity, student_continuity: which κ each sees; "real" and "generated" is AKD.
    reference_mode: "temporal" (TRE) or "static" (the ablation).
    """

    teacher: str
    steps: int = 2
    student_learning_rate: float = 5e-5
    critic_learning_rate: float = 5e-5
    student_every: int = 3
    guidance_scale: float = 2.0
    regression_weight: float = 0.25
    noise_regression_weight: float = 0.0
    mouth_weight: float = 5.0
    max_chunks: int = 24
    warm_start: float = 0.25
    jitter: bool = True
    new_latents: tuple[int, ...] = ()
    carry_pose: bool = False
    teacher_continuity: Continuity = "real"
    student_continuity: Continuity = "generated"
    reference_mode: ReferenceMode = "temporal"


@dataclass
class Roles:
    """The three networks by role; the student's averaged weights are what is kept."""

    student: torch.nn.Module
    teacher: torch.nn.Module
    critic: torch.nn.Module


def draw_exit_step(accelerator: Accelerator, steps: int) -> int:
    """An exit step that is the same on all processes."""
    return int(broadcast(torch.randint(steps, (1,), device=accelerator.device)).item())


def choose_continuity(batch: RolloutBatch, which: Continuity) -> Tensor:
    return batch.window.continuity if which == "real" else batch.generated_continuity


def student_sample(
    student: torch.nn.Module, scheduler: FlowMatchLCMScheduler, batch: RolloutBatch, continuity: Tensor, exit_step: int
) -> tuple[Tensor, Tensor]:
    """Generates a chunk: (x₀-prediction at the exit step, with its gradient; the finished chunk, without)."""
    window = batch.window
    conditions = (continuity, window.reference, window.speech)
    sample = denoise_chunk(student, scheduler, torch.randn_like(window.latents), *conditions, exit_step=exit_step)
    if exit_step == len(scheduler.timesteps) - 1:
        return sample, sample.detach()
    with torch.no_grad():
        sigma = scheduler.sigmas[exit_step + 1].to(sample.device).expand(len(sample))
        latents = add_noise(sample.detach(), torch.randn_like(sample), sigma)
        finished = denoise_chunk(student, scheduler, latents, *conditions, first_step=exit_step + 1)
    return sample, finished


@torch.no_grad()
def score_gradient(roles: Roles, batch: RolloutBatch, sample: Tensor, shift: float, settings: AKDSettings) -> Tensor:
    """The distribution-matching gradient g at a sample, under the asymmetric continuity references."""
    window = batch.window
    sigma = draw_matching_sigma(len(sample), shift, sample.device)
    noisy = add_noise(sample, torch.randn_like(sample), sigma)
    real_continuity = choose_continuity(batch, settings.teacher_continuity)
    fake_continuity = choose_continuity(batch, settings.student_continuity)
    conditions = (window.reference, window.speech)
    real_flow = predict_flow(roles.teacher, noisy, sigma, real_continuity, *conditions, settings.guidance_scale)
    fake_flow = predict_flow(roles.critic, noisy, sigma, fake_continuity, *conditions)
    real, fake = (predicted_sample(noisy, flow, sigma) for flow in (real_flow, fake_flow))
    return matching_gradient(sample, real, fake)


def critic_loss(
    critic: torch.nn.Module, batch: RolloutBatch, sample: Tensor, shift: float, settings: AKDSettings
) -> Tensor:
    """Flow-matching loss of the critic on the student's samples, under the student's κ."""
    sigma = draw_matching_sigma(len(sample), shift, sample.device)
    continuity = choose_continuity(batch, settings.student_continuity)
    window = batch.window
    noise = torch.randn_like(sample)
    noisy = add_noise(sample, noise, sigma)
    flow = predict_flow(critic, noisy, sigma, continuity, window.reference, window.speech)
    return flow_loss(flow, flow_target(sample, noise))


def main(argv: list[str] | None = None) -> None:
    settings = parse_settings(AKDSettings, __doc__, argv)
    accelerator = start(settings, settings.seed)
    pipeline = open_pipeline(settings.teacher, settings.size)
    scheduler = FlowMatchLCMScheduler(shift=pipeline.scheduler.config.shift)
    set_steps(scheduler, settings.steps, accelerator.device)
    pipeline.register_modules(scheduler=scheduler)
    pipeline.register_to_config(num_inference_steps=settings.steps)
    pipeline.to(accelerator.device)

    teacher, critic = (copy.deepcopy(pipeline.transformer) for _ in range(2))
    for network in (pipeline.transformer, teacher, critic):
        prepare_transformer(network, settings, accelerator.device)
    teacher.requires_grad_(False).eval()
    optimizers = [
        torch.optim.AdamW(network.parameters(), lr=rate, betas=(0.0, 0.999), weight_decay=0.01)
        for network, rate in (
            (pipeline.transformer.train(), settings.student_learning_rate),
            (critic.train(), settings.critic_learning_rate),
        )
    ]
    # One after the other: sharding takes one network with its optimiser at a time.
    student, student_optimizer = accelerator.prepare(pipeline.transformer, optimizers[0])
    critic, critic_optimizer = accelerator.prepare(critic, optimizers[1])
    roles = Roles(student, teacher, critic)
    process, processes = accelerator.process_index, accelerator.num_processes
    longest = max(layout.new_frames for layout in window_layouts(pipeline.layout, settings.new_latents))
    recordings, sample = explained(open_recordings, settings, longest + 1, process, processes)
    pool = RolloutPool(
        recordings,
        pipeline,
        settings.samples(processes),
        settings.size,
        settings.max_chunks,
        settings.warm_start,
        jitter=settings.jitter,
        seed=(settings.seed, process),
        reference_mode=settings.reference_mode,
        new_latents=settings.new_latents,
        carry_pose=settings.carry_pose,
    )
    run = Run(accelerator, settings, pipeline, pipeline.transformer, sample, pool)
    run.resume()

    for row in run.passes(pool):
        batch = pool.encode(row)
        exit_step = draw_exit_step(accelerator, settings.steps)
        learns = run.step % settings.student_every == 0
        continuity = choose_continuity(batch, settings.student_continuity)
        with accelerator.accumulate(student, critic):
            with torch.set_grad_enabled(learns), accelerator.autocast():
                sample, finished = student_sample(student, scheduler, batch, continuity, exit_step)

            figures = {}
            if learns:
                weights = pool.weights(batch, settings.mouth_weight)
                sigma_exit = float(scheduler.sigmas[exit_step])
                with accelerator.autocast():
                    gradient = score_gradient(roles, batch, sample.detach(), scheduler.config.shift, settings)
                matching = matching_loss(sample, gradient, weights)
                anchor = regression_loss(sample, batch.window.latents, weights)
                hold = (1 - sigma_exit) * settings.regression_weight + sigma_exit * settings.noise_regression_weight
                accelerator.backward(matching + hold * anchor)
                rate = run.learning_rate(settings.student_learning_rate)
                norm = update(accelerator, student, student_optimizer, rate, settings.max_grad_norm)
                figures = {
                    "matching": matching.detach(),
                    "anchor": anchor.detach(),
                    "g": gradient.abs().mean(),
                    "student_gradient": norm,
                }

            with accelerator.autocast():
                loss = critic_loss(critic, batch, sample.detach(), scheduler.config.shift, settings)
            accelerator.backward(loss)
            rate = run.learning_rate(settings.critic_learning_rate)
            norm = update(accelerator, critic, critic_optimizer, rate, settings.max_grad_norm)
        with torch.no_grad():
            motion = pool.advance(continuity, finished)
        run.log(
            critic=loss.detach(),
            critic_gradient=norm,
            seam=motion.seam_ratio,
            motion=motion.motion_ratio,
            drift=motion.drift,
            depth=sum(batch.depth) / len(batch.depth),
            **figures,
        )
        run.complete_step(averages=learns)
    run.end()


if __name__ == "__main__":
    main()
