"""Stage 1: trains the teacher by flow matching on real windows.

    accelerate launch train/teacher.py --config train/configs/tiny/teacher.yaml

κ is always that of the real clip and never noised; the loss covers the new latents only.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

from dataclasses import dataclass

import torch
from accelerate import Accelerator
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.conditioning import ReferenceMode, encode_window, null_speech
from asymtalker.sampling import predict_flow
from train.cache import NUMBER, CachedWindows, relevant_settings
from train.config import parse_settings
from train.data import (
    StoredWindows,
    StreamedWindows,
    WindowStageSettings,
    latent_weights,
    open_windows,
    to_unit,
)
from train.loop import Run, explained, open_pipeline, prepare_transformer, start, update
from train.losses import add_noise, draw_sigma, flow_loss, flow_target


@dataclass(frozen=True, kw_only=True)
class TeacherSettings(WindowStageSettings):
    """Attributes:
    init: pipeline folder to start from (of `train/autoencoder.py`, or an earlier teacher).
    learning_rate, weight_decay, beta2: of AdamW.
    speech_dropout: probability of training without speech, for guidance.
    mouth_weight: how much more the mouth counts in the loss, where frames are pictures.
    pure_noise: probability of σ = 1.
    reference_mode: "temporal" (TRE) or "static" (the ablation).
    cache: folder to keep encoded windows in, for autoencoders that take longer than the network; None for none.
    cached_batches: batches of a process that are kept there, and gone through again and again.
    """

    init: str
    learning_rate: float = 6e-4
    weight_decay: float = 0.01
    beta2: float = 0.99
    speech_dropout: float = 0.1
    mouth_weight: float = 5.0
    pure_noise: float = 0.2
    reference_mode: ReferenceMode = "temporal"
    cache: str | None = None
    cached_batches: int = 10_000


@torch.no_grad()
def encode_batch(
    pipeline: AsymTalkerPipeline, batch: dict[str, Tensor], settings: TeacherSettings
) -> dict[str, Tensor]:
    """What does not change while the teacher learns, of a batch of `train.data.WindowDataset`.

    Returns:
        The fields of `asymtalker.conditioning.Window`, and `mouth` where frames are pictures.
    """
    frames, portrait = to_unit(batch["window"]), to_unit(batch["portrait"])
    layout = pipeline.layout.holding(frames.shape[2])
    encoders = pipeline.vae, pipeline.speech_encoder
    window = encode_window(*encoders, frames, portrait, batch["segment"], layout, settings.reference_mode)
    return vars(window) | {name: batch[name] for name in ("mouth",) if name in batch}


def teacher_loss(
    transformer: torch.nn.Module, pipeline: AsymTalkerPipeline, batch: dict[str, Tensor], settings: TeacherSettings
) -> Tensor:
    """The flow-matching loss of a batch from `encode_batch`."""
    latents = batch["latents"]
    size, device = len(latents), latents.device
    dropped = (torch.rand(size, device=device) < settings.speech_dropout).view(-1, 1, 1, 1, 1)
    speech = torch.where(dropped, null_speech(batch["speech"]), batch["speech"])
    sigma = draw_sigma(size, pipeline.scheduler.config.shift, settings.pure_noise, device)
    noise = torch.randn_like(latents)
    noisy = add_noise(latents, noise, sigma)
    flow = predict_flow(transformer, noisy, sigma, batch["continuity"], batch["reference"], speech)
    weights = latent_weights(batch.get("mouth"), latents.shape[-2:], settings.mouth_weight)
    return flow_loss(flow, flow_target(latents, noise), weights)


def open_source(
    settings: TeacherSettings, pipeline: AsymTalkerPipeline, accelerator: Accelerator
) -> StoredWindows | StreamedWindows | CachedWindows:
    """The windows to train on, through the cache if there is to be one.

    Raises:
        ValueError: the dataset or the cache cannot be used.
    """
    windows = open_windows(settings, pipeline, accelerator)
    if settings.cache is None:
        return windows
    made_with = relevant_settings(settings, {"vae": pipeline.vae, "speech_encoder": pipeline.speech_encoder})
    made_with["processes"] = accelerator.num_processes
    place = settings.cache, settings.cached_batches, settings.accumulation, accelerator.process_index
    return CachedWindows(windows, *place, made_with)


def main(argv: list[str] | None = None) -> None:
    settings = parse_settings(TeacherSettings, __doc__, argv)
    accelerator = start(settings, settings.seed)
    pipeline = open_pipeline(settings.init, settings.size)
    pipeline.register_modules(scheduler=FlowMatchEulerDiscreteScheduler.from_config(pipeline.scheduler.config))
    for model in (pipeline.vae, pipeline.speech_encoder):
        model.to(accelerator.device)
    transformer = prepare_transformer(pipeline.transformer, settings, accelerator.device).train()

    optimizer = torch.optim.AdamW(
        transformer.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, settings.beta2),
        weight_decay=settings.weight_decay,
    )
    transformer, optimizer = accelerator.prepare(transformer, optimizer)
    windows = explained(open_source, settings, pipeline, accelerator)
    run = Run(accelerator, settings, pipeline, pipeline.transformer, windows.sample, windows)
    run.resume()

    for batch in run.passes(windows.batches(run.step)):
        rate = run.learning_rate(settings.learning_rate)
        if "latents" not in batch:
            number, batch = batch.get(NUMBER), encode_batch(pipeline, batch, settings)
            if number is not None:
                windows.store(number, batch)
        with accelerator.accumulate(transformer):
            with accelerator.autocast():
                loss = teacher_loss(transformer, pipeline, batch, settings)
            accelerator.backward(loss)
            norm = update(accelerator, transformer, optimizer, rate, settings.max_grad_norm)
        run.log(loss=loss.detach(), gradient=norm, rate=rate)
        run.complete_step()
    run.end()


if __name__ == "__main__":
    main()
