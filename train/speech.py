"""Stage 0: trains a speech encoder to predict from sound how lips move.

    accelerate launch train/speech.py --config train/configs/tiny/speech.yaml

How far lips open follows from sound. What a network that samples motion wants to know of sound is just this, and a few
convolutions find it in minutes. They learn from performances (`train/perform.py`) on the mean face, in rooms and noise
(`train/sound.py`); the folder that is written is the encoder's own, for `train/autoencoder.py`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import logging
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.models import LandmarkSpeechEncoder
from asymtalker.renderer.landmarks import LIPS, LOWER_LIP, UPPER_LIP
from asymtalker.renderer.motion_frame import LIP_CHANNELS, WEIGHTS
from train.config import DataSettings, parse_settings, start_logging
from train.loop import explained
from train.recordings import split_recordings
from train.sound import augment
from train.tracks import PersonView, Track
from train.views import as_floats

logger = logging.getLogger(__name__)

UPPER, LOWER = LIPS.index(UPPER_LIP), LIPS.index(LOWER_LIP)


@dataclass(frozen=True, kw_only=True)
class SpeechSettings(DataSettings):
    """Attributes:
    output: folder for the encoder.
    init: folder of an encoder to go on from, with its sizes; None: a fresh one.
    max_steps, batch_size, learning_rate, weight_decay: of AdamW, with a cosine down to 0.
    span_frames: frames of a track in a sample.
    hidden_dim, blocks, lookahead_frames: of the encoder.
    opening_weight: how much the distance of the inner lips counts beside the landmarks.
    """

    output: str
    init: str | None = None
    max_steps: int = 4000
    batch_size: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    span_frames: int = 100
    hidden_dim: int = 128
    blocks: int = 6
    lookahead_frames: int = 2
    opening_weight: float = 1.0


def draw_batch(tracks: list[Track], settings: SpeechSettings, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Spans of tracks in rooms and noise: speech (B, 640·F), lips (B, F, 40, 2) away from the mean face's."""
    frames = settings.span_frames
    speech, lips = [], []
    for index in rng.integers(len(tracks), size=settings.batch_size):
        track = tracks[index]
        start = int(rng.integers(len(track) - frames + 1))
        sound = track.speech[start * SAMPLES_PER_FRAME : (start + frames) * SAMPLES_PER_FRAME]
        speech.append(torch.from_numpy(augment(as_floats(sound), rng)))
        lips.append(lips_of(track, range(start, start + frames)))
    return torch.stack(speech), torch.stack(lips)


def lips_of(track: Track, frames: range) -> Tensor:
    """Lip landmarks (F, 40, 2) of frames of a track on the mean face, away from where it has them at rest."""
    shown = PersonView(track, None).frames(list(frames))[:, 0, 0] / torch.from_numpy(WEIGHTS)
    return shown[:, LIP_CHANNELS].unflatten(1, (-1, 2))


def opening(lips: Tensor) -> Tensor:
    """Distance of the inner lips from top to bottom, of landmarks (..., 40, 2): (...)."""
    return lips[..., LOWER, 1] - lips[..., UPPER, 1]


def train(encoder: LandmarkSpeechEncoder, tracks: list[Track], settings: SpeechSettings) -> None:
    """Fits the encoder to tracks.

    Raises:
        ValueError: they are too short.
    """
    tracks = [track for track in tracks if len(track) >= settings.span_frames]
    if not tracks:
        raise ValueError(f"All tracks are shorter than {settings.span_frames} frames; give a smaller span_frames.")
    scale = torch.cat([lips_of(track, range(len(track))) for track in tracks[:100]]).square().mean().sqrt()
    weight = settings.opening_weight
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.max_steps)
    rng = np.random.default_rng(settings.seed)
    encoder.train()
    progress = tqdm(range(settings.max_steps), desc="speech encoder")
    for step in progress:
        speech, lips = draw_batch(tracks, settings, rng)
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
def correlation(encoder: LandmarkSpeechEncoder, tracks: list[Track]) -> float:
    """Mean correlation of the predicted lip opening with the true one."""
    figures = []
    for track in tracks:
        speech = torch.from_numpy(as_floats(track.speech))[None]
        predicted = opening(encoder.landmarks(encoder(speech))[0])
        pair = torch.stack([predicted, opening(lips_of(track, range(len(track))))])
        figures.append(float(torch.corrcoef(pair)[0, 1]))
    return float(np.nanmean(figures)) if figures else math.nan


def build_encoder(settings: SpeechSettings) -> LandmarkSpeechEncoder:
    if settings.init is not None:
        return LandmarkSpeechEncoder.from_pretrained(settings.init)
    return LandmarkSpeechEncoder(settings.hidden_dim, settings.blocks, len(LIPS), settings.lookahead_frames)


def main(argv: list[str] | None = None) -> None:
    start_logging()
    settings = parse_settings(SpeechSettings, __doc__, argv)
    if settings.face_model is None:
        raise SystemExit("face_model: the speech encoder learns from performances; name the face model.")
    tracks, held_out = explained(split_recordings, settings)
    torch.manual_seed(settings.seed)
    encoder = build_encoder(settings)
    explained(train, encoder, tracks, settings)
    for name, part in (("training", tracks[:50]), ("held-out", held_out)):
        logger.info("%s tracks: lip openings correlate with %.3f", name, correlation(encoder, part))
    encoder.save_pretrained(settings.output)


if __name__ == "__main__":
    main()
