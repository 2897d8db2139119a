"""AsymTalkerPipeline: a portrait and speech become a talking-head video of any length."""

import copy
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from diffusers import DiffusionPipeline, ModelMixin, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from huggingface_hub import snapshot_download
from torch import Tensor

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE, WindowLayout, video_frame_count
from asymtalker.color import match_lab
from asymtalker.conditioning import (
    ReferenceMode,
    SpeechBuffer,
    continuity_reference,
    decode_latents,
    spatial_ratio,
    speech_span,
    speech_windows,
    still,
    temporal_ratio,
    temporal_reference,
)
from asymtalker.renderer.motion_frame import CHANNELS
from asymtalker.renderer.renderer import FaceRenderer
from asymtalker.renderer.stream import FaceStream
from asymtalker.sampling import denoise_chunk, set_steps
from asymtalker.stages import COLOR, CONTINUITY, COPY, DECODE, REFERENCE, RENDER, SPEECH, stage

Portrait = PIL.Image.Image | np.ndarray | Tensor

ChunkCallback = Callable[[int, int | None], None]
"""Called after every chunk with the chunks done and, once the end of the speech is known, the chunks in all."""

StepsChoice = Callable[[], int]
"""Asked before every chunk for its number of steps: a live stream that falls behind takes fewer."""

MAX_STEPS = 100


@dataclass
class AsymTalkerPipelineOutput(BaseOutput):
    """Frames of the video: uint8-scaled floats (F, H, W, 3), a list of PIL images, or a tensor (F, 3, H, W); of a list
    of portraits, as many of these."""

    frames: np.ndarray | list[PIL.Image.Image] | list[list[PIL.Image.Image]] | Tensor


@dataclass(frozen=True)
class Chunk:
    """A chunk of a video whose frames may still have to be rendered.

    Attributes:
        frames: how many it has.
        render: makes them: uint8 (F, H, W, 3), or (B, F, H, W, 3) of a list of portraits. To be called once.
    """

    frames: int
    render: Callable[[], np.ndarray]


@dataclass
class StreamState:
    """What one stream, or several in step, carry from chunk to chunk. Two streams never share one.

    Attributes:
        form: of what comes before the samples of its speech and the frames of its videos: (), or (portraits,).
        faces: the portraits as the renderer moves them; none without a renderer.
    """

    layout: WindowLayout
    portrait: Tensor
    reference: Tensor
    continuity: Tensor
    scheduler: SchedulerMixin
    generator: torch.Generator | list[torch.Generator] | None
    guidance_scale: float
    color_match: float
    form: tuple[int, ...] = ()
    faces: list[FaceStream] = field(default_factory=list)
    speech: SpeechBuffer = field(default_factory=SpeechBuffer)
    chunk: int = 0


class AsymTalkerPipeline(DiffusionPipeline):
    """Animates a portrait to speech, chunk by chunk (arXiv 2605.02948).

    Args:
        transformer: the denoising network.
        vae: a causal video autoencoder (AutoencoderPatchKLT, AutoencoderKLWan, AutoencoderKLLTXVideo).
        speech_encoder: LogMelSpeechEncoder or Wav2Vec2SpeechEncoder.
        scheduler: FlowMatchLCMScheduler for a few-step student, FlowMatchEulerDiscreteScheduler for a teacher.
        renderer: moves the portrait in its own pixels, for an autoencoder of motion frames; without one, frames are
            what the autoencoder decodes.
        window_frames, continuity_frames: see `asymtalker.chunks.WindowLayout`.
        live_window_frames: frames of a window in a live stream, at most, for a checkpoint that was trained for several
            lengths from one new latent frame on; None: the same.
        first_continuity_frames: frames of the still portrait that the first window starts from; None: as many as every
            window carries. The public FlashHead weights start from one. A window drops `continuity_frames` either way.
        num_inference_steps: steps that the checkpoint was trained for.
        color_match: default strength of the Lab match to the portrait, 0 to 1.
        guidance_scale: default of the audio guidance `uncond + w·(cond − uncond)`; 1 is none, for a student that has it
            distilled.
    """

    model_cpu_offload_seq = "speech_encoder->transformer->vae"
    _optional_components = ["renderer"]
    _exclude_from_cpu_offload = ["renderer"]

    @classmethod
    def download(
        cls,
        pretrained_model_name: str,
        *,
        revision: str | None = None,
        cache_dir: str | None = None,
        force_download: bool = False,
        local_files_only: bool | None = None,
        token: str | bool | None = None,
        **_: Any,
    ) -> str:
        """Downloads a checkpoint from the Hub; returns its folder in the cache.

        Its components are classes of this package; diffusers' own method would look for their code in the repository.
        """
        return snapshot_download(
            pretrained_model_name,
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=bool(local_files_only),
            token=token,
            ignore_patterns=["training/*", "samples/*", "*.bin", "*.pt", "*.py"],
        )

    def __init__(
        self,
        transformer: ModelMixin,
        vae: ModelMixin,
        speech_encoder: ModelMixin,
        scheduler: SchedulerMixin,
        renderer: FaceRenderer | None = None,
        window_frames: int = 21,
        continuity_frames: int = 5,
        num_inference_steps: int = 2,
        color_match: float = 0.0,
        guidance_scale: float = 1.0,
        first_continuity_frames: int | None = None,
        live_window_frames: int | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, speech_encoder=speech_encoder, scheduler=scheduler, renderer=renderer
        )
        self.register_to_config(
            window_frames=window_frames,
            continuity_frames=continuity_frames,
            num_inference_steps=num_inference_steps,
            color_match=color_match,
            guidance_scale=guidance_scale,
            first_continuity_frames=first_continuity_frames,
            live_window_frames=live_window_frames,
        )
        if transformer.config.get("motion_prior") is not None:
            raise ValueError(
                "This checkpoint was made for AsymTalker 0.1: its network has a motion prior, which moved into the "
                "renderer. Install asymtalker 0.1 for it, or train it anew (train/README.md)."
            )
        if renderer is not None and vae.config.in_channels != CHANNELS:
            raise ValueError(
                f"A renderer needs an autoencoder of motion frames, of {CHANNELS} channels, not of "
                f"{vae.config.in_channels}."
            )
        self.layout = WindowLayout(window_frames, continuity_frames, temporal_ratio(vae))
        self.live_layout = self.layout.holding(live_window_frames or window_frames)
        if first_continuity_frames is not None:
            self.layout.check_first_continuity(first_continuity_frames)
        self.video_processor = VideoProcessor(vae_scale_factor=spatial_ratio(vae), do_convert_rgb=True)
        self.fps = FPS
        self.sampling_rate = SAMPLING_RATE
        self._vae_lock = threading.Lock()  # AutoencoderKLWan keeps its cache on the module while it is at work
        self._turn: AbstractContextManager = nullcontext()

    def take_turns(self) -> None:
        """Has streams use the networks one after the other, chunk by chunk: for weights that come and go."""
        self._turn = threading.Lock()

    def noise(self, seed: int) -> torch.Generator:
        """A source of noise where the networks run: with another's, each step would wait for its noise to come over."""
        return torch.Generator(self._execution_device).manual_seed(seed)

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels that the checkpoint was trained at, or is measured at if it has a renderer."""
        if self.renderer is not None:
            return self.renderer.config.sample_size, self.renderer.config.sample_size
        height, width = self.transformer.config.sample_size
        return width * spatial_ratio(self.vae), height * spatial_ratio(self.vae)

    def check_inputs(
        self, steps: int, guidance_scale: float, color_match: float, size: tuple[int, int] | None = None
    ) -> None:
        """Raises ValueError naming the option that is out of range and the allowed values.

        Args:
            size: (width, height) of the frames that the autoencoder decodes, in pixels.
        """
        if not 1 <= steps <= MAX_STEPS:
            raise ValueError(f"num_inference_steps must be 1 to {MAX_STEPS}, not {steps}.")
        if guidance_scale < 0:
            raise ValueError(f"guidance_scale must be 0 or more, not {guidance_scale}.")
        if not 0 <= color_match <= 1:
            raise ValueError(f"color_match must be 0 to 1, not {color_match}.")
        multiple = spatial_ratio(self.vae) * self.transformer.config.patch_size[1]
        if size is not None and any(side < multiple or side % multiple for side in size):
            raise ValueError(f"width and height must be multiples of {multiple}, not {size[0]} x {size[1]}.")

    def stream(
        self,
        image: Portrait | list[Portrait],
        speech: np.ndarray | Tensor | Iterable[np.ndarray],
        **options: Any,
    ) -> Iterator[np.ndarray]:
        """Yields the video as it is made: uint8 arrays (F, H, W, 3), at most one chunk each, ⌈seconds · 25⌉ frames in
        all; of a list of portraits (B, F, H, W, 3).

        Args:
            image, speech, options: see `stream_chunks`.

        Raises:
            ValueError: if an option is out of range, or the speech is empty or not what it should be.
        """
        chunks = self.stream_chunks(image, speech, **options)
        return _frames_of(chunks)

    @torch.no_grad()
    def stream_chunks(
        self,
        image: Portrait | list[Portrait],
        speech: np.ndarray | Tensor | Iterable[np.ndarray],
        *,
        num_inference_steps: int | StepsChoice | None = None,
        guidance_scale: float | None = None,
        generator: torch.Generator | list[torch.Generator] | None = None,
        width: int | None = None,
        height: int | None = None,
        color_match: float | None = None,
        reference_mode: ReferenceMode = "temporal",
        keep_smile: bool = False,
        window_frames: int | None = None,
        callback_on_chunk_end: ChunkCallback | None = None,
    ) -> Iterator[Chunk]:
        """Yields the chunks of a video before their frames are rendered, so that another thread may do that while the
        next chunk is generated. They are to be rendered in order.

        Args:
            image: the portrait, cropped as the checkpoint wants it (see `asymtalker.media.portrait.crop_portrait`);
                arrays and tensors hold floats in [0, 1]. A list makes as many videos in step, of images of one size.
                With a renderer the image is square, and frames are as large as it is.
            speech: 16 kHz mono samples in [-1, 1], (samples,), or an iterator of such arrays: a file and a
                microphone go the same way. For a list of B portraits (B, samples).
            num_inference_steps: default: the checkpoint's own; a function is asked before every chunk.
            guidance_scale: w of `uncond + w·(cond − uncond)` on the speech; 1 is none.
            generator: makes the video repeatable on the same device; of a list of portraits, one for each.
            width, height: size of the frames in pixels; default: the checkpoint's own. With a renderer they have the
                image's.
            color_match: strength of the Lab match to the portrait; default: the checkpoint's own. A renderer shows the
                portrait's own colours, and nothing is matched.
            reference_mode: "temporal" (TRE) or "static" (the ablation).
            keep_smile: with a renderer: leave the lips as the portrait has them while nothing is said; otherwise the
                mouth is shut then.
            window_frames: frames of a window, of a checkpoint that was trained for several lengths; default: its own.
            callback_on_chunk_end: see `ChunkCallback`.

        Raises:
            ValueError: if an option is out of range, or the speech is empty or not what it should be.
        """
        choice = num_inference_steps if callable(num_inference_steps) else None
        steps = self.config.num_inference_steps if num_inference_steps is None or choice else num_inference_steps
        strength = self.config.color_match if color_match is None else color_match
        guidance = self.config.guidance_scale if guidance_scale is None else guidance_scale
        size = None
        if self.renderer is None:
            trained = self.frame_size
            size = (trained[0] if width is None else width, trained[1] if height is None else height)
        self.check_inputs(steps, guidance, strength, size)
        state = self.prepare_stream(
            image,
            steps,
            size=size,
            guidance_scale=guidance,
            generator=generator,
            color_match=strength,
            reference_mode=reference_mode,
            keep_smile=keep_smile,
            layout=None if window_frames is None else self.layout.holding(window_frames),
        )
        if isinstance(speech, (np.ndarray, Tensor)):
            state.speech.append(_as_samples(speech, state.form))
            return self._chunks(state, iter(()), callback_on_chunk_end, choice, ended=True)
        return self._chunks(state, iter(speech), callback_on_chunk_end, choice)

    @torch.no_grad()
    def __call__(
        self,
        image: Portrait | list[Portrait],
        speech: np.ndarray | Tensor | Iterable[np.ndarray],
        *,
        output_type: str = "np",
        return_dict: bool = True,
        **options: object,
    ) -> AsymTalkerPipelineOutput | tuple:
        """Makes the whole video.

        Args:
            output_type: "np" (floats in [0, 1], (F, H, W, 3)), "pil" (a list of images) or "pt" (floats in [0, 1],
                (F, 3, H, W)); of a list of portraits, as many of these.
            image, speech, options: see `stream`.
        """
        if output_type not in ("np", "pil", "pt"):
            raise ValueError(f'output_type must be "np", "pil" or "pt", not "{output_type}".')
        progress = self.progress_bar(self.stream(image, speech, **options))
        progress.total = self._chunk_total(speech)
        frames = _as_output(np.concatenate(list(progress), axis=-4), output_type)
        return AsymTalkerPipelineOutput(frames=frames) if return_dict else (frames,)

    def prepare_stream(
        self,
        image: Portrait | list[Portrait],
        steps: int,
        *,
        size: tuple[int, int] | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        color_match: float = 0.0,
        reference_mode: ReferenceMode = "temporal",
        keep_smile: bool = False,
        layout: WindowLayout | None = None,
    ) -> StreamState:
        """Encodes the portrait and returns the state of a stream before its first chunk.

        Args:
            size: (width, height) of frames without a renderer; default: the checkpoint's own.
            layout: of the windows; default: the checkpoint's own.
        """
        faces = []
        if self.renderer is not None:
            images = image if isinstance(image, list) else [image]
            faces = [FaceStream(self.renderer, _as_square(one), keep_smile) for one in images]
            portrait = torch.stack([face.motion_frame for face in faces])
        else:
            width, height = size or self.frame_size
            portrait = self.video_processor.preprocess(image, height=height, width=width)
        state = self.start_stream(
            portrait,
            steps,
            guidance_scale=guidance_scale,
            generator=generator,
            color_match=0.0 if faces else color_match,
            reference_mode=reference_mode,
            layout=layout,
        )
        state.form, state.faces = (len(image),) if isinstance(image, list) else (), faces
        if faces:
            with self._turn, self._vae_lock, stage(REFERENCE):
                held = decode_latents(self.vae, state.continuity)[:, :, -1]
            for face, frame in zip(faces, held, strict=True):
                face.hold(frame)
        return state

    @torch.no_grad()
    def start_stream(
        self,
        portrait: Tensor,
        steps: int,
        *,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        color_match: float = 0.0,
        reference_mode: ReferenceMode = "temporal",
        layout: WindowLayout | None = None,
    ) -> StreamState:
        """The state before the first chunk of a stream of portraits as the autoencoder takes frames, (B, C, H, W) in
        [-1, 1]: `next_chunk` then gives frames of this kind, and nothing is rendered."""
        layout = layout or self.layout
        portrait = portrait.to(self._execution_device, torch.float32)
        scheduler = copy.deepcopy(self.scheduler)
        set_steps(scheduler, steps, self._execution_device)
        with self._turn, self._vae_lock, stage(REFERENCE):
            reference = temporal_reference(self.vae, portrait, layout, reference_mode)
            held = still(portrait, self.config.first_continuity_frames or layout.continuity_frames)
            continuity = continuity_reference(self.vae, held, layout)
        return StreamState(
            layout=layout,
            portrait=portrait,
            reference=reference,
            continuity=continuity,
            scheduler=scheduler,
            generator=generator,
            guidance_scale=guidance_scale,
            color_match=color_match,
        )

    @torch.no_grad()
    def next_chunk(self, state: StreamState) -> Tensor:
        """Generates the next chunk of a stream and moves its state on.

        Returns:
            New frames as the autoencoder decodes them, (B, C, F, H, W) in [-1, 1]: pictures, or motion frames for the
            renderer.
        """
        with self._turn:
            return self._make_chunk(state)

    def _make_chunk(self, state: StreamState) -> Tensor:
        layout, span = state.layout, speech_span(self.speech_encoder, state.layout)
        segment = state.speech.cut(layout.window_start(state.chunk), layout, span)
        with stage(SPEECH):
            segment = torch.atleast_2d(segment).to(self._execution_device, non_blocking=True)
            speech = speech_windows(self.speech_encoder, segment, layout)
        batch, channels, _, height, width = state.reference.shape
        noise = randn_tensor(
            (batch, channels, layout.latent_frames - state.continuity.shape[2], height, width),
            generator=state.generator,
            device=self._execution_device,
            dtype=torch.float32,
        )
        latents = denoise_chunk(
            self.transformer,
            state.scheduler,
            noise,
            state.continuity,
            state.reference,
            speech,
            guidance_scale=state.guidance_scale,
            generator=state.generator,
        )
        with self._vae_lock, stage(DECODE):
            window = decode_latents(self.vae, torch.cat([state.continuity, latents], dim=2))
        frames = window[:, :, layout.continuity_frames :]
        if state.color_match > 0:
            with stage(COLOR):
                frames.copy_(match_lab(frames, state.portrait, state.color_match))  # in the window: κ is its end
        with self._vae_lock, stage(CONTINUITY):
            state.continuity = continuity_reference(self.vae, window, layout)
        state.chunk += 1
        return frames

    @torch.no_grad()
    def _chunks(
        self,
        state: StreamState,
        source: Iterator[np.ndarray],
        callback: ChunkCallback | None,
        steps: StepsChoice | None,
        ended: bool = False,
    ) -> Iterator[Chunk]:
        while True:
            ended = ended or self._listen(state, source)
            frames = video_frame_count(state.speech.samples)
            if ended and frames == 0:
                raise ValueError("The speech is empty: give at least one sample at 16 kHz.")
            keep = state.layout.kept_frames(state.chunk, frames) if ended else state.layout.new_frames
            if keep == 0:
                return
            if steps is not None:
                set_steps(state.scheduler, steps(), self._execution_device)
            made = self.next_chunk(state)[:, :, :keep]
            yield self._to_render(state, made) if state.faces else self._to_copy(state, made)
            if callback is not None:
                callback(state.chunk, state.layout.chunk_count(frames) if ended else None)

    def _to_render(self, state: StreamState, frames: Tensor) -> Chunk:
        """Motion frames (B, 93, F, 1, 1), to be shown in the portraits' own pixels."""
        faces, form = state.faces, state.form

        def render() -> np.ndarray:
            with stage(RENDER):
                videos = [face.render(moving) for face, moving in zip(faces, frames, strict=True)]
            return np.stack(videos) if form else videos[0]

        return Chunk(frames.shape[2], render)

    def _to_copy(self, state: StreamState, frames: Tensor) -> Chunk:
        with stage(COPY):
            copied = _as_uint8(frames if state.form else frames[0])
        return Chunk(frames.shape[2], lambda: copied)

    def _listen(self, state: StreamState, source: Iterator[np.ndarray]) -> bool:
        """Takes sound until the next window is covered; True if the speech has ended before that."""
        lookahead, layout = speech_span(self.speech_encoder, state.layout)[1], state.layout
        needed = (layout.window_start(state.chunk) + layout.window_frames + lookahead) * SAMPLES_PER_FRAME
        while state.speech.samples < needed:
            samples = next(source, None)
            if samples is None:
                return True
            state.speech.append(_as_samples(samples, state.form))
        return False

    def _chunk_total(self, speech: object) -> int | None:
        if not isinstance(speech, (np.ndarray, Tensor)):
            return None
        return self.layout.chunk_count(video_frame_count(speech.shape[-1]))


def _frames_of(chunks: Iterator[Chunk]) -> Iterator[np.ndarray]:
    with closing(chunks):
        for chunk in chunks:
            yield chunk.render()


def _as_square(image: Portrait) -> np.ndarray:
    """A square portrait as the renderer takes it, uint8 (S, S, 3)."""
    if isinstance(image, Tensor):
        image = image.movedim(-3, -1).cpu().float().numpy()
    if isinstance(image, PIL.Image.Image):
        pixels = np.asarray(image.convert("RGB"))
    else:
        pixels = (image.clip(0, 1) * 255).round().astype(np.uint8)
    if pixels.ndim != 3 or pixels.shape[0] != pixels.shape[1]:
        raise ValueError(f"The portrait must be square, not of shape {pixels.shape}: crop it (crop_portrait).")
    return pixels


def _as_samples(speech: np.ndarray | Tensor, form: tuple[int, ...]) -> Tensor:
    samples = torch.as_tensor(speech, device="cpu")
    if not samples.ndim or samples.shape[:-1] != form or not samples.is_floating_point():
        found = f"{samples.dtype} of shape {tuple(samples.shape)}"
        wanted = f"({form[0]}, samples)" if form else "(samples,)"
        raise ValueError(f"speech must be floats in [-1, 1] of shape {wanted}, not {found}.")
    return samples


def _as_uint8(frames: Tensor) -> np.ndarray:
    """(..., 3, F, H, W) in [-1, 1] -> (..., F, H, W, 3)"""
    return frames.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).movedim(-4, -1).cpu().numpy()


def _as_output(frames: np.ndarray, output_type: str) -> np.ndarray | list | Tensor:
    if output_type == "pil":
        return [
            PIL.Image.fromarray(part) if part.ndim == 3 else _as_output(part, output_type)  # a frame, or a video
            for part in frames
        ]
    scaled = frames.astype(np.float32) / 255
    return scaled if output_type == "np" else torch.from_numpy(scaled).movedim(-1, -3)
