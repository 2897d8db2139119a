"""The Generate tab: a portrait and a recording become a video."""

from __future__ import annotations

import base64
import io
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import spaces

from asymtalker.generation import GenerateOptions, GenerateResult, load_pipeline, stream_video
from asymtalker.media.portrait import PortraitCrop, crop_portrait, read_portrait
from asymtalker.media.speech import read_speech

CONSENT = (
    "Use only a portrait and a voice that you have the right to use, with the consent of the person shown. "
    "Videos are marked as AI-generated, in the picture and in the file."
)
Upload = dict[str, Any]  # {"path": the file as it was uploaded, ...}
RANDOM_SEED = -1  # what the page shows; the package says None
GPU_START = 20  # seconds a lent GPU needs before the first frame, generously
GPU_PER_SECOND = 1.0  # seconds of a lent GPU for a second of video, generously

CROP_TEMPLATE = """
{{#if value}}<div class="full crop {{value.state}}">
  {{#if value.image}}<img src="{{value.image}}" alt="The part of the portrait that is animated">{{/if}}
  <p>{{value.text}}</p>
</div>{{/if}}
"""
FIGURES_TEMPLATE = """
{{#if value}}<dl class="full figures">
  <div><dt>Speed</dt><dd>{{value.frames_per_second}} <small>fps</small></dd></div>
  <div><dt>Per second of video</dt><dd>{{value.work_per_second}} <small>s</small></dd></div>
  <div><dt>Length</dt><dd>{{value.seconds}} <small>s</small></dd></div>
  <div><dt>Seed</dt><dd>{{value.seed}}</dd></div>
</dl>{{/if}}
"""


@dataclass(frozen=True)
class GenerateTab:
    """The tab's actions, under one checkpoint.

    Args:
        checkpoint: what `load_pipeline` takes.
        max_seconds: longest speech accepted.
    """

    checkpoint: str | None
    max_seconds: float

    def preview(self, portrait: Upload | None, crop: bool) -> dict[str, str] | None:
        """What of the portrait will be animated, or why it cannot be."""
        if not portrait:
            return None
        try:
            found = crop_portrait(read_portrait(portrait["path"]), find_face=crop)
        except (ValueError, OSError) as error:
            return {"state": "trouble", "text": str(error)}
        return {"image": _thumbnail(found), "text": f"This part is animated. {found.note}"}

    def generate(
        self,
        portrait: Upload | None,
        speech: Upload | None,
        seed: int | None = RANDOM_SEED,
        steps: int | None = None,
        crop: bool = True,
        label: bool = True,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> Iterator[tuple[Any, Any]]:
        """Make a video of the person in the portrait who speaks the speech."""
        with _shown_errors(), tempfile.TemporaryDirectory(prefix="asymtalker-") as folder:
            options = GenerateOptions(
                self.checkpoint,
                seed=None if seed == RANDOM_SEED else seed,
                steps=steps,
                crop=crop,
                label=label,
                max_seconds=self.max_seconds,
            )
            found, samples = self._read(portrait, speech, options)
            pipeline = load_pipeline(self.checkpoint)
            stream = _stream if pipeline.device.type == "cpu" else _stream_on_gpu
            for step in stream(found, samples, Path(folder) / "asymtalker.mp4", options):
                if isinstance(step, GenerateResult):
                    yield str(step.path), _figures(step)
                else:
                    progress(step.frames / step.total, desc=f"{_clock(step.remaining)} left")
                    yield gr.skip(), gr.skip()  # where a cancelled run is left

    def _read(
        self, portrait: Upload | None, speech: Upload | None, options: GenerateOptions
    ) -> tuple[PortraitCrop, np.ndarray]:
        if not portrait:
            raise ValueError("There is no portrait yet: upload a photograph or take one.")
        if not speech:
            raise ValueError("There is no speech yet: upload a recording or record one.")
        found = crop_portrait(read_portrait(portrait["path"]), find_face=options.crop)
        return found, read_speech(speech["path"], load_pipeline(self.checkpoint).sampling_rate, options.max_seconds)

    def build(self, examples: Path) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            examples: folder of portraits and recordings of the same name (anna.jpg, anna.wav).
        """
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                portrait = gr.Image(
                    label="Portrait", sources=["upload", "webcam", "clipboard"], type="filepath", height=260
                )
                preview = gr.HTML(html_template=CROP_TEMPLATE, js_on_load=None, elem_classes="when-full")
                speech = gr.Audio(
                    label="Speech",
                    sources=["upload", "microphone"],
                    type="filepath",
                    buttons=["download"],
                    elem_classes="speech",
                )
                seed, steps, crop, label = self._build_advanced()
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", scale=3, min_width=120)
                    cancel = gr.Button("Cancel", scale=1, min_width=90, interactive=False)
                gr.HTML(f'<p class="consent">{CONSENT}</p>')
            with gr.Column(scale=6, min_width=320):
                video = gr.Video(label="Video", interactive=False, autoplay=True, buttons=["download"], height=420)
                figures = gr.JSON(label="Figures", visible="hidden")  # what clients of the API get
                shown = gr.HTML(html_template=FIGURES_TEMPLATE, js_on_load=None, elem_classes="when-full")
                chosen = build_examples(examples, portrait, speech)
        inputs, outputs = [portrait, speech, seed, steps, crop, label], [video, figures]
        figures.change(None, figures, shown, js="figures => figures", api_visibility="private")

        private = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
        for change in (portrait.change, crop.change):
            change(self.preview, [portrait, crop], preview, preprocess=False, trigger_mode="always_last", **private)
        runs = [
            start.click(_busy, outputs=[start, cancel], **private).then(
                self.generate, inputs, outputs, api_name="generate", preprocess=False, show_progress_on=video
            )
        ]
        if chosen:
            runs.append(
                chosen.then(_busy, outputs=[start, cancel], **private).then(
                    self.generate, inputs, outputs, api_visibility="private", preprocess=False, show_progress_on=video
                )
            )
        for run in runs:
            for end in (run.success, run.failure):  # `then` alone is not called after an error
                end(_idle, outputs=[start, cancel], **private)
        cancel.click(_idle, outputs=[start, cancel], cancels=runs, **private)

    def _build_advanced(self) -> tuple[gr.Number, gr.Number, gr.Checkbox, gr.Checkbox]:
        trained = load_pipeline(self.checkpoint).config.num_inference_steps
        with gr.Accordion("Advanced", open=False):
            with gr.Row():
                seed = gr.Number(RANDOM_SEED, label="Seed", info="−1 draws one", precision=0, min_width=120)
                steps = gr.Number(trained, label="Steps", info=f"trained for {trained}", precision=0, min_width=120)
            crop = gr.Checkbox(label="Find the face and crop around it", value=True)
            label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
        return seed, steps, crop, label


def build_examples(folder: Path, portrait: gr.Image, speech: gr.Audio) -> gr.events.Dependency | None:
    """The examples in `folder`; returns the event of one being chosen, or None where there are none."""
    pairs = [[str(path), str(path.with_suffix(".wav"))] for path in sorted(folder.glob("*.jpg"))]
    if not pairs:
        return None
    chooser = gr.Examples(
        pairs,
        [portrait, speech],
        label="Examples: one click makes the video",
        visible_columns=[0],
        api_visibility="private",
        elem_id="examples",
    )
    return chooser.load_input_event


def _gpu_seconds(crop: PortraitCrop, samples: np.ndarray, output: Path, options: GenerateOptions) -> int:
    """Seconds for which a GPU is to be lent."""
    rate = load_pipeline(options.checkpoint).sampling_rate
    return math.ceil(GPU_START + GPU_PER_SECOND * len(samples) / rate)


def _stream(crop: PortraitCrop, samples: np.ndarray, output: Path, options: GenerateOptions) -> Iterator[Any]:
    # The pipeline is no argument: a lent GPU is used from a forked process, to which arguments are copied.
    yield from stream_video(load_pipeline(options.checkpoint), crop, samples, output, options)


_stream_on_gpu = spaces.GPU(duration=_gpu_seconds)(_stream)


@contextmanager
def _shown_errors() -> Iterator[None]:
    """Shows what the package says about unusable input, in the page and to clients."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise gr.Error(str(error), title="That did not work", print_exception=False) from error


def _busy() -> tuple[Any, Any]:
    return gr.update(interactive=False), gr.update(interactive=True)


def _idle() -> tuple[Any, Any]:
    return gr.update(interactive=True), gr.update(interactive=False)


def _figures(result: GenerateResult) -> dict[str, Any]:
    return {
        "frames_per_second": round(result.frames_per_second, 1),
        "work_per_second": round(result.elapsed / result.seconds, 2),
        "first_frame_seconds": round(result.first_frame, 2),
        "frames": result.frames,
        "seconds": round(result.seconds, 2),
        "seed": result.seed,
        "note": result.note,
    }


def _clock(seconds: float) -> str:
    """4.2 → "5 s", 75 → "1 min 15 s"."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _thumbnail(crop: PortraitCrop, side: int = 192) -> str:
    """The crop as a data URI."""
    buffer = io.BytesIO()
    crop.image.resize((side, side)).save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
