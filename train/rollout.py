"""Rollouts of the student in training: what it generated so far is what it is conditioned on next.

A pool holds as many streams as a batch has samples. Every iteration generates one chunk of each, so depth costs
nothing: a stream is advanced window by window until its clip ends, then another clip takes its place.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from asymtalker import AsymTalkerPipeline
from asymtalker.conditioning import (
    ReferenceMode,
    Window,
    continuity_reference,
    decode_latents,
    encode_window,
)
from asymtalker.renderer.motion_frame import POSE_CHANNELS
from train.data import RecordingStream, draw_choice, latent_weights, to_unit, window_layouts
from train.recordings import RecordingSource


@dataclass
class RolloutBatch:
    """One chunk of every stream of a pool.

    Attributes:
        window: the real clips' windows, with κ_gt.
        generated_continuity: κ_gen, the end of what the student generated before (B, C, K, h, w).
        mouth: (B, H, W), 1 where the mouth is; None where frames are not pictures.
        depth: chunks generated before this one, per stream.
    """

    window: Window
    generated_continuity: Tensor
    mouth: Tensor | None
    depth: list[int]


@dataclass
class Motion:
    """How the generated chunks move, means over the batch.

    Attributes:
        seam_ratio: frame difference at the window boundary over that inside windows.
        motion_ratio: frame difference inside generated windows over that of the real clips.
        drift: distance of the mean colour from the real clips', frames in [-1, 1].
    """

    seam_ratio: float
    motion_ratio: float
    drift: float


class RolloutPool:
    """Persistent rollouts.

    Args:
        recordings: longer than the longest chunk.
        pipeline: gives layout, autoencoder and speech encoder.
        batch_size: streams.
        size: side of a clip's frames.
        max_chunks: chunks after which a stream is replaced even if its recording goes on.
        warm_start: probability that a stream starts inside its recording, from the real κ, not cold from the portrait.
        jitter: see `train.data.WindowLaw`; it changes from stream to stream.
        seed: of the choice of recordings and starts, and of their jitter; another for each process.
        new_latents: see `train.data.WindowLaw`; drawn for each round of chunks.
        carry_pose: of tracks: the real head goes on from where the generated one is. Sound does not tell how a head is
            turned, so that otherwise teacher and anchor pull it to the real one's place, and it snaps at seams.
    """

    def __init__(
        self,
        recordings: RecordingSource,
        pipeline: AsymTalkerPipeline,
        batch_size: int,
        size: int,
        max_chunks: int,
        warm_start: float,
        jitter: bool,
        seed: tuple[int, ...],
        reference_mode: ReferenceMode = "temporal",
        new_latents: tuple[int, ...] = (),
        carry_pose: bool = False,
    ) -> None:
        self._carry_pose = carry_pose
        self._recordings, self._pipeline, self._size, self._max_chunks = recordings, pipeline, size, max_chunks
        self._warm_start, self._jitter, self._mode = warm_start, jitter, reference_mode
        self._seed, self._drawn, self._rounds = seed, 0, 0
        self._layouts = window_layouts(pipeline.layout, new_latents)
        self._longest = max(layout.new_frames for layout in self._layouts)
        self._streams: list[RecordingStream | None] = [None] * batch_size
        self._number, self._position, self._depth, self._limit = ([0] * batch_size for _ in range(4))
        self._continuity: list[Tensor | None] = [None] * batch_size
        self._pose: list[Tensor | None] = [None] * batch_size
        self._layout, self._frames = self._layouts[0], None

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """The real side of chunks without end; what was made of each has to be given to `advance`."""
        while True:
            yield self.read()

    def read(self) -> dict[str, Tensor]:
        """The recordings where the next chunk of every stream is; streams that ended are replaced."""
        self._layout = self._layouts[draw_choice(len(self._layouts), self._seed[0], self._rounds)]
        for index, stream in enumerate(self._streams):
            ended = stream is not None and self._position[index] + self._longest > stream.frames
            if stream is None or ended or self._depth[index] >= self._limit[index]:
                self._replace(index, fresh=stream is None)
        self._recordings.keep(self._number)
        return default_collate(
            [
                stream.window(position, self._layout)
                for stream, position in zip(self._streams, self._position, strict=True)
            ]
        )

    @torch.no_grad()
    def encode(self, row: dict[str, Tensor]) -> RolloutBatch:
        """The chunk of what was read, on the device."""
        self._frames, portrait = to_unit(row["window"]), to_unit(row["portrait"])
        if self._carry_pose:
            self._frames = self._continued(self._frames)
        encoders = self._pipeline.vae, self._pipeline.speech_encoder
        window = encode_window(*encoders, self._frames, portrait, row["segment"], self._layout, self._mode)
        generated = [
            real if made is None else made for real, made in zip(window.continuity, self._continuity, strict=True)
        ]
        return RolloutBatch(window, torch.stack(generated), row.get("mouth"), list(self._depth))

    def advance(self, continuity: Tensor, latents: Tensor) -> Motion:
        """Takes the student's finished chunks (B, C, N, h, w) and makes the next κ_gen of them.

        Args:
            continuity: κ that the chunks were generated under.
        """
        layout = self._layout
        made = decode_latents(self._pipeline.vae, torch.cat([continuity, latents], dim=2))
        self._continuity = list(continuity_reference(self._pipeline.vae, made, layout))
        self._pose = list(made[:, POSE_CHANNELS, -1:]) if self._carry_pose else self._pose
        self._position = [position + layout.new_frames for position in self._position]
        finite = made.isfinite().flatten(1).all(1).tolist()  # a stream that broke down is replaced
        self._depth = [
            depth + 1 if whole else self._max_chunks for depth, whole in zip(self._depth, finite, strict=True)
        ]
        self._rounds += 1
        return measure_motion(made, self._frames, layout.continuity_frames)

    def _continued(self, frames: Tensor) -> Tensor:
        """Real motion frames (B, 93, F, 1, 1) whose heads go on from where the generated ones are."""
        last = self._layout.continuity_frames - 1
        away = [
            torch.zeros_like(real) if made is None else made - real
            for real, made in zip(frames[:, POSE_CHANNELS, last : last + 1], self._pose, strict=True)
        ]
        frames = frames.clone()
        frames[:, POSE_CHANNELS] += torch.stack(away)
        return frames

    def weights(self, batch: RolloutBatch, mouth_weight: float) -> Tensor | float:
        """Loss weights over the latents, see `train.data.latent_weights`."""
        return latent_weights(batch.mouth, batch.window.latents.shape[-2:], mouth_weight)

    def state_dict(self) -> dict[str, Any]:
        """Where every stream is, and its recording."""
        places = {name: copy.copy(getattr(self, name)) for name in self._STATE}
        return {"recordings": self._recordings.state_dict()} | places

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the streams of `state_dict`, of a pool with the same recordings and settings."""
        self._recordings.load_state_dict(state["recordings"])
        for name in self._STATE:
            setattr(self, name, state[name])
        self._streams = [self._draw(number)[0] for number in self._number]

    _STATE = ("_drawn", "_rounds", "_number", "_position", "_depth", "_limit", "_continuity", "_pose")

    def _replace(self, index: int, fresh: bool) -> None:
        self._number[index] = self._drawn
        self._drawn += 1
        self._streams[index], self._position[index], limit = self._draw(self._number[index])
        # The first streams end at random depths, so that the pool always holds shallow and deep ones.
        self._limit[index] = limit if fresh else self._max_chunks
        self._depth[index] = 0
        self._continuity[index] = self._pose[index] = None

    def _draw(self, number: int) -> tuple[RecordingStream, int, int]:
        """The stream of a number, where its first chunk begins, and a random depth."""
        rng = np.random.default_rng((*self._seed, number))
        recording = self._recordings.clip(number)
        first = int(rng.integers(0, len(recording) - self._longest))
        if rng.random() < 0.5:
            first = min(first, int(rng.integers(0, 25)))  # most of it ahead: a deep rollout
        seed = (*self._seed, number) if self._jitter else None
        stream = RecordingStream(recording, first, self._pipeline.speech_encoder, self._size, seed)
        warm = rng.random() < self._warm_start
        position = int(rng.integers(0, stream.frames - self._longest + 1)) if warm else 0
        return stream, position, int(rng.integers(1, self._max_chunks + 1))


def measure_motion(made: Tensor, real: Tensor, continuity_frames: int) -> Motion:
    """Compares generated windows (B, 3, F, H, W) with the real ones of the same time."""
    changes, truth = ((frames[:, :, 1:] - frames[:, :, :-1]).abs().mean((0, 1, 3, 4)) for frames in (made, real))
    seam, inside, real_inside = changes[continuity_frames - 1], changes[continuity_frames:], truth[continuity_frames:]
    colour = (made - real).mean((2, 3, 4)).norm(dim=1).mean()
    return Motion(
        seam_ratio=float(seam / inside.mean().clamp(min=1e-6)),
        motion_ratio=float(inside.mean() / real_inside.mean().clamp(min=1e-6)),
        drift=float(colour),
    )
