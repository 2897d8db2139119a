"""The Generate tab: a portrait and a text or a recording become a video."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from asymtalker.generation import GenerateOptions, GenerateResult, load_pipeline, stream_video
from asymtalker.media.picture import View
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.synthesis import DEFAULT_VOICE, list_voices
from asymtalker.track import Speech
from asymtalker.ui.action import Action
from asymtalker.ui.examples import CHOSEN
from asymtalker.ui.inputs import (
    PRIVATE,
    RANDOM_SEED,
    Upload,
    check_size,
    drift_figures,
    gpu_seconds,
    largest_size,
    on_device,
    read_crop,
    report,
    shown_errors,
)
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.view import SIDE, VIEWS, build_view, read_view
from asymtalker.ui.voice import LINKED_TEXT, RECORDED, VoiceInput, choose, read_voice
from asymtalker.ui.words import FIELDS

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
    "text",
    "voice",
    "pace",
)
"""What makes a run again, besides portrait and recording: the names that a link has."""

LINKED = "The settings of your link are filled in: give the same GIVEN for the same video"
NOTICE_TEMPLATE = '{{#if value}}<p class="status" role="status">{{value}}</p>{{/if}}'
RESULT_TEMPLATE = """
{{#if value}}<div class="share">
  <button type="button" data-share="file" hidden>Send the video …</button>
  <button type="button" data-share="link">Copy the link to these settings</button>
  <output></output>
</div>
<details><summary>Details</summary><dl class="figures">
  <div><dt>Seed</dt><dd>{{value.seed}}</dd><dd>The number that makes the same video again.</dd></div>
  <div><dt>Speed</dt><dd>{{value.frames_per_second}} <small>frames a second</small></dd>
    <dd>The video plays 25 a second: {{value.work_per_second}} s of work for each second of it.</dd></div>
  <div><dt>Identity drift</dt><dd>{{value.identity_drift}}</dd>
    <dd>How much further from the portrait the face is at the end than at the beginning. 0: not at all; 1: another
    person.</dd></div>
  <div><dt>Colour drift</dt><dd>{{value.color_drift}} <small>ΔE</small></dd>
    <dd>How far the colours have moved by the end. Below 2 is hard to see.</dd></div>
</dl></details>{{/if}}
"""
RESULT_SCRIPT = (Path(__file__).parent / "share.js").read_text()
PLAY_EXAMPLE = """examples => {
  CHOSEN
  const place = document.querySelector('#video'), video = place?.querySelector('video');
  if (!place?.offsetParent || !chosen.video) return Array(3).fill({__type__: 'update'}); // nothing changes
  if (video?.src.endsWith(chosen.video.url)) { video.currentTime = 0; video.play().catch(() => {}); }
  place.scrollIntoView({behavior: 'smooth', block: 'nearest'});
  return [chosen.video, null, ''];
}""".replace("CHOSEN", CHOSEN)
"""The finished video, once more if it is there already; only where it is seen, or it would be heard alone."""
GIVE_EXAMPLE = """async examples => {
  if (document.querySelector('#video')?.offsetParent) await new Promise(done => {
    document.addEventListener('playing', done, {capture: true, once: true});
    setTimeout(done, 500);
  });
  // Only now, as another may have been clicked meanwhile.
  CHOSEN
  return [chosen.portrait, chosen.speech, RECORDED];
}""".replace("CHOSEN", CHOSEN).replace("RECORDED", repr(RECORDED))
"""Portrait and recording, once the video plays: a picture and a wave form take longer to draw."""


@dataclass(frozen=True)
class GenerateTab:
    """The tab's actions, under one checkpoint.

    Args:
        checkpoint: what `load_pipeline` takes.
        max_seconds: longest speech accepted.
    """

    checkpoint: str | None
    max_seconds: float

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
            output = Path(folder) / f"{_file_name(portrait)}.mp4"
            for step in stream_on_device(self.checkpoint, found, said, output, options):
                if isinstance(step, GenerateResult):
                    yield str(step.path), _figures(step, settings | {"seed": step.seed})
                else:
                    report(step, progress)
                    yield gr.skip(), gr.skip()  # where a cancelled run is left

    def generate_on_page(
        self,
        portrait: Upload | None,
        mode: str,
        speech: Upload | None,
        text: str,
        voice: str,
        pace: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *settings: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """`generate`, with the text or the recording, whichever the page shows."""
        speech, text = choose(mode, speech, text)
        yield from self.generate(portrait, speech, *settings, text, voice, pace, progress)

    def restore(self, request: gr.Request) -> list[Any]:
        """What the page's address names: the fold opened, what is said about it, and the settings in the order of
        `SETTINGS`."""
        named = dict(request.query_params)
        values = [_read_setting(name, named[name]) if name in named else gr.skip() for name in SETTINGS]
        shown = [f"{FIELDS.get(name, name)} {named[name]}" for name in ("seed", "steps") if name in named]
        if not shown:
            return [gr.skip(), gr.skip(), *values]
        given = "portrait" if "text" in named else "portrait and voice"
        return [gr.update(open=True), f"{LINKED.replace('GIVEN', given)} ({', '.join(shown)}, …).", *values]

    def build(self, page: gr.Blocks, portrait: PortraitInput, said: VoiceInput, gallery: gr.HTML | None) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            portrait, said: the inputs that all tabs share.
            gallery: what `build_gallery` returns.
        """
        notice = gr.HTML("", html_template=NOTICE_TEMPLATE, js_on_load=None, elem_classes="notice")
        action = Action("Generate", portrait, said, self.max_seconds, "#video")
        video = gr.Video(
            label="Video", interactive=False, autoplay=True, buttons=["download"], height=420, elem_id="video"
        )
        figures = gr.JSON(label="Figures", visible="hidden")  # what clients of the API get
        result = gr.HTML(None, html_template=RESULT_TEMPLATE, js_on_load=RESULT_SCRIPT, elem_id="result")
        settings, view, advanced = self._build_advanced()
        settings += [*portrait.adjustments, *view]
        inputs, outputs = [portrait.image, *said.components, *settings], [video, figures]
        figures.change(None, figures, result, js="figures => figures", api_visibility="private")
        page.load(self.restore, None, [advanced, notice, *settings, *said.typed], **PRIVATE)
        action.run(self.generate_on_page, inputs, outputs, video)
        if gallery:
            played = gallery.select(
                None, gallery, [*outputs, action.problem], js=PLAY_EXAMPLE, api_visibility="private"
            )
            given = [portrait.image, said.speech, said.mode]
            played.then(None, gallery, given, js=GIVE_EXAMPLE, api_visibility="private")
        call = gr.Button(visible=False)
        inputs = [portrait.image, said.speech, *settings, *said.typed]
        call.click(self.generate, inputs, outputs, api_name="generate", preprocess=False)

    def _build_advanced(self) -> tuple[list[gr.components.Component], list[gr.components.Component], gr.Accordion]:
        """Lays out the settings of the network and the label, and those of the view, in a fold."""
        pipeline = load_pipeline(self.checkpoint)
        trained, side = pipeline.config.num_inference_steps, pipeline.frame_size[0]
        with gr.Accordion("Advanced", open=False) as advanced:
            with gr.Row():
                seed = gr.Number(RANDOM_SEED, label="Seed", info="−1 draws one", precision=0, min_width=100)
                steps = gr.Number(trained, label="Steps", info=f"trained for {trained}", precision=0, min_width=100)
                sizes = [(f"{size} × {size}", size) for size in sorted({side, largest_size(self.checkpoint)})]
                size = gr.Dropdown(sizes, value=side, label="Network size", info=f"trained at {side}", min_width=120)
            view = build_view()
            label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
        return [seed, steps, size, label], view, advanced


def _file_name(portrait: Upload) -> str:
    """What the video of a portrait is called when it is downloaded: nora.jpg becomes nora-talking."""
    words = re.findall(r"[\w-]+", Path(portrait["path"]).stem)
    return f"{'-'.join(words)[:60] or 'portrait'}-talking"


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
