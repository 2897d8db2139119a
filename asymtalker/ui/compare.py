"""The Compare tab: the same portrait and speech through two settings, side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from asymtalker.comparison import COMPARED, SIDES, Comparison, compare_videos, describe_difference
from asymtalker.generation import (
    DEFAULT_CHECKPOINT,
    DRIFT_INTERVAL,
    MAX_GUIDANCE,
    GenerateOptions,
    GenerateProgress,
    GenerateResult,
    load_pipeline,
)
from asymtalker.media.picture import View
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.synthesis import DEFAULT_VOICE
from asymtalker.track import Speech
from asymtalker.ui.action import Action
from asymtalker.ui.inputs import (
    PRIVATE,
    RANDOM_SEED,
    Upload,
    check_size,
    drift_figures,
    gpu_seconds,
    on_device,
    read_crop,
    report,
    shown_errors,
)
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.view import LIVE_SIDE, build_view, read_view
from asymtalker.ui.voice import VoiceInput, choose, read_voice

REFERENCES = [("TRE", "temporal"), ("static", "static")]
Outputs = Iterator[tuple[Any, Any, Any, Any]]

SETTINGS_EXPLAINED = """
<details class="explained"><summary>What the settings mean</summary><ul>
  <li><b>Steps</b>: how often each chunk is refined. More take longer.</li>
  <li><b>Reference</b>: what keeps the face the same person. TRE (temporal reference encoding) shows the network the
    portrait as a still clip; static shows it as one picture, as earlier systems do.</li>
  <li><b>Colour match</b>: how far the colours are pulled back to the portrait's, 0 to 1.</li>
  <li><b>Guidance</b>: how strongly the voice steers. 1 is as trained.</li>
</ul></details>
"""
PLAYER = """
<div class="compare">
  <div class="screens" hidden>
    <video aria-label="Videos A and B beside each other" playsinline preload="auto"></video>
    <figure class="difference" hidden><canvas role="img" aria-label="Where A and B are unlike"></canvas>
      <figcaption>Where they differ, made stronger</figcaption></figure>
  </div>
  <p class="empty">A and B appear here beside each other, and play in step.</p>
  <div class="controls" hidden>
    <button class="play" aria-label="Play">▶</button>
    <button class="back" aria-label="One frame back (−1)">−1</button>
    <button class="forth" aria-label="One frame on (+1)">+1</button>
    <input class="timeline" type="range" min="0" value="0" step="1" aria-label="Frame">
    <output class="clock">0</output>
    <label><input class="show-difference" type="checkbox"> Difference</label>
  </div>
  <details hidden><summary>Details</summary>
    <p>Measured once a second; <b class="a">A</b> and <b class="b">B</b> are curves of the colours of their names.</p>
    <div class="plots"></div>
    <table><thead><tr><th>At the end of the video</th><th>A</th><th>B</th></tr></thead><tbody></tbody></table>
  </details>
</div>
"""
PLAYER_SCRIPT = (Path(__file__).parent / "compare.js").read_text()


@dataclass(frozen=True)
class CompareTab:
    """The tab's actions.

    Args:
        checkpoint: what `load_pipeline` takes, where a side names no other.
        max_seconds: longest speech accepted.
    """

    checkpoint: str | None
    max_seconds: float

    @property
    def checkpoints(self) -> list[str]:
        """What the sides may name: the page's own, the embedded one and those of ASYMTALKER_COMPARE."""
        further = os.environ.get("ASYMTALKER_COMPARE", "").split(",")
        named = [self.checkpoint or DEFAULT_CHECKPOINT, DEFAULT_CHECKPOINT, *(name.strip() for name in further)]
        return list(dict.fromkeys(filter(None, named)))

    def compare(
        self,
        portrait: Upload | None,
        speech: Upload | None = None,
        left: dict[str, Any] | None = None,
        right: dict[str, Any] | None = None,
        seed: int | None = RANDOM_SEED,
        crop: bool = True,
        zoom: float = 1,
        shift_x: float = 0,
        shift_y: float = 0,
        face: int | None = None,
        view: View = "picture",
        max_side: int = LIVE_SIDE,
        keep_smile: bool = False,
        text: str | None = None,
        voice: str = DEFAULT_VOICE,
        pace: float = 1.0,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> Outputs:
        """Make the same video under two settings: both, a film of the two side by side, and figures over time."""
        shown = (view, max_side, keep_smile)
        cropped = (crop, zoom, shift_x, shift_y, face)
        said = (speech, text, voice, pace)
        for made in self._compare(portrait, said, (left, right), seed, cropped, shown, True, progress):
            if made is None:
                yield (gr.skip(),) * 4  # where a cancelled run is left
            else:
                comparison, figures = made
                files = comparison.left.path, comparison.right.path, comparison.film
                yield *map(str, files), figures

    def compare_on_page(
        self,
        portrait: Upload | None,
        mode: str,
        speech: Upload | None,
        text: str,
        voice: str,
        pace: float,
        seed: int | None,
        crop: bool,
        zoom: float,
        shift_x: float,
        shift_y: float,
        face: int | None,
        view: View,
        max_side: int,
        keep_smile: bool,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
        *settings: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """The film and the figures, with the settings as the page's components hold them."""
        half = len(settings) // 2
        left, right = (dict(zip(self._names, side, strict=True)) for side in (settings[:half], settings[half:]))
        shown, cropped = (view, max_side, keep_smile), (crop, zoom, shift_x, shift_y, face)
        said = (*choose(mode, speech, text), voice, pace)
        for made in self._compare(portrait, said, (left, right), seed, cropped, shown, False, progress):
            yield (gr.skip(), gr.skip()) if made is None else (str(made[0].film), made[1])

    def _compare(
        self,
        portrait: Upload | None,
        said: tuple[Upload | None, str | None, str, float],
        sides: tuple[dict[str, Any] | None, dict[str, Any] | None],
        seed: int | None,
        cropped: tuple,
        shown: tuple,
        apart: bool,
        progress: gr.Progress,
    ) -> Iterator[tuple[Comparison, dict[str, Any]] | None]:
        """None while it is under way, at the end the comparison and its figures."""
        with shown_errors(), tempfile.TemporaryDirectory(prefix="asymtalker-") as folder:
            view = read_view(*shown)
            pair = tuple(self._options(side or {}, seed, view) for side in sides)
            found = read_crop(portrait, *cropped)
            speech = read_voice(*said, self.checkpoint, self.max_seconds)
            for step in stream_on_device(pair[0].checkpoint, found, speech, folder, pair, apart):
                if isinstance(step, Comparison):
                    yield step, _figures(step, pair)
                else:
                    report(step, progress)
                    yield None

    def _options(self, settings: dict[str, Any], seed: int | None, shown: dict[str, Any]) -> GenerateOptions:
        """Raises ValueError for a setting or a checkpoint that is not offered."""
        unknown = [name for name in settings if name not in COMPARED]
        if unknown:
            raise ValueError(f"Unknown setting {unknown[0]!r}: it must be one of {', '.join(COMPARED)}.")
        checkpoint = settings.get("checkpoint") or self.checkpoint
        if checkpoint and checkpoint not in self.checkpoints:
            raise ValueError(f"checkpoint must be one of {', '.join(self.checkpoints)}, not {checkpoint}.")
        check_size(settings.get("size"), checkpoint)
        drawn = None if seed == RANDOM_SEED else seed
        settings = settings | shown | {"checkpoint": checkpoint}
        return GenerateOptions(**settings, seed=drawn, max_seconds=self.max_seconds)

    @property
    def _names(self) -> list[str]:
        names = ["steps", "reference_mode", "color_match", "guidance_scale"]
        return names if len(self.checkpoints) == 1 else [*names, "checkpoint"]

    def build(self, portrait: PortraitInput, said: VoiceInput) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            portrait, said: the inputs that all tabs share.
        """
        with gr.Row():
            left, right = self._build_side("A", 1), self._build_side("B", 2)
        gr.HTML(SETTINGS_EXPLAINED, js_on_load=None)
        action = Action("Compare", portrait, said, self.max_seconds, "#compare-player")
        player = gr.HTML(html_template=PLAYER, js_on_load=PLAYER_SCRIPT, elem_id="compare-player")
        film = gr.DownloadButton("Download both beside each other", interactive=False)
        figures = gr.JSON(label="Figures", visible="hidden")
        with gr.Accordion("Advanced", open=False):
            seed = gr.Number(RANDOM_SEED, label="Seed of both", info="−1 draws one", precision=0)
            view = build_view(LIVE_SIDE)
        outputs = [film, figures]
        script = "(film, figures) => figures && ({...figures, film: film?.url})"
        figures.change(None, outputs, player, js=script, api_visibility="private")
        inputs = [portrait.image, *said.components, seed, *portrait.adjustments, *view, *left, *right]
        run = action.run(self.compare_on_page, inputs, outputs, player)
        run.success(lambda figures: gr.update(interactive=bool(figures)), figures, film, **PRIVATE)
        settings = [seed, *portrait.adjustments, *view, *said.typed]
        self._build_endpoint([portrait.image, said.speech], settings, outputs)

    def _build_side(self, letter: str, steps: int) -> list[gr.components.Component]:
        pipeline = load_pipeline(self.checkpoint)
        with gr.Column(min_width=150), gr.Group():
            built = [
                gr.Number(steps, label=f"{letter} · Steps", precision=0, minimum=1),
                gr.Dropdown(REFERENCES, value="temporal", label=f"{letter} · Reference"),
                gr.Slider(0, 1, pipeline.config.color_match, step=0.1, label=f"{letter} · Colour match", buttons=[]),
                gr.Slider(
                    0,
                    MAX_GUIDANCE / 2,
                    pipeline.config.guidance_scale,
                    step=0.1,
                    label=f"{letter} · Guidance",
                    buttons=[],
                ),
            ]
            if "checkpoint" in self._names:
                built.append(gr.Dropdown(self.checkpoints, value=self.checkpoints[0], label=f"{letter} · Checkpoint"))
        return built

    def _build_endpoint(self, inputs: list, settings: list, outputs: list) -> None:
        """The same for clients, with the settings of a side as a mapping."""
        sides, call = [gr.JSON(visible=False, label=side) for side in SIDES], gr.Button(visible=False)
        videos = [gr.Video(visible=False, label=side) for side in SIDES]
        inputs, outputs = [*inputs, *sides, *settings], [*videos, *outputs]
        call.click(self.compare, inputs, outputs, api_name="compare", preprocess=False)


def _stream(
    checkpoint: str | None, crop: PortraitCrop, speech: Speech, folder: str, pair: tuple, apart: bool
) -> Iterator[GenerateProgress | Comparison]:
    yield from compare_videos(crop, speech, folder, pair, apart)


def _seconds(checkpoint: str | None, crop: PortraitCrop, speech: Speech, *_: Any) -> float:
    """Seconds of a GPU that both videos take."""
    return 2 * gpu_seconds(checkpoint, speech)


stream_on_device = on_device(_stream, _seconds)


def _figures(comparison: Comparison, pair: tuple[GenerateOptions, GenerateOptions]) -> dict[str, Any]:
    titles = describe_difference(*pair)
    results = (comparison.left, comparison.right)
    return {
        "seed": comparison.left.seed,
        "fps": round(comparison.left.frames / comparison.left.seconds),
        "frames": comparison.left.frames,
        "interval": DRIFT_INTERVAL,
        "places": comparison.places,
        "sides": [_side(result, title) for result, title in zip(results, titles, strict=True)],
    }


def _side(result: GenerateResult, title: str) -> dict[str, Any]:
    side = {"title": title}
    if result.drift is None:
        return side
    curves = {
        "identity": result.identity,
        "color_distance": result.drift.lab_distance,
        "sharpness": result.drift.sharpness_to_reference,
        "motion": result.drift.motion,
    }
    return side | drift_figures(result) | {name: np.round(curve, 3).tolist() for name, curve in curves.items()}
