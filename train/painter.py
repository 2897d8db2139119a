"""Stage 1b: trains the motion prior's painter, which opens the mouth of a displaced portrait as the voice has it.

    accelerate launch train/painter.py --config train/configs/tiny/painter.yaml

It is trained apart from the transformer, over displacements of single frames that were measured in real clips: a small
network that sees many more of them so.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.conditioning import speech_windows
from asymtalker.models.motion import LID_POINTS, LIP_POINTS, LandmarkFinder
from train.config import parse_settings
from train.data import WindowStageSettings, facial_movement, head_displacement, open_windows, to_unit
from train.loop import Run, explained, open_pipeline, start, update
from train.losses import painting_loss

FINDING_WEIGHT = 0.01
FINDING_STRIDE = 4
"""Landmarks are looked for in every so manieth frame of a window."""
BLUR = 5
"""Cells over which a displacement is averaged that is to show nothing of the lips."""
EYE_REACH = 0.15
"""Around the middle of an eye so much counts as the eye, in eye distances."""


@dataclass(frozen=True, kw_only=True)
class PainterSettings(WindowStageSettings):
    """Attributes:
    init: pipeline folder whose transformer has a motion prior.
    learning_rate, weight_decay: of AdamW.
    frames: new frames of a window that are painted, drawn at random.
    mouth_weight: how much more the mouth counts in the loss.
    eye_weight: how much more shut eyes count.
    coarseness: up to which share the displacements that are painted over are coarse ones, as a network predicts them.
    thrift: price of paint. Where paint gains little, as over texture that displacement has not put quite right, it is
        but a blur, and there is to be none.
    """

    init: str
    learning_rate: float = 2e-3
    weight_decay: float = 0.0
    frames: int = 4
    mouth_weight: float = 10.0
    eye_weight: float = 20.0
    coarseness: float = 1.0
    thrift: float = 0.3


def painter_loss(
    pipeline: AsymTalkerPipeline, batch: dict[str, Tensor], settings: PainterSettings
) -> dict[str, Tensor]:
    """The losses of frames of a batch of `train.data.WindowDataset`: their sum `loss`, and its parts.

    The displacements have more or less of what moves within a face taken out of them, as those that a network predicts
    have it: the painter has to make up for it. Lips and lids move as they were measured; where they were not, lips move
    as they are heard and lids not at all.
    """
    layout, painter = pipeline.layout, pipeline.transformer.motion.painter
    chosen = torch.randperm(layout.new_frames)[: settings.frames] - layout.new_frames  # from the end of the window
    portrait, window = to_unit(batch["portrait"]), to_unit(batch["window"])
    real = window[:, :, chosen]
    with torch.no_grad():
        speech = speech_windows(pipeline.speech_encoder, batch["segment"], layout)
    heard = painter.listen(speech[:, chosen])
    lips, lids = facial_movement(batch, chosen)
    lips, lids = torch.where(lips.isfinite(), lips.nan_to_num(), heard), lids.nan_to_num()
    with torch.no_grad():
        weights = 1 + (settings.mouth_weight - 1) * batch["mouth"].repeat_interleave(settings.frames, 0).unsqueeze(1)
        weights = weights + settings.eye_weight * shut_eyes(batch["points"][:, chosen], lids, portrait.shape[-2:])
        weights = weights / weights.mean()
        measured = batch["portrait_points"]
        points = torch.where(measured.isfinite(), measured.nan_to_num(), painter.finder(portrait))
    field = vary_detail(
        head_displacement(portrait, real, points, lips.detach(), lids), portrait.shape[-2:], settings.coarseness
    )
    portraits, points = (values.repeat_interleave(settings.frames, 0) for values in (portrait, points))
    painted, paint = painter.show(portraits, field, points, lips.flatten(0, 1), lids.flatten())
    losses = {
        "painting": painting_loss(painted, real.transpose(1, 2).flatten(0, 1), weights),
        "paint": settings.thrift * (weights * paint.abs()).mean(),
        "finding": FINDING_WEIGHT * finding_loss(painter.finder, portrait, window, batch),
    }
    return {"loss": sum(losses.values()), **losses}


def finding_loss(finder: LandmarkFinder, portrait: Tensor, window: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """How far, in pixels, landmarks are found from where they are, in portraits and some frames of windows."""
    frames = window[:, :, ::FINDING_STRIDE].transpose(1, 2)
    faces = torch.cat([portrait.unsqueeze(1), frames], dim=1).flatten(0, 1)
    truth = torch.cat([batch["portrait_points"].unsqueeze(1), batch["points"][:, ::FINDING_STRIDE]], dim=1)
    found = finder(vary_colour(faces)).view_as(truth)
    return torch.where(truth.isfinite(), found - truth.nan_to_num(), 0).abs().mean()


@torch.no_grad()
def vary_colour(faces: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [-1, 1] in other lights, and some in grey: portraits come from any camera."""
    like = {"device": faces.device, "dtype": faces.dtype}
    contrast = 1 + 0.3 * torch.randn(len(faces), 1, 1, 1, **like)
    light = 0.15 * torch.randn(len(faces), 3, 1, 1, **like)
    grey = torch.rand(len(faces), 1, 1, 1, **like) < 0.15
    return torch.where(grey, faces.mean(1, keepdim=True), faces).mul(contrast).add(light).clamp(-1, 1)


def shut_eyes(points: Tensor, lids: Tensor, size: torch.Size) -> Tensor:
    """Where eyes are, as far as they are shut: landmarks (B, F, 70, 2), NaN where unknown, to (B·F, 1, H, W)."""
    points, lids = points.flatten(0, 1), lids.flatten().view(-1, 1, 1)
    corners, upper, lower = points[:, LIP_POINTS:].split([2, LID_POINTS, LID_POINTS], dim=1)
    middles = ((upper + lower) / 2).unflatten(1, (2, -1)).mean(2)
    reach = EYE_REACH * (corners[:, 1] - corners[:, 0]).norm(dim=-1).view(-1, 1, 1)
    across, down = (  # b eye side
        torch.exp(-0.5 * ((torch.arange(side, device=points.device) + 0.5 - middles[..., axis, None]) / reach) ** 2)
        for axis, side in enumerate(reversed(size))
    )
    return (lids * torch.einsum("bey,bex->byx", down, across)).nan_to_num().unsqueeze(1)


class Painting(torch.nn.Module):
    """The painter with its losses: what several processes share are gradients of a `forward`."""

    def __init__(self, pipeline: AsymTalkerPipeline, settings: PainterSettings) -> None:
        super().__init__()
        self.painter = pipeline.transformer.motion.painter
        self._pipeline, self._settings = pipeline, settings

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return painter_loss(self._pipeline, batch, self._settings)


@torch.no_grad()
def vary_detail(displacement: Tensor, size: torch.Size, coarseness: float) -> Tensor:
    """Displacements (B, 2, F, h, w), more or less coarse, as fields of single frames (B·F, 2, H, W)."""
    displacement = displacement.transpose(1, 2).flatten(0, 1)
    coarse = F.avg_pool2d(displacement, BLUR, stride=1, padding=BLUR // 2, count_include_pad=False)
    share = coarseness * torch.rand(len(displacement), 1, 1, 1, device=displacement.device)
    return F.interpolate(torch.lerp(displacement, coarse, share), size=size, mode="bilinear")


def main(argv: list[str] | None = None) -> None:
    settings = parse_settings(PainterSettings, __doc__, argv)
    accelerator = start(settings, settings.seed)
    pipeline = open_pipeline(settings.init, settings.size)
    pipeline.to(accelerator.device)
    if pipeline.transformer.motion is None:
        raise SystemExit(f"The transformer of {settings.init} has no motion prior, so there is nothing to paint on.")
    painting = Painting(pipeline, settings).train()
    optimizer = torch.optim.AdamW(
        painting.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=settings.weight_decay
    )
    painting, optimizer = accelerator.prepare(painting, optimizer)
    windows = explained(open_windows, settings, pipeline, accelerator)
    run = Run(accelerator, settings, pipeline, pipeline.transformer.motion.painter, windows.sample, windows)
    run.resume()

    for batch in run.passes(windows.batches(run.step)):
        rate = run.learning_rate(settings.learning_rate)
        with accelerator.accumulate(painting):
            with accelerator.autocast():
                losses = painting(batch)
            accelerator.backward(losses["loss"])
            norm = update(accelerator, painting, optimizer, rate, settings.max_grad_norm)
        run.log(**{name: loss.detach() for name, loss in losses.items()}, gradient=norm, rate=rate)
        run.complete_step()
    run.end()


if __name__ == "__main__":
    main()
