"""What a checkpoint of motion frames does, measured before anything is rendered.

    python -m train.motion_figures runs/tiny/akd/pipeline --dataset data/performances --steps 2

It performs held-out tracks chunk by chunk, each from a motion frame of its own, and compares with what the animator
made of the same phones: by these figures checkpoints are chosen, and arms of the ablation told apart, within minutes.
With `--seconds 600` the sound is repeated and the figures are those of drift.
"""

import argparse
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, WindowLayout
from asymtalker.media.alignment import Phone
from asymtalker.metrics import BlinkRate, LipClosure, SilentMouth, frechet_distance, seam_ratio, silent_frames
from asymtalker.renderer.inertia import Inertia
from asymtalker.renderer.motion_frame import EYE_CHANNELS, LIP_CHANNELS, POSE_CHANNELS, WEIGHTS, denormalize, lip_gaps
from train.animation.performance import Performance
from train.config import start_logging
from train.data import window_layouts
from train.loop import open_pipeline
from train.tracks import PersonView, Track, load_tracks
from train.views import as_floats

LONG_STREAMS = 8
LEAST_FRAMES, GROUP = 75, 8
"""Tracks that are shorter are left out; so many of about one length are performed in step."""


@dataclass(frozen=True)
class Sampling:
    """How motion frames are generated.

    Attributes:
        steps: denoising steps.
        guidance_scale: audio guidance; 1 is none.
        new_latents: of a window; None: the checkpoint's own.
        seed: of people and noise.
    """

    steps: int
    guidance_scale: float = 1.0
    new_latents: int | None = None
    seed: int = 0

    def layout(self, pipeline: AsymTalkerPipeline) -> WindowLayout:
        """That of the windows."""
        return window_layouts(pipeline.layout, () if self.new_latents is None else (self.new_latents,))[0]


@dataclass(frozen=True)
class Performed:
    """Motion frames that were generated for tracks, and the true ones.

    Attributes:
        made, true: normalised motion frames, (F, 93) each.
        track: what was performed.
    """

    made: np.ndarray
    true: np.ndarray
    track: Track


@torch.no_grad()
def perform(pipeline: AsymTalkerPipeline, tracks: list[Track], sampling: Sampling) -> list[Performed]:
    """Performs tracks in step, each on a person drawn at random; as many frames of each as the shortest has."""
    frames = min(len(track) for track in tracks)
    views = [PersonView(track, np.random.default_rng((sampling.seed, number))) for number, track in enumerate(tracks)]
    true = torch.stack([view.frames(list(range(frames)))[:, 0, 0] for view in views])
    speech = np.stack([as_floats(track.speech[: frames * SAMPLES_PER_FRAME]) for track in tracks])
    made = generate(pipeline, true[:, 0], torch.from_numpy(speech), sampling)
    return [Performed(*parts) for parts in zip(made.numpy(), true.numpy(), tracks, strict=True)]


@torch.no_grad()
def generate(pipeline: AsymTalkerPipeline, portraits: Tensor, speech: Tensor, sampling: Sampling) -> Tensor:
    """Motion frames (B, F, 93) for portraits (B, 93) and speech (B, 640·F)."""
    layout, frames = sampling.layout(pipeline), speech.shape[-1] // SAMPLES_PER_FRAME
    state = pipeline.start_stream(
        portraits[:, :, None, None],
        sampling.steps,
        guidance_scale=sampling.guidance_scale,
        generator=torch.Generator().manual_seed(sampling.seed),
        layout=layout,
    )
    state.speech.append(speech)
    made = [pipeline.next_chunk(state)[..., 0, 0] for _ in range(layout.chunk_count(frames))]
    return torch.cat(made, dim=2)[:, :, :frames].transpose(1, 2)


def opening(frames: np.ndarray) -> np.ndarray:
    """Distance of the inner lips in the middle (F,) of normalised motion frames (F, 93)."""
    gaps = lip_gaps(frames)
    return gaps[:, gaps.shape[1] // 2].clip(min=0)


def phones_of(track: Track) -> list[Phone]:
    """The phones of a performance with their times."""
    pairs = zip(track.source.phones, track.source.phone_spans.tolist(), strict=True)
    return [Phone(name, *span) for name, span in pairs]


def figures(performed: list[Performed], period: int) -> dict[str, float]:
    """The figures of short rollouts; `period` is the number of new frames in a window."""
    made, true = ([vars(one)[kind] for one in performed] for kind in ("made", "true"))
    pairs = [(opening(one.made), opening(one.true)) for one in performed]
    mean = performed[0].track.model.mean
    shown = [shown_head(frames, mean, period) for frames in made]
    heads = [denormalize(frames, mean)[:, POSE_CHANNELS] for frames in true]
    found = {
        "lips": float(np.mean([np.corrcoef(pair)[0, 1] for pair in pairs])),
        "reach": float(np.mean([ours.std() / theirs.std() for ours, theirs in pairs])),
        "head": _ratio(shown, heads, order=1),
        "head_acceleration": _ratio(shown, heads, order=2),
        "seams": float(np.mean([seam_ratio(_changes(frames), period) for frames in made])),
        "distance": motion_distance(made, true),
    }
    for name, frames in (("", made), ("true_", true)):
        closures, silence, blinks = LipClosure(FPS), SilentMouth(), BlinkRate(FPS)
        for video, one in zip(frames, performed, strict=True):
            gap = opening(video)
            with suppress(ValueError):  # nothing to be measured is said
                closures.update(gap, [phone for phone in phones_of(one.track) if phone.end * FPS < len(gap)])
            with suppress(ValueError):
                speech = as_floats(one.track.speech[: len(gap) * SAMPLES_PER_FRAME])
                silence.update(gap, *silent_frames(speech, len(gap), SAMPLES_PER_FRAME))
            blinks.update(denormalize(video, mean)[:, EYE_CHANNELS].mean(1))
        for metric, measured in (("closures", closures), ("silence", silence), ("blinks", blinks)):
            found[name + metric] = measured.compute().mean if measured.values else np.nan
    return found


def shown_head(frames: np.ndarray, mean: np.ndarray, period: int) -> np.ndarray:
    """Tilt, turn and nod (F, 3) of normalised motion frames (F, 93) as the renderer shows them, chunk by chunk."""
    wanted = denormalize(frames, mean)[:, POSE_CHANNELS]
    inertia = Inertia(wanted[0])
    return np.concatenate([inertia.follow(wanted[first : first + period]) for first in range(0, len(wanted), period)])


def _ratio(made: list[np.ndarray], true: list[np.ndarray], order: int) -> float:
    """How much faster (order 1) or more abruptly (2) things move in made curves (F, D) than in true ones."""
    energies = [np.sum([np.square(np.diff(curve, n=order, axis=0)).sum() for curve in kind]) for kind in (made, true)]
    return float(np.sqrt(energies[0] / energies[1]))


def _changes(frames: np.ndarray) -> np.ndarray:
    """Mean change of all channels from frame to frame, (F − 1,)."""
    return np.abs(np.diff(frames, axis=0)).mean(1)


def motion_distance(made: list[np.ndarray], real: list[np.ndarray], length: int = 16, kept: int = 32) -> float:
    """Fréchet distance of windows of motion, after each person's mean is taken out, in principal components of the
    real ones that are scaled to a deviation of 1; per component."""

    def windows(videos: list[np.ndarray]) -> np.ndarray:
        away = [video - video.mean(0) for video in videos]
        return np.concatenate(
            [video[: len(video) // length * length].reshape(-1, length * video.shape[1]) for video in away]
        )

    real, made = windows(real), windows(made)
    mean = real.mean(0)
    _, sizes, basis = np.linalg.svd(real - mean, full_matrices=False)
    scale = sizes[:kept] / np.sqrt(len(real))
    return frechet_distance(*((values - mean) @ basis[:kept].T / scale for values in (real, made))) / kept


def drift(frames: np.ndarray, seconds: float = 60.0) -> dict[str, float]:
    """Last minute against the first of motion frames (B, F, 93): pose, opening, geometry and energy."""
    count = int(seconds * FPS)
    first, last = frames[:, :count], frames[:, -count:]
    gaps = [np.mean([opening(video).std() for video in part]) for part in (first, last)]
    lips = [part[..., LIP_CHANNELS].mean(1) for part in (first, last)]
    return {
        "pose_degrees": float(np.degrees(np.abs(last[..., POSE_CHANNELS].mean(1)).mean())),
        "first_pose_degrees": float(np.degrees(np.abs(first[..., POSE_CHANNELS].mean(1)).mean())),
        "opening": float(gaps[1] / gaps[0]),
        "head": float(np.sqrt(_energy(last) / _energy(first))),
        "geometry": float((np.abs(lips[1] - lips[0]) / WEIGHTS[LIP_CHANNELS]).mean()),
    }


def _energy(frames: np.ndarray) -> float:
    return float(np.square(np.diff(frames[..., POSE_CHANNELS], axis=-2)).sum(-1).mean())


def performances(dataset: str, face_model: str, holdout: int) -> list[Track]:
    """Every n-th track of a folder; only of performances phones are known."""
    return [track for track in load_tracks(dataset, face_model)[::holdout] if isinstance(track.source, Performance)]


def short_figures(pipeline: AsymTalkerPipeline, tracks: list[Track], sampling: Sampling) -> dict[str, float]:
    """The figures of tracks that are performed from their beginning, those of one length together."""
    spoken = sorted((track for track in tracks if len(track) >= LEAST_FRAMES), key=len)
    groups = [spoken[first : first + GROUP] for first in range(0, len(spoken), GROUP)]
    performed = [one for group in groups for one in perform(pipeline, group, sampling)]
    return figures(performed, sampling.layout(pipeline).new_frames)


def long_figures(
    pipeline: AsymTalkerPipeline, tracks: list[Track], sampling: Sampling, seconds: float
) -> dict[str, float]:
    """The figures of drift of a few people who go on for so many seconds, their sound repeated."""
    tracks = [track for track in tracks if track.source.phones][:LONG_STREAMS]
    views = [PersonView(track, np.random.default_rng((sampling.seed, n))) for n, track in enumerate(tracks)]
    samples = int(seconds * FPS) * SAMPLES_PER_FRAME
    speech = np.stack([np.resize(as_floats(track.speech), samples) for track in tracks])
    portraits = torch.stack([view.frames([0])[0, 0, 0] for view in views])
    return drift(generate(pipeline, portraits, torch.from_numpy(speech), sampling).numpy())


def main() -> None:
    start_logging()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="pipeline folder or Hub id")
    parser.add_argument("--dataset", default="data/performances", help="folder of performances")
    parser.add_argument("--face-model", default=str(Path(__file__).with_name("face_model.safetensors")))
    parser.add_argument("--holdout", type=int, default=40, help="every n-th track is held out")
    parser.add_argument("--tracks", type=int, default=32, help="of these, so many are performed")
    parser.add_argument("--steps", type=int, help="denoising steps; default: the checkpoint's own")
    parser.add_argument("--guidance-scale", type=float, help="audio guidance; default: the checkpoint's own")
    parser.add_argument("--new-latents", type=int, help="of a window; default: the checkpoint's own")
    parser.add_argument("--seconds", type=float, help="measure drift over so long a rollout instead")
    args = parser.parse_args()
    pipeline = open_pipeline(args.checkpoint)
    steps = args.steps or pipeline.config.num_inference_steps
    guidance = pipeline.config.guidance_scale if args.guidance_scale is None else args.guidance_scale
    sampling = Sampling(steps, guidance, args.new_latents)
    tracks = performances(args.dataset, args.face_model, args.holdout)
    if args.seconds is None:
        found = short_figures(pipeline, tracks[: args.tracks], sampling)
    else:
        found = long_figures(pipeline, tracks, sampling, args.seconds)
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
