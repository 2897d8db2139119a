"""Measures clips: generates their videos, and reads the same curves from them and from the real clips."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE
from asymtalker.evaluation.articulation import CURVES, open_phone_finder
from asymtalker.evaluation.clips import EvaluationClip
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.evaluation.watch import Watch
from asymtalker.media.video import VideoWriter
from asymtalker.metrics import (
    I3D,
    ArcFace,
    Drift,
    FaceMesh,
    IdentityDrift,
    ImageSimilarity,
    Inception,
    LandmarkDistance,
    MetricUnavailableError,
    SyncScorer,
    eye_opening,
    fill_gaps,
    geometry_distance,
    silent_frames,
)
from asymtalker.metrics.distribution import FVD_FRAMES
from asymtalker.metrics.face_mesh import eye_distance
from asymtalker.metrics.similarity import MEASURES
from asymtalker.renderer.landmarks import NOSE_TIP, POINTS

NEEDS = {
    "lips": ("mesh",),
    "articulation": ("mesh", "phones"),
    "lmd": ("mesh",),
    "geometry": ("mesh",),
    "silence": ("mesh",),
    "blinks": ("mesh",),
    "head": ("mesh",),
    "similarity": ("similarity",),
    "csim": ("mesh", "arcface"),
    "sync": ("mesh", "syncnet"),
    "fid": ("inception",),
    "fvd": ("i3d",),
}
"""What a metric cannot do without; the others need nothing."""
NEEDS_REAL = ("lips", "lmd", "similarity", "sync", "fid", "fvd")
"""Metrics that compare with the real clip, or hold a whole one: a long rollout has none."""
STILLS = (5, 50, 150, 300, 600)
"""Seconds of a long rollout whose frames are kept to be looked at: those of the paper's figure."""
SAMPLED = 5
"""Identity and geometry are measured on one frame in so many."""
FILMED_BLOCK = 64
"""Frames of a real clip that are written at once."""


@dataclass
class Instruments:
    """What measures, opened once: use it in a `with` block.

    Attributes:
        metrics: those that can be had here.
        unavailable: why the others cannot.
    """

    metrics: tuple[str, ...]
    unavailable: dict[str, str]
    tools: dict[str, Any]
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def open(cls, settings: EvaluationSettings, device: torch.device) -> Self:
        """Opens what the chosen metrics need; weights are downloaded here."""
        makers = {
            "mesh": FaceMesh,
            "phones": open_phone_finder,
            "arcface": ArcFace,
            "inception": lambda: Inception(device),
            "i3d": lambda: I3D(device),
            "syncnet": lambda: SyncScorer(device),
            "similarity": lambda: {measure: ImageSimilarity(measure) for measure in MEASURES},
        }
        stack, tools, unavailable, failed = ExitStack(), {}, {}, {}
        for metric in settings.chosen:
            if settings.seconds is not None and metric in NEEDS_REAL:
                unavailable[metric] = "long rollouts have no real clip to be compared with"
                continue
            if settings.in_step > 1 and metric == "resources":
                unavailable[metric] = f"{settings.in_step} videos were made in step"
                continue
            for need in NEEDS.get(metric, ()):
                if need not in tools and need not in failed:
                    try:
                        tools[need] = makers[need]()
                    except MetricUnavailableError as error:
                        failed[need] = str(error)
                if need in failed:
                    unavailable[metric] = failed[need]
        if "mesh" in tools:
            stack.enter_context(tools["mesh"])
        return cls(tuple(name for name in settings.chosen if name not in unavailable), unavailable, tools, stack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()


@dataclass(frozen=True, eq=False)
class Video:
    """A video that is to be made and measured.

    Attributes:
        clip: whose portrait is animated, and whose frames it is compared with.
        speech: mono, 16 kHz, float32 (samples,): the clip's own, or that of a long rollout.
        seed: of the noise.
        film: an mp4 to write it to; None writes none.
    """

    clip: EvaluationClip
    speech: np.ndarray
    seed: int = 0
    film: Path | None = None


def measure_videos(
    pipeline: AsymTalkerPipeline, videos: list[Video], settings: EvaluationSettings, instruments: Instruments
) -> list[tuple[dict[str, Any], dict[str, np.ndarray]]]:
    """Makes videos in step and measures them; long rollouts are measured as they are made and never held.

    Args:
        videos: several must have speech of one length.

    Returns:
        of each a record of plain data, and arrays of features that are too large for it.
    """
    blocks = Watch(_generate(pipeline, videos, settings), pipeline.device, settings.interval)
    with ExitStack() as stack:
        makings = [_Making(video, settings, instruments, len(videos) == 1, stack) for video in videos]
        for block in blocks:
            for making, frames in zip(makings, block, strict=True):
                making.take(frames)
    shared = {
        "metrics": list(instruments.metrics),
        "elapsed": blocks.elapsed / len(videos),
        "first_frame": blocks.first,
        "period": pipeline.layout.new_frames,
        "pace": [] if settings.seconds is None else blocks.pace,
        "memory": {} if settings.seconds is None else blocks.memory,
    }
    return [making.compute(shared) for making in makings]


class _Making:
    """One of the videos that are made in step: it is measured block by block, and filmed if it is to be.

    Args:
        alone: whether no other video is made in step with it.
        stack: is closed when the videos are done.
    """

    def __init__(
        self, video: Video, settings: EvaluationSettings, instruments: Instruments, alone: bool, stack: ExitStack
    ) -> None:
        self._video, self._settings, self._instruments = video, settings, instruments
        self._paired = settings.seconds is None
        reference = video.clip.frames[0]
        self._measured = VideoMeasurement(reference, settings, instruments, self._paired, settings.sparse, alone)
        self._film = _open_film(video.film, reference, stack)
        self._made: list[np.ndarray] = []
        self._stills: dict[int, np.ndarray] = {}

    def take(self, block: np.ndarray) -> None:
        """Adds the next frames, uint8 (F, H, W, 3)."""
        if self._film is not None:
            _write_film(self._film, block, self._video.speech, self._measured.frames)
        self._stills |= _stills(block, self._measured.frames, self._settings.seconds)
        self._measured.update(block)
        if self._paired:
            self._made.append(block)

    def compute(self, shared: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """The video's record, with what all videos share, and its features."""
        clip, generated, real = self._video.clip, self._measured, None
        if clip.is_real:
            real = VideoMeasurement(clip.frames[0], self._settings, self._instruments, keep=True)
            real.update(clip.frames)
        record = shared | {
            "clip": clip.name,
            "seed": self._video.seed,
            "frames": generated.frames,
            "seconds": generated.frames / FPS,
            "generated": generated.compute() | _silence(self._video.speech, generated.frames),
            "real": real and real.compute() | _silence(clip.speech, real.frames),
            "portrait_landmarks": _plain(generated.portrait_points),
            "stills": [] if self._paired else list(self._stills),
        }
        if "articulation" in self._instruments.metrics:
            record |= self._find_phones()
        features = generated.features("generated") | (real.features("real") if real else {})
        if self._paired:
            _compare(record, np.concatenate(self._made), clip, generated, real, self._instruments)
        elif self._stills:
            features["stills"] = np.stack(list(self._stills.values()))
        return record, features

    def _find_phones(self) -> dict[str, Any]:
        """The phones as plain data; of a long rollout, whose sounds are joined and cut, they are guessed."""
        clip = self._video.clip
        spoken = (clip.recording, clip.text) if self._paired else (self._video.speech, None)
        phones, source = self._instruments.tools["phones"](*spoken)
        return {"phones": [astuple(phone) for phone in phones], "phones_from": source}


def _silence(speech: np.ndarray, frames: int) -> dict[str, list[bool]]:
    silent, voiced = silent_frames(speech, frames, SAMPLES_PER_FRAME)
    return {"silent": silent.tolist(), "voiced": voiced.tolist()}


def write_real_film(clip: EvaluationClip, path: Path) -> None:
    """Writes the real clip in the same crop and size, to be looked at beside the generated one."""
    with ExitStack() as stack:
        film = _open_film(path, clip.frames[0], stack, generated=False)
        for start in range(0, len(clip.frames), FILMED_BLOCK):
            _write_film(film, clip.frames[start : start + FILMED_BLOCK], clip.speech, start)


def _open_film(path: Path | None, frame: np.ndarray, stack: ExitStack, generated: bool = True) -> VideoWriter | None:
    """An mp4 for frames such as this one, closed with the stack; None for no path."""
    if path is None:
        return None
    size = frame.shape[1], frame.shape[0]
    return stack.enter_context(VideoWriter(path, size, FPS, SAMPLING_RATE, label=generated, generated=generated))


def _write_film(film: VideoWriter, block: np.ndarray, speech: np.ndarray, start: int) -> None:
    """Adds a block that starts at frame `start`, and its part of the speech."""
    film.write(block)
    film.write_speech(speech[start * SAMPLES_PER_FRAME : (start + len(block)) * SAMPLES_PER_FRAME])


def _stills(block: np.ndarray, start: int, length: float | None) -> dict[int, np.ndarray]:
    """Frames to look at of a block that starts at frame `start`, by their second: of `STILLS`, and the last."""
    marks = {*STILLS, *([math.floor(length)] if length else [])}
    frames = {seconds: seconds * FPS - 1 - start for seconds in sorted(marks)}
    return {seconds: block[frame].copy() for seconds, frame in frames.items() if 0 <= frame < len(block)}


def _generate(pipeline: AsymTalkerPipeline, videos: list[Video], settings: EvaluationSettings) -> Iterator[np.ndarray]:
    # A renderer's frames are as large as the portrait; they are measured at the size of the real clip's.
    portraits = [video.clip.portrait.resize(pipeline.frame_size) for video in videos]
    return pipeline.stream(
        portraits,
        np.stack([video.speech for video in videos]),
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        generator=[torch.Generator().manual_seed(video.seed) for video in videos],
        reference_mode=settings.reference_mode,
    )


class VideoMeasurement:
    """Reads a video block by block; keeps a few numbers a frame, and its landmarks only if told to.

    Args:
        reference: the portrait as the video shows it, uint8 (H, W, 3).
        keep: keep all landmarks, for comparison with another video.
        sparse: look for the face in one second of `settings.face_every` only.
        alone: no other video is read in between; otherwise the face is found anew in every block.
    """

    def __init__(
        self,
        reference: np.ndarray,
        settings: EvaluationSettings,
        instruments: Instruments,
        keep: bool,
        sparse: bool = False,
        alone: bool = True,
    ) -> None:
        self._instruments, self._keep, self._alone = instruments, keep, alone
        self._face_every = settings.face_every if sparse else 1
        self._mesh = instruments.tools.get("mesh")
        self._arcface = instruments.tools.get("arcface") if "csim" in instruments.metrics else None
        self._drift = Drift(reference, settings.interval, FPS)
        self._identity = IdentityDrift(reference, settings.interval, FPS, SAMPLED)
        self._interval_frames = round(settings.interval * FPS)
        self.frames = 0
        self.portrait_points: np.ndarray | None = None
        self._points: list[np.ndarray] = []
        self._curves: dict[str, list[np.ndarray]] = {name: [] for name in (*CURVES, "eye_opening", "head")}
        self._sampled: dict[str, dict[int, list[float]]] = {"geometry": {}, "csim": {}}
        self._features: dict[str, list[np.ndarray]] = {}
        self._rest = np.zeros((0, *reference.shape), np.uint8)
        if self._mesh is not None:
            self._look_at(reference)

    def _look_at(self, reference: np.ndarray) -> None:
        self._mesh.reset()
        self.portrait_points = self._mesh.landmarks(reference[None])[0]
        self._mesh.reset()
        self._scale = float(eye_distance(self.portrait_points))
        if self._arcface is not None and np.isfinite(self._scale):
            self._portrait_embedding = self._arcface.embed(reference, self.portrait_points)

    def update(self, frames: np.ndarray) -> None:
        """Adds the next frames, uint8 (F, H, W, 3)."""
        self._drift.update(frames)
        if "identity" in self._instruments.metrics:
            self._identity.update(frames)
        if self._mesh is not None:
            self._follow_face(frames)
        if "inception" in self._instruments.tools:
            self._features.setdefault("inception", []).append(self._instruments.tools["inception"].features(frames))
        if "i3d" in self._instruments.tools:
            self._follow_motion(frames)
        self.frames += len(frames)

    def _follow_face(self, frames: np.ndarray) -> None:
        looked_at = [self._looks_at(self.frames + offset) for offset in range(len(frames))]
        points = np.full((len(frames), POINTS, 3), np.nan, np.float32)
        if any(looked_at):
            if not self._alone:
                self._mesh.reset()
            points[looked_at] = self._mesh.landmarks(frames[looked_at])
        for name, read in CURVES.items():
            self._curves[name].append(read(points))
        self._curves["eye_opening"].append(eye_opening(points))
        self._curves["head"].append(points[:, NOSE_TIP, :2] / self._scale)
        if self._keep:
            self._points.append(points)
        for offset in range(-self.frames % SAMPLED, len(frames), SAMPLED):
            if np.isfinite(points[offset]).all() and np.isfinite(self._scale):
                self._sample_face((self.frames + offset) // self._interval_frames, frames[offset], points[offset])

    def _looks_at(self, frame: int) -> bool:
        return frame // FPS % self._face_every == 0

    def _sample_face(self, interval: int, frame: np.ndarray, points: np.ndarray) -> None:
        distance = geometry_distance(points, self.portrait_points)
        self._sampled["geometry"].setdefault(interval, []).append(distance)
        if self._arcface is not None:
            cosine = float(self._arcface.embed(frame, points) @ self._portrait_embedding)
            self._sampled["csim"].setdefault(interval, []).append(cosine)

    def _follow_motion(self, frames: np.ndarray) -> None:
        frames = np.concatenate([self._rest, frames])
        whole = len(frames) // FVD_FRAMES * FVD_FRAMES
        self._rest = frames[whole:].copy()
        self._features.setdefault("i3d", []).append(self._instruments.tools["i3d"].features(frames[:whole]))

    @property
    def points(self) -> np.ndarray:
        """Landmarks of all frames (F, 478, 3), frames without a face filled in.

        Raises:
            ValueError: a face was found in fewer than half of the frames.
        """
        return fill_gaps(np.concatenate(self._points))

    def compute(self) -> dict[str, Any]:
        """The curves as plain data. What needs a face is missing where none was found, and `notes` says so."""
        drift = self._drift.compute()
        names = ("start", "lab", "lab_distance", "sharpness_to_reference", "motion")
        record: dict[str, Any] = {
            "drift": {name: _plain(getattr(drift, name)) for name in names},
            "differences": _plain(self._drift.differences),
            "notes": {},
        }
        if "identity" in self._instruments.metrics:
            record["identity"] = _plain(self._identity.compute())
        if self._mesh is not None:
            for name, parts in self._curves.items():
                curve = np.concatenate(parts)
                if self._face_every > 1:
                    record["notes"][name] = f"faces were looked for in one second of {self._face_every} only"
                    continue
                try:
                    record[name] = _plain(fill_gaps(curve))
                except ValueError as error:
                    record["notes"][name] = str(error)
            for name, found in self._sampled.items():  # None: no face was found in that interval
                record[name] = [float(np.mean(found[i])) if i in found else None for i in range(len(drift.start))]
        return record

    def features(self, kind: str) -> dict[str, np.ndarray]:
        """Features of frames (inception_kind) and of sixteens of frames (i3d_kind), where they are measured."""
        return {f"{name}_{kind}": np.concatenate(parts).astype(np.float32) for name, parts in self._features.items()}


def _compare(
    record: dict[str, Any],
    made: np.ndarray,
    clip: EvaluationClip,
    generated: VideoMeasurement,
    real: VideoMeasurement,
    instruments: Instruments,
) -> None:
    """Adds to a record what takes a whole video, or both; None where there is no face, or no difference."""
    paired = record["paired"] = {}
    if "similarity" in instruments.metrics:
        for name, measure in instruments.tools["similarity"].items():
            paired[name] = _or_none(measure, lambda: (made, clip.frames))
    if "lmd" in instruments.metrics:
        for part in ("face", "mouth"):
            paired[f"lmd_{part}"] = _or_none(LandmarkDistance(part), lambda: (generated.points, real.points))
    if "sync" in instruments.metrics:
        scorer = instruments.tools["syncnet"]
        record["generated"]["sync"] = _sync(scorer, made, generated, clip.speech)
        record["real"]["sync"] = _sync(scorer, clip.frames, real, clip.speech)


def _sync(
    scorer: SyncScorer, frames: np.ndarray, measured: VideoMeasurement, speech: np.ndarray
) -> dict[str, float] | None:
    """SyncNet's figures; None without a face, or for a clip that is too short."""
    try:
        return asdict(scorer.score(frames, measured.points, speech))
    except ValueError:
        return None


def _or_none(metric: Any, inputs: Any) -> float | None:
    try:
        return metric.measure(*inputs())[0]
    except ValueError:
        return None


def _plain(array: np.ndarray | None) -> list | None:
    return None if array is None else np.round(np.asarray(array, dtype=np.float64), 6).tolist()
