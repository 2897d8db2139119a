"""Stage 0b: trains a speech encoder to predict lip landmarks from sound, and writes a pipeline folder that has it.

    accelerate launch train/speech.py --config train/configs/tiny/speech.yaml

How far lips open follows from sound, but is a small part of a video: what a small network that makes video needs hours
for, this takes minutes to find. The landmarks are those of the face mesh (`asymtalker.metrics.face_mesh`), which have
to be measured once; they are kept beside the stored clips.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import logging
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.metrics.estimate import MetricUnavailableError
from asymtalker.metrics.face_mesh import FaceMesh, eye_distance, fill_gaps
from asymtalker.models import AsymTalkerTransformer3DModel, LandmarkSpeechEncoder
from asymtalker.models.transformer import SPEECH_WINDOW
from asymtalker.renderer.landmarks import LOWER_LIDS, LOWER_LIP, OUTER_EYES, RIGID, UPPER_LIDS, UPPER_LIP
from asymtalker.renderer.lips import HEARD_LIPS
from train.clips import MOTION_SUFFIX, Clip, split_clips, store_folder
from train.config import DataSettings, parse_settings, start_logging
from train.data import quiet_frames
from train.loop import explained, open_pipeline

logger = logging.getLogger(__name__)

UPPER, LOWER = HEARD_LIPS.index(UPPER_LIP), HEARD_LIPS.index(LOWER_LIP)
SHUT = 0.25
"""Landmarks of shut lids are still so far apart, as a share of their usual distance."""
PLACES = (*HEARD_LIPS, *OUTER_EYES, *UPPER_LIDS, *LOWER_LIDS)
COLUMNS = 2 * len(HEARD_LIPS) + 1 + 2 * len(PLACES)


@dataclass(frozen=True, kw_only=True)
class SpeechSettings(DataSettings):
    """Attributes:
    init: pipeline folder whose speech encoder is to be replaced.
    output: folder for the pipeline.
    max_steps, batch_size, learning_rate, weight_decay: of AdamW, with a cosine down to 0.
    span_frames: frames of a clip in a sample.
    hidden_dim, blocks, lookahead_frames: of the encoder.
    opening_weight: how much the distance of the inner lips counts beside the landmarks.
    emphasis: lips are moved by so much more than was predicted: what is predicted is a mean, and means move less.
    """

    init: str
    output: str
    max_steps: int = 4000
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    span_frames: int = 100
    hidden_dim: int = 128
    blocks: int = 6
    lookahead_frames: int = 2
    opening_weight: float = 1.0
    emphasis: float = 1.25


class Talk(NamedTuple):
    """What is said in a clip, and how the lips move to it.

    Attributes:
        speech: float32 (640·F,).
        lips: landmarks away from their rest, in eye distances, (F, 40, 2).
    """

    speech: Tensor
    lips: Tensor


def lip_movement(landmarks: np.ndarray, quiet: np.ndarray) -> np.ndarray:
    """How lips move within the face.

    Args:
        landmarks: of the face mesh, (F, 478, 2) in pixels, without NaN.
        quiet: frames in which the lips are at rest; without any, their median stands for it.

    Returns:
        (F, 40, 2) in eye distances: the lips' landmarks, the head's movements taken out, away from their rest.
    """
    resting = np.median(landmarks, axis=0)
    rigid = landmarks[:, list(RIGID)]
    centre = rigid.mean(1, keepdims=True)
    model = resting[list(RIGID)] - resting[list(RIGID)].mean(0)
    a, b = _as_complex(rigid - centre), _as_complex(model)
    turn = (a.conj() * b).sum(1) / (np.abs(a) ** 2).sum(1)  # the similarity that lays each frame on the median one
    lips = _as_complex(landmarks[:, list(HEARD_LIPS)] - centre) * turn[:, None]
    lips = np.stack([lips.real, lips.imag], axis=-1)
    rest = np.median(lips[quiet] if len(quiet) else lips, axis=0)
    return ((lips - rest) / eye_distance(resting[None])).astype(np.float32)


def shut_lids(landmarks: np.ndarray) -> np.ndarray:
    """How far lids are shut in landmarks (F, 478, 2), from 0, as far as they mostly are, to 1: (F,)."""
    upper, lower = landmarks[:, UPPER_LIDS], landmarks[:, LOWER_LIDS]
    opening = np.linalg.norm(upper - lower, axis=-1).mean(1) / eye_distance(landmarks)
    return ((1 - opening / np.median(opening)) / (1 - SHUT)).clip(0, 1)


def measure_talks(clips: list[Clip], folder: Path) -> list[Talk]:
    """The talk of clips; faces whose motion is not yet in `folder` are measured, and it is kept there.

    Clips in which no face is found are left out.

    Raises:
        MetricUnavailableError: landmarks have to be measured, and there is no face mesh.
    """
    paths = [folder / f"{clip.name}{MOTION_SUFFIX}" for clip in clips]
    missing = [(clip, path) for clip, path in zip(clips, paths, strict=True) if not path.exists()]
    if missing:
        with FaceMesh() as mesh:
            for clip, path in tqdm(missing, desc="landmarks"):
                mesh.reset()
                beside = path.with_suffix(".part.npy")
                np.save(beside, clip_motion(clip, mesh.landmarks(clip.frames)[..., :2]))
                beside.replace(path)
    return [_talk(clip, motion) for clip, path in zip(clips, paths, strict=True) if len(motion := np.load(path))]


def clip_motion(clip: Clip, landmarks: np.ndarray) -> np.ndarray:
    """What is kept of a clip's landmarks (F, 478, 2), see `Clip.motion`; (0, 221) if few frames show a face."""
    try:
        landmarks = fill_gaps(landmarks)
    except ValueError as error:
        logger.warning("left out %s: %s", clip.name, error)
        return np.empty((0, COLUMNS), np.float32)
    frames, quiet = len(landmarks), quiet_frames(clip)
    lips = lip_movement(landmarks, quiet[quiet < frames])
    places = landmarks[:, list(PLACES)]
    columns = lips.reshape(frames, -1), shut_lids(landmarks)[:, None], places.reshape(frames, -1)
    return np.concatenate(columns, axis=1).astype(np.float32)


def _talk(clip: Clip, motion: np.ndarray) -> Talk:
    frames = min(len(motion), len(clip.speech) // SAMPLES_PER_FRAME)
    speech = clip.speech[: frames * SAMPLES_PER_FRAME].astype(np.float32) / 32768
    return Talk(
        torch.from_numpy(speech), torch.from_numpy(motion[:frames, : 2 * len(HEARD_LIPS)].reshape(frames, -1, 2))
    )


def draw_batch(talks: list[Talk], settings: SpeechSettings, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Spans of clips, louder or softer and noisier than they were: speech (B, 640·F), lips (B, F, 40, 2)."""
    frames = settings.span_frames
    speech, lips = [], []
    for index in rng.integers(len(talks), size=settings.batch_size):
        talk = talks[index]
        start = int(rng.integers(len(talk.lips) - frames + 1))
        sound = talk.speech[start * SAMPLES_PER_FRAME : (start + frames) * SAMPLES_PER_FRAME]
        noise = torch.from_numpy(rng.standard_normal(len(sound), dtype=np.float32))
        speech.append(sound * 10 ** rng.uniform(-0.5, 0.5) + noise * 10 ** rng.uniform(-5, -2.5))
        lips.append(talk.lips[start : start + frames])
    return torch.stack(speech), torch.stack(lips)


def opening(lips: Tensor) -> Tensor:
    """Distance of the inner lips from top to bottom, of landmarks (..., 40, 2): (...)."""
    return lips[..., LOWER, 1] - lips[..., UPPER, 1]


def train(encoder: LandmarkSpeechEncoder, talks: list[Talk], settings: SpeechSettings) -> None:
    """Fits the encoder to talks."""
    talks = [talk for talk in talks if len(talk.lips) >= settings.span_frames]
    if not talks:
        raise ValueError(f"All clips are shorter than {settings.span_frames} frames; give a smaller span_frames.")
    scale = torch.cat([talk.lips for talk in talks]).square().mean().sqrt()
    weight = settings.opening_weight
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.max_steps)
    rng = np.random.default_rng(settings.seed)
    encoder.train()
    progress = tqdm(range(settings.max_steps), desc="speech encoder")
    for step in progress:
        speech, lips = draw_batch(talks, settings, rng)
        features = F.dropout(encoder(speech), 0.1)
        error = (encoder.landmarks(features) - lips) / scale
        loss = error.square().mean() + weight * opening(error).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        if step % 100 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    encoder.eval()


@torch.no_grad()
def correlation(encoder: LandmarkSpeechEncoder, talks: list[Talk]) -> float:
    """Mean correlation of the predicted lip opening with the measured one."""
    figures = []
    for talk in talks:
        predicted = opening(encoder.landmarks(encoder(talk.speech[None]))[0])
        pair = torch.stack([predicted, opening(talk.lips)])
        figures.append(float(torch.corrcoef(pair)[0, 1]))
    return float(np.nanmean(figures)) if figures else math.nan


def give_encoder(pipeline: AsymTalkerPipeline, encoder: LandmarkSpeechEncoder, emphasis: float = 1.0) -> None:
    """Replaces the speech encoder; of the transformer, what depends on its features is new and the rest stays."""
    old = pipeline.transformer
    shape = {"speech_layers": encoder.layers, "speech_dim": encoder.feature_dim}
    new = AsymTalkerTransformer3DModel.from_config({**old.config, **shape})
    fitting = new.state_dict()
    kept = {name: value for name, value in old.state_dict().items() if value.shape == fitting[name].shape}
    new.load_state_dict(kept, strict=False)
    if new.motion is not None:  # it reads the lips of a frame from the features of the same
        reading = new.motion.painter.lips
        weights = torch.zeros_like(reading.weight).unflatten(1, (SPEECH_WINDOW, -1))
        weights[:, SPEECH_WINDOW // 2] = emphasis * encoder.to_landmarks.weight.detach()
        bias = emphasis * encoder.to_landmarks.bias.detach()
        reading.load_state_dict({"weight": weights.flatten(1), "bias": bias})
    pipeline.register_modules(speech_encoder=encoder, transformer=new)


def main(argv: list[str] | None = None) -> None:
    start_logging()
    settings = parse_settings(SpeechSettings, __doc__, argv)
    pipeline = open_pipeline(settings.init, settings.size)
    clips, held_out = explained(split_clips, settings)
    folder = store_folder(settings.dataset, settings.split, settings.size, settings.store)
    try:
        talks, others = measure_talks(clips, folder), measure_talks(held_out, folder)
    except MetricUnavailableError as error:
        raise SystemExit(str(error)) from error
    torch.manual_seed(settings.seed)
    encoder = LandmarkSpeechEncoder(settings.hidden_dim, settings.blocks, len(HEARD_LIPS), settings.lookahead_frames)
    explained(train, encoder, talks, settings)
    for name, part in (("training", talks), ("held-out", others)):
        logger.info("%s clips: lip openings correlate with %.3f", name, correlation(encoder, part))
    give_encoder(pipeline, encoder, settings.emphasis)
    pipeline.save_pretrained(settings.output)


def _as_complex(points: np.ndarray) -> np.ndarray:
    return points[..., 0] + 1j * points[..., 1]


if __name__ == "__main__":
    main()
