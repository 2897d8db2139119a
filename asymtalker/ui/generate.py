"""The Generate tab: a portrait and a text or a recording become a video."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from asymtalker.generation import GenerateOptions, GenerateResult, load_pipeline, stream_video
from asymtalker.media.picture import View
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.synthesis import DEFAULT_VOICE, list_voices
from asymtalker.track import Speech
from asymtalker.ui.examples import build_examples
from asymtalker.ui.inputs import (
    CONSENT,
    PRIVATE,
    RANDOM_SEED,
    Upload,
    build_portrait,
    busy,
    check_size,
    drift_figures,
    enable_cancel,
    gpu_seconds,
    largest_size,
    on_device,
    read_crop,
    report,
    shown_errors,
    uploaded,
)
from asymtalker.ui.view import SIDE, VIEWS, build_view, read_view
from asymtalker.ui.voice import LINKED_TEXT, build_voice, choose, read_voice

SAID = ("text", "voice", "pace")
SETTINGS = (
    "seed",
    "steps",
    "size",
    "label",
    "crop",
    "zoom",
    "shift_x",
    "shift_y",
    "face",
    "view",
    "max_side",
    "keep_smile",
    *SAID,
)
"""What makes a run again, besides portrait and recording: the names that a link has."""

EXAMPLES_KEPT = 16  # finished videos of examples, in memory

FIGURES_TEMPLATE = """
<dl class="figures">
  <div><dt>Speed</dt><dd>{{value.frames_per_second}} <small>fps</small></dd></div>
  <div><dt>Per second of video</dt><dd>{{value.work_per_second}} <small>s</small></dd></div>
  <div title="Last second minus first; 1 would be another person"><dt>Identity drift</dt>
    <dd>{{value.identity_drift}}</dd></div>
  <div title="Last second to first"><dt>Colour drift</dt><dd>{{value.color_drift}} <small>ΔE</small></dd></div>
  <div><dt>Seed</dt><dd>{{value.seed}}</dd></div>
</dl>
<p class="link">{{#if value.link}}<a href="{{value.link}}">Link to these settings</a> · give the same portrait and
speech {{#if value.kept}}· made earlier{{/if}}{{/if}}</p>
"""
NO_FIGURES = dict.fromkeys(("frames_per_second", "work_per_second", "identity_drift", "color_drift", "seed"), "–")


@dataclass(frozen=True)
class GenerateTab:
    """The tab's actions, under one checkpoint.

    Args:
        checkpoint: what `load_pipeline` takes.
        max_seconds: longest speech accepted.
    """

    checkpoint: str | None
    max_seconds: float
    _kept: gr.Cache = field(default_factory=lambda: gr.Cache(max_size=EXAMPLES_KEPT))

    def generate(
        self,
        portrait: Upload | None,
        speech: Upload | None = None,
        seed: int | None = RANDOM_SEED,
        steps: int | None = None,
        size: int | None = None,
        label: bool = True,
        crop: bool = True,
        zoom: float = 1,
        shift_x: float = 0,
        shift_y: float = 0,
        face: int | None = None,
        view: View = "picture",
        max_side: int = SIDE,
        keep_smile: bool = False,
        text: str | None = None,
        voice: str = DEFAULT_VOICE,
        pace: float = 1.0,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> Iterator[tuple[Any, Any]]:
        """Make a video of the person in the portrait who says the text, or speaks the speech."""
        with shown_errors(), tempfile.TemporaryDirectory(prefix="asymtalker-") as folder:
            size = int(size) if isinstance(size, str) and size.isdecimal() else size  # Gradio tells clients '128'
            options = GenerateOptions(
                seed=None if seed == RANDOM_SEED else seed,
                steps=steps,
                size=size,
                label=label,
                max_seconds=self.max_seconds,
                **read_view(view, max_side, keep_smile),
            )
            check_size(size, self.checkpoint)
            values = (seed, steps, size, label, crop, zoom, shift_x, shift_y, face, view, options.max_side, keep_smile)
            settings = dict(zip(SETTINGS, (*values, *_linked(text, voice, pace)), strict=True))
            found = read_crop(portrait, crop, zoom, shift_x, shift_y, face)
            said = read_voice(speech, text, voice, pace, self.checkpoint, self.max_seconds)
            for step in stream_on_device(self.checkpoint, found, said, Path(folder) / "asymtalker.mp4", options):
                if isinstance(step, GenerateResult):
                    yield str(step.path), _figures(step, settings | {"seed": step.seed})
                else:
                    report(step, progress)
                    yield gr.skip(), gr.skip()  # where a cancelled run is left

    def generate_on_page(
        self,
        portrait: Upload | None,
        speech: Upload | None,
        mode: str,
        *settings: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, Any]]:
        """`generate`, with the text or the recording, whichever the page shows."""
        *settings, text, voice, pace = settings
        speech, text = choose(mode, speech, text)
        yield from self.generate(portrait, speech, *settings, text, voice, pace, progress)

    def generate_example(
        self,
        portrait: Upload | None,
        speech: Upload | None,
        *settings: Any,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> Iterator[tuple[Any, Any]]:
        """`generate` with the example's recording, which is done once: the next visitor who asks for the same sees the
        video at once."""
        settings = settings[: -len(SAID)]
        with shown_errors(), tempfile.TemporaryDirectory(prefix="asymtalker-") as folder:
            given = [uploaded(upload).read_bytes() for upload in (portrait, speech) if upload]
            if kept := self._kept.get([*given, settings]):
                video = Path(folder) / "asymtalker.mp4"
                video.write_bytes(kept["video"])
                yield str(video), kept["figures"] | {"kept": True}
                return
            for video, figures in self.generate(portrait, speech, *settings, progress=progress):
                if isinstance(video, str):
                    self._kept.set([*given, settings], video=Path(video).read_bytes(), figures=figures)
                yield video, figures

    def restore(self, request: gr.Request) -> list[Any]:
        """The settings that the page's address names, in the order of `SETTINGS`."""
        named = dict(request.query_params)
        return [_read_setting(name, named[name]) if name in named else gr.skip() for name in SETTINGS]

    def build(self, page: gr.Blocks, examples: Path) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            examples: folder of portraits and recordings of the same name (anna.jpg, anna.wav).
        """
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                portrait = build_portrait(self.checkpoint)
                said = build_voice("speech")
                settings, view = self._build_advanced()
                with gr.Row():
                    start = gr.Button("Generate", variant="primary", scale=3, min_width=120)
                    cancel = gr.Button("Cancel", scale=1, min_width=90, interactive=False)
                gr.HTML(f'<p class="consent">{CONSENT}</p>')
            with gr.Column(scale=6, min_width=320):
                video = gr.Video(
                    label="Video", interactive=False, autoplay=True, buttons=["download"], height=420, elem_id="video"
                )
                figures = gr.JSON(label="Figures", visible="hidden")  # what clients of the API get
                shown = gr.HTML(NO_FIGURES, html_template=FIGURES_TEMPLATE, js_on_load=None)
                chosen = build_examples(examples, portrait.image, said.speech, "Examples: one click makes the video")
        settings += [*portrait.adjustments, *view, *said.typed]
        figures.change(None, figures, shown, js="figures => figures", api_visibility="private")
        page.load(self.restore, None, settings, **PRIVATE)
        inputs, outputs = [portrait.image, said.speech, *settings], [video, figures]
        action = {"preprocess": False, "show_progress_on": video}
        runs = [
            start.click(busy, outputs=[start, cancel], **PRIVATE).then(
                self.generate_on_page,
                [portrait.image, said.speech, said.mode, *settings],
                outputs,
                api_visibility="private",
                **action,
            )
        ]
        gr.Button(visible=False).click(self.generate, inputs, outputs, api_name="generate", **action)
        if chosen:
            runs.append(
                chosen.then(busy, outputs=[start, cancel], **PRIVATE).then(
                    self.generate_example, inputs, outputs, api_visibility="private", **action
                )
            )
        enable_cancel(start, cancel, runs)

    def _build_advanced(self) -> tuple[list[gr.components.Component], list[gr.components.Component]]:
        """Lays out the settings of the network and the label, and those of the view."""
        pipeline = load_pipeline(self.checkpoint)
        trained, side = pipeline.config.num_inference_steps, pipeline.frame_size[0]
        with gr.Accordion("Advanced", open=False):
            with gr.Row():
                seed = gr.Number(RANDOM_SEED, label="Seed", info="−1 draws one", precision=0, min_width=100)
                steps = gr.Number(trained, label="Steps", info=f"trained for {trained}", precision=0, min_width=100)
                sizes = [(f"{size} × {size}", size) for size in sorted({side, largest_size(self.checkpoint)})]
                size = gr.Dropdown(sizes, value=side, label="Network size", info=f"trained at {side}", min_width=120)
            view = build_view()
            label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
        return [seed, steps, size, label], view


def _read_setting(name: str, text: str) -> Any:
    """What a component is to show for a setting of a link; one that does not parse is left as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return gr.skip()
    if name in ("text", "voice"):
        known = name == "text" or value in [voice.name for voice in list_voices()]
        return value if isinstance(value, str) and len(value) <= LINKED_TEXT and known else gr.skip()
    if name == "view":
        return value if isinstance(value, str) and value in VIEWS else gr.skip()
    kinds = (bool,) if name in ("label", "crop", "keep_smile") else (int, float)
    return value if type(value) in kinds else gr.skip()


def _linked(text: str | None, voice: str, pace: float) -> tuple[Any, Any, Any]:
    """Text, voice and pace as a link has them: without a text, or with a long one, not at all."""
    return (text, voice, pace) if text and len(text) <= LINKED_TEXT else (None, None, None)


def _seconds(checkpoint: str | None, crop: PortraitCrop, speech: Speech, *_: Any) -> float:
    """Seconds of a GPU that a video takes."""
    return gpu_seconds(checkpoint, speech)


def _stream(
    checkpoint: str | None, crop: PortraitCrop, speech: Speech, output: Path, options: GenerateOptions
) -> Iterator[Any]:
    yield from stream_video(load_pipeline(checkpoint), crop, speech, output, options)


stream_on_device = on_device(_stream, _seconds)


def _figures(result: GenerateResult, settings: dict[str, Any]) -> dict[str, Any]:
    figures = {
        "frames_per_second": round(result.frames_per_second, 1),
        "work_per_second": round(result.elapsed / result.seconds, 2),
        "first_frame_seconds": round(result.first_frame, 2),
        "frames": result.frames,
        "seconds": round(result.seconds, 2),
        "seed": result.seed,
        "note": result.note,
        "link": "?" + urlencode({name: json.dumps(value) for name, value in settings.items() if value is not None}),
    }
    return figures | drift_figures(result)
