"""Stage 1: trains the teacher by flow matching on real windows.

    accelerate launch train/teacher.py --config train/configs/tiny/teacher.yaml

κ is always that of the real clip and never noised; the loss covers the new latents only.
"""

from dataclasses import dataclass

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import EMAModel
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.conditioning import ReferenceMode, encode_window, null_speech, speech_span
from asymtalker.sampling import predict_flow
from train.config import DataSettings, RunSettings, parse_settings
from train.data import WindowDataset, WindowLaw, mouth_weights, split_clips, to_unit
from train.loop import Run, endless, prepare_transformer, set_learning_rate, start
from train.losses import add_noise, draw_sigma, flow_loss, flow_target


@dataclass(frozen=True, kw_only=True)
class TeacherSettings(DataSettings, RunSettings):
    """Attributes:
    init: pipeline folder to start from (of `train/autoencoder.py`, or an earlier teacher).
    learning_rate, weight_decay, beta2: of AdamW.
    cold_start, reference_reach: see `train.data.WindowLaw`.
    speech_dropout: probability of training without speech, for guidance.
    mouth_weight: how much more the mouth counts in the loss.
    pure_noise: probability of σ = 1.
    reference_mode: "temporal" (TRE) or "static" (the ablation).
    """

    init: str
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    beta2: float = 0.99
    cold_start: float = 0.1
    reference_reach: int = 75
    jitter: bool = True
    speech_dropout: float = 0.1
    mouth_weight: float = 5.0
    pure_noise: float = 0.2
    reference_mode: ReferenceMode = "temporal"


def teacher_loss(
    transformer: torch.nn.Module, pipeline: AsymTalkerPipeline, batch: dict[str, Tensor], settings: TeacherSettings
) -> Tensor:
    """Flow-matching loss of one batch of `train.data.WindowDataset`."""
    with torch.no_grad():
        window = encode_window(
            pipeline.vae,
            pipeline.speech_encoder,
            to_unit(batch["window"]),
            to_unit(batch["portrait"]),
            batch["segment"],
            pipeline.layout,
            settings.reference_mode,
        )
        size, device = len(window.latents), window.latents.device
        dropped = torch.rand(size, device=device) < settings.speech_dropout
        speech = torch.where(dropped.view(-1, 1, 1, 1, 1), null_speech(window.speech), window.speech)
        sigma = draw_sigma(size, pipeline.scheduler.config.shift, settings.pure_noise, device)
        noise = torch.randn_like(window.latents)
        noisy = add_noise(window.latents, noise, sigma)
    flow = predict_flow(transformer, noisy, sigma, window.continuity, window.reference, speech)
    return flow_loss(
        flow,
        flow_target(window.latents, noise),
        pipeline.transformer.sigma_weight(sigma),
        mouth_weights(batch["mouth"], window.latents.shape[-2:], settings.mouth_weight),
    )


def main(argv: list[str] | None = None) -> None:
    settings = parse_settings(TeacherSettings, __doc__, argv)
    accelerator = start(settings, settings.seed)
    pipeline = AsymTalkerPipeline.from_pretrained(settings.init)
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config))
    for model in (pipeline.vae, pipeline.speech_encoder):
        model.to(accelerator.device)
    transformer = prepare_transformer(pipeline.transformer, settings, accelerator.device).train()
    ema = EMAModel(transformer.parameters(), decay=settings.ema_decay, use_ema_warmup=True, power=0.75)

    span = speech_span(pipeline.speech_encoder, pipeline.layout)
    law = WindowLaw(settings.cold_start, settings.reference_reach, settings.jitter)
    seed = settings.seed + 1000 * accelerator.process_index
    dataset = WindowDataset(split_clips(settings)[0], pipeline.layout, span, settings.size, law, seed)
    loader = torch.utils.data.DataLoader(
        dataset, settings.batch_size, num_workers=settings.workers, pin_memory=accelerator.device.type == "cuda"
    )
    optimizer = torch.optim.AdamW(
        transformer.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
    )
    transformer, optimizer = accelerator.prepare(transformer, optimizer)
    run = Run(accelerator, settings)
    run.resume(ema)

    for batch in endless(loader):
        if run.progress >= 1:
            break
        rate = run.learning_rate(settings.learning_rate)
        set_learning_rate(optimizer, rate)
        batch = {name: values.to(accelerator.device, non_blocking=True) for name, values in batch.items()}
        with accelerator.autocast():
            loss = teacher_loss(transformer, pipeline, batch, settings)
        accelerator.backward(loss)
        norm = accelerator.clip_grad_norm_(transformer.parameters(), settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(pipeline.transformer.parameters())
        run.step += 1
        run.log(loss=loss.detach(), gradient=norm, rate=rate)
        if run.due():
            run.save(pipeline, ema)
    run.save(pipeline, ema)
    accelerator.end_training()


if __name__ == "__main__":
    main()
