"""Trains the renderer's landmark finder to find in pictures what MediaPipe's face mesh finds there.

    accelerate launch train/renderer.py --config train/configs/tiny/renderer.yaml

It learns from photographs that come with landmarks (see `train/faces.py` for the folder) and from frames of a dataset
of clips, which the face mesh labels once. In the end
`renderer` in the output folder is the component of a pipeline (`train/export.py --renderer`). Meanwhile the folder has
`finder.safetensors` (half precision) and `finder.json`, the arguments of `LandmarkFinder`, and `state.pt`, from which
an interrupted run resumes.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import copy
import inspect
import itertools
import json
import logging
import math
import time
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader

from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.renderer.finder import EYE_SHARE, MOUTH_SHARE, LandmarkFinder
from asymtalker.renderer.landmarks import IRISES, LIDS, LIPS, OUTER_EYES
from asymtalker.renderer.renderer import FaceRenderer
from train.config import parse_settings, start_logging
from train.face_patches import FacePatches, Patches, eye_unit, mirror_order, reference_face
from train.faces import LabelledFace, read_clip_faces, read_photographs
from train.loop import explained, keep_freed_memory

logger = logging.getLogger(__name__)

EYE_CONTOURS = LIDS + IRISES[0] + IRISES[1] + OUTER_EYES
GROUPS = {"lips": LIPS, "lids": LIDS, "all": tuple(range(478))}
STATE = "state.pt"
NEAR = 0.01
"""Errors below this, in eye distances, count by their square."""
SHAPE_BATCHES = 24
"""The networks start from the shapes in so many batches."""


@dataclass(frozen=True, kw_only=True)
class RendererSettings:
    """Attributes:
    photographs: folder of photographs with landmarks, see `train/faces.py`.
    dataset, split: of clips, Hub id or folder; None for photographs alone.
    clip_frames: labelled frames of each clip.
    holdout: every n-th photograph and clip is kept out of training, for the error that is logged.
    store: folder for labelled frames.
    output: folder for the finder and the state to resume from.
    photograph_share: so many faces of a batch are photographs'.
    max_minutes: wall-clock minutes, over all resumed runs, to which the learning rate is annealed.
    max_steps: optimiser steps at most.
    batch_size: patches for each network.
    learning_rate, weight_decay: of AdamW.
    warmup_steps: steps of linear learning-rate warm-up.
    ema_decay: of the averaged weights.
    depth_weight: how much depths count beside x and y.
    detail_weight: how much lips, lids and irises count more than other points of the whole face.
    save_minutes: minutes between saves, each with the error on what is held out.
    workers: processes that make patches.
    seed: of everything random.
    """

    photographs: str
    dataset: str | None = None
    split: str = "train"
    clip_frames: int = 8
    holdout: int = 5
    store: str = "data/store"
    output: str
    photograph_share: float = 0.6
    max_minutes: float = 60.0
    max_steps: int = 1_000_000
    batch_size: int = 24
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    ema_decay: float = 0.998
    depth_weight: float = 0.3
    detail_weight: float = 3.0
    save_minutes: float = 4.0
    workers: int = 1
    seed: int = 0


def finder_loss(
    finder: LandmarkFinder, batch: dict[str, Patches], settings: RendererSettings
) -> tuple[Tensor, dict[str, float]]:
    """The sum of the four networks' losses, and the mean distance of their points, in shares of the eye distance."""
    unit = eye_unit(finder.reference.numpy())
    details = torch.ones(finder.face.points)
    details[list(LIPS + EYE_CONTOURS)] = settings.detail_weight
    shares = {"locator": 1.0, "face": 1.0, "mouth": MOUTH_SHARE, "eye": EYE_SHARE}
    total, distances = torch.zeros(()), {}
    for name, patches in batch.items():
        network = getattr(finder, name)
        points, certainty = network(patches.images)
        error = (points - patches.points)[patches.placed] * (shares[name] / unit)
        if network.dims == 3:
            error = error * error.new_tensor([1, 1, settings.depth_weight])
        losses = F.smooth_l1_loss(error, torch.zeros_like(error), beta=NEAR, reduction="none").sum(-1)
        weights = details if network.points == len(details) else torch.ones(network.points)
        total = total + 20 * (losses * weights).mean() / weights.mean()
        if network.dims == 3:  # those that look at whole faces
            total = total + F.binary_cross_entropy_with_logits(certainty, patches.certainty)
        distances[name] = error[..., :2].detach().norm(dim=-1).mean().item()
    return total, distances


def portrait_of(face: LabelledFace, finder: LandmarkFinder, zoom: float = 1.0) -> LabelledFace:
    """A square portrait as the app crops it, about the face as large as its picture allows."""
    left, top, *axis = finder.squares(torch.from_numpy(face.points[None]))[0].tolist()
    height, width = face.image.shape[:2]
    side = min(round(2 * math.hypot(*axis) / zoom), height, width)
    left, top = (
        min(max(round(middle - side / 2), 0), length - side) for middle, length in ((left, width), (top, height))
    )
    square = np.ascontiguousarray(face.image[top : top + side, left : left + side])
    return LabelledFace(square, face.points - np.float32([left, top, 0]))


@torch.no_grad()
def measure(finder: LandmarkFinder, faces: list[LabelledFace]) -> dict[str, float]:
    """Errors of the finder in portraits of faces, in percent of the eye distance.

    Returns:
        For each of `GROUPS` the mean distance of points, and under `name_p90` the 90th percentile of faces' means.
    """
    errors = []
    for face in faces:
        portrait = portrait_of(face, finder)
        away = finder.observe(portrait.image).points[:, :2] - portrait.points[:, :2]
        eyes = np.linalg.norm(np.subtract(*portrait.points[list(OUTER_EYES), :2]))
        errors.append(100 * np.linalg.norm(away, axis=1) / eyes)
    figures = {}
    for name, group in GROUPS.items():
        means = np.array(errors)[:, list(group)].mean(1)
        figures |= {name: float(means.mean()), f"{name}_p90": float(np.percentile(means, 90))}
    return figures


class Training:
    """A finder on its way: weights, their average, the optimiser, steps and minutes; saved and resumed as one."""

    def __init__(self, finder: LandmarkFinder, settings: RendererSettings) -> None:
        self.finder, self._settings = finder, settings
        self.average = copy.deepcopy(finder).eval()
        self.optimizer = torch.optim.AdamW(
            finder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step, self._earlier, self._begin = 0, 0.0, time.monotonic()
        self.output = Path(settings.output)
        self.output.mkdir(parents=True, exist_ok=True)

    @property
    def minutes(self) -> float:
        return self._earlier + (time.monotonic() - self._begin) / 60

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by time, whichever is further."""
        return min(1.0, max(self.step / self._settings.max_steps, self.minutes / self._settings.max_minutes))

    def update(self, batch: dict[str, Patches]) -> dict[str, float]:
        """Makes a step; returns the mean distances of the networks' points."""
        warmup = min(1.0, (self.step + 1) / max(1, self._settings.warmup_steps))
        rate = self._settings.learning_rate * warmup * (0.01 + 0.495 * (1 + math.cos(math.pi * self.progress)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, distances = finder_loss(self.finder, batch, self._settings)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.finder.parameters(), 10.0)
        self.optimizer.step()
        self._take_average()
        self.step += 1
        return {"loss": loss.item(), **distances}

    @torch.no_grad()
    def _take_average(self) -> None:
        """Moves the average towards the weights; at first faster, so that it forgets where it began."""
        decay = min(self._settings.ema_decay, (1 + self.step) / (10 + self.step))
        pairs = zip(self.average.state_dict().values(), self.finder.state_dict().values(), strict=True)
        for average, value in pairs:
            average.lerp_(value, 1 - decay) if value.is_floating_point() else average.copy_(value)

    def save(self) -> None:
        """Writes the averaged finder, and what resuming needs."""
        save_finder(self.average, self.output)
        state = {
            "finder": self.finder.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
        }
        torch.save(state, self.output / f"{STATE}.new")
        (self.output / f"{STATE}.new").replace(self.output / STATE)

    def resume(self) -> None:
        """Takes up the saved state, if there is one."""
        if not (self.output / STATE).exists():
            return
        state = torch.load(self.output / STATE, weights_only=True)
        self.finder.load_state_dict(state["finder"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self._earlier = state["step"], state["minutes"]
        logger.info("resumed at step %d, after %.1f min", self.step, self._earlier)


def save_finder(finder: LandmarkFinder, folder: Path) -> None:
    """Writes `finder.safetensors` in half precision and `finder.json` with the constructor's arguments."""
    weights = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in finder.state_dict().items()
    }
    save_file(weights, folder / "finder.safetensors.new")
    (folder / "finder.safetensors.new").replace(folder / "finder.safetensors")
    defaults = inspect.signature(LandmarkFinder).parameters
    (folder / "finder.json").write_text(json.dumps({name: option.default for name, option in defaults.items()}))


def write_renderer(finder: LandmarkFinder, folder: Path) -> None:
    """Writes the renderer in half precision; `train/autoencoder.py` gives it the mean face."""
    renderer = FaceRenderer()
    renderer.finder.load_state_dict(finder.state_dict())
    renderer.half().save_pretrained(folder)


def split_faces(settings: RendererSettings) -> tuple[list[LabelledFace], list[LabelledFace], list, list]:
    """Photographs to train on and held out, frames to train on and held out (of each clip, its first).

    Raises:
        ValueError: they cannot be read, or none is left to train on.
    """
    photographs = read_photographs(settings.photographs)
    clips = []
    if settings.dataset:
        clips = read_clip_faces(settings.dataset, settings.split, settings.clip_frames, settings.store)
    held = settings.holdout
    if held == 1 or len(photographs) < 2:
        raise ValueError("No photograph is left to train on: give a larger holdout, or more photographs.")
    kept_out = (photographs[::held], [clip[0] for clip in clips[::held]]) if held else ([], [])
    photographs = [face for index, face in enumerate(photographs) if not held or index % held]
    frames = [face for index, clip in enumerate(clips) if not held or index % held for face in clip]
    return photographs, kept_out[0], frames, kept_out[1]


def start_shapes(finder: LandmarkFinder, data: FacePatches) -> None:
    """Lets each network start from the mean and the principal components of what it is to find."""
    batches = list(itertools.islice(data, SHAPE_BATCHES))
    for name in batches[0]:
        shapes = torch.cat([batch[name].points[batch[name].placed] for batch in batches])
        getattr(finder, name).set_shapes(shapes)


def main(argv: list[str] | None = None) -> None:
    start_logging()
    keep_freed_memory()
    settings = parse_settings(RendererSettings, __doc__, argv)
    try:
        photographs, held_photographs, frames, held_frames = explained(split_faces, settings)
    except MetricUnavailableError as error:
        raise SystemExit(str(error)) from error
    torch.manual_seed(settings.seed)
    cv2.setNumThreads(1)
    points = np.stack([face.points for face in photographs])
    mirror = mirror_order(points)
    finder = LandmarkFinder()
    finder.reference.copy_(torch.from_numpy(reference_face(points, mirror)))
    share = settings.photograph_share
    data = FacePatches(photographs, frames, finder.reference.numpy(), mirror, settings.batch_size, share, settings.seed)
    if not (Path(settings.output) / STATE).exists():
        start_shapes(finder, data)
    training = Training(finder, settings)
    training.resume()
    data.seed = (settings.seed, training.step)  # a resumed run draws anew
    train(training, data, settings, {"photographs": held_photographs, "frames": held_frames})
    write_renderer(training.average, training.output / "renderer")


def train(
    training: Training, data: FacePatches, settings: RendererSettings, held_out: dict[str, list[LabelledFace]]
) -> None:
    """Trains until the time or the steps are spent; saves, measures and logs every `save_minutes`."""
    batches = iter(DataLoader(data, batch_size=None, num_workers=settings.workers, worker_init_fn=_single_thread))
    saved, sums = time.monotonic(), {}
    training.finder.train()
    while training.progress < 1:
        for name, value in training.update(next(batches)).items():
            sums.setdefault(name, []).append(value)
        if training.progress >= 1 or time.monotonic() - saved > 60 * settings.save_minutes:
            training.save()
            means = {name: float(np.mean(values)) for name, values in sums.items()}
            errors = {kind: measure(training.average, faces) for kind, faces in held_out.items() if faces}
            write_log(training, means, errors)
            saved, sums = time.monotonic(), {}


def write_log(training: Training, means: dict[str, float], errors: dict[str, dict[str, float]]) -> None:
    """Logs the losses' means and the errors on what is held out, in percent of the eye distance."""
    logger.info("step %d  %.1f min  %s", training.step, training.minutes, _as_text(means))
    for kind, figures in errors.items():
        logger.info("  %s held out, errors in %% of the eye distance: %s", kind, _as_text(figures))
    line = {"step": training.step, "minutes": round(training.minutes, 2), **means, **errors}
    with open(training.output / "log.jsonl", "a") as file:
        file.write(json.dumps(line) + "\n")


def _as_text(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _single_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


if __name__ == "__main__":
    main()
