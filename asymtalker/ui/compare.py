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
    read_recording,
    report,
    shown_errors,
)
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.view import LIVE_SIDE, build_view, read_view

REFERENCES = [("TRE", "temporal"), ("static", "static")]
Outputs = Iterator[tuple[Any, Any, Any, Any]]

PLAYER = """
<div class="compare">
  <div class="screens">
    <figure><video class="left" aria-label="Video A" playsinline preload="auto"></video>
      <figcaption>A</figcaption></figure>
    <figure><video class="right" aria-label="Video B" playsinline muted preload="auto"></video>
      <figcaption>B</figcaption></figure>
    <figure class="difference" hidden><canvas></canvas><figcaption>Difference, made stronger</figcaption></figure>
  </div>
  <p class="empty">Two videos appear here, and play in step.</p>
  <div class="controls" hidden>
    <button class="play" aria-label="Play">▶</button>
    <button class="back" aria-label="One frame back">−1</button>
    <button class="forth" aria-label="One frame on">+1</button>
    <input class="timeline" type="range" min="0" value="0" step="1" aria-label="Frame">
    <output class="clock">0</output>
    <label><input class="show-difference" type="checkbox"> Difference</label>
  </div>
  <div class="plots"></div>
  <table hidden><thead><tr><th></th><th>A</th><th>B</th></tr></thead><tbody></tbody></table>
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
        speech: Upload | None,
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
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio finds it)
    ) -> Outputs:
        """Make the same video under two settings: both, a film of the two side by side, and figures over time."""
        with shown_errors(), tempfile.TemporaryDirectory(prefix="asymtalker-") as folder:
            shown = read_view(view, max_side, keep_smile)
            pair = tuple(self._options(side or {}, seed, shown) for side in (left, right))
            found = read_crop(portrait, crop, zoom, shift_x, shift_y, face)
            samples = read_recording(speech, self.checkpoint, self.max_seconds)
            for step in stream_on_device(pair[0].checkpoint, found, samples, folder, pair):
                if isinstance(step, Comparison):
                    yield str(step.left.path), str(step.right.path), str(step.film), _figures(step, pair)
                else:
                    report(step, progress)
                    yield (gr.skip(),) * 4  # where a cancelled run is left

    def compare_on_page(
        self,
        portrait: Upload | None,
        speech: Upload | None,
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
    ) -> Outputs:
        """`compare`, with the settings as the page's components hold them."""
        half = len(settings) // 2
        left, right = (dict(zip(self._names, side, strict=True)) for side in (settings[:half], settings[half:]))
        shown = (view, max_side, keep_smile)
        yield from self.compare(
            portrait, speech, left, right, seed, crop, zoom, shift_x, shift_y, face, *shown, progress
        )

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

    def build(self, portrait: PortraitInput, speech: gr.Audio) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            portrait, speech: the inputs that all tabs share.
        """
        with gr.Row():
            left, right = self._build_side("A", 1), self._build_side("B", 2)
        action = Action("Compare", portrait, speech, self.max_seconds, "#compare-player")
        player = gr.HTML(html_template=PLAYER, js_on_load=PLAYER_SCRIPT, elem_id="compare-player")
        videos = [gr.Video(label=side, visible="hidden", interactive=False) for side in SIDES]
        film = gr.DownloadButton("Download side by side", interactive=False)
        figures = gr.JSON(label="Figures", visible="hidden")
        with gr.Accordion("Advanced", open=False):
            seed = gr.Number(RANDOM_SEED, label="Seed of both", info="−1 draws one", precision=0)
            view = build_view(LIVE_SIDE)
        outputs = [*videos, film, figures]
        script = "(left, right, figures) => figures && ({...figures, left: left?.url, right: right?.url})"
        figures.change(None, [*videos, figures], player, js=script, api_visibility="private")
        inputs = [portrait.image, speech, seed, *portrait.adjustments, *view, *left, *right]
        run = action.run(self.compare_on_page, inputs, outputs, player)
        run.success(lambda figures: gr.update(interactive=bool(figures)), figures, film, **PRIVATE)
        self._build_endpoint([portrait.image, speech], [seed, *portrait.adjustments, *view], outputs)

    def _build_side(self, letter: str, steps: int) -> list[gr.components.Component]:
        pipeline = load_pipeline(self.checkpoint)
        with gr.Column(min_width=150), gr.Group():
            gr.HTML(f'<h3 class="side">{letter}</h3>')
            built = [
                gr.Number(steps, label="Steps", precision=0, minimum=1),
                gr.Dropdown(REFERENCES, value="temporal", label="Reference"),
                gr.Slider(0, 1, pipeline.config.color_match, step=0.1, label="Colour match"),
                gr.Slider(0, MAX_GUIDANCE / 2, pipeline.config.guidance_scale, step=0.1, label="Guidance"),
            ]
            if "checkpoint" in self._names:
                built.append(gr.Dropdown(self.checkpoints, value=self.checkpoints[0], label="Checkpoint"))
        return built

    def _build_endpoint(self, inputs: list, settings: list, outputs: list) -> None:
        """The same for clients, with the settings of a side as a mapping."""
        sides, call = [gr.JSON(visible=False, label=side) for side in SIDES], gr.Button(visible=False)
        call.click(self.compare, [*inputs, *sides, *settings], outputs, api_name="compare", preprocess=False)


def _stream(
    checkpoint: str | None, crop: PortraitCrop, samples: np.ndarray, folder: str, pair: tuple
) -> Iterator[GenerateProgress | Comparison]:
    yield from compare_videos(crop, samples, folder, pair)


def _seconds(checkpoint: str | None, crop: PortraitCrop, samples: np.ndarray, *_: Any) -> float:
    """Seconds of a GPU that both videos take."""
    return 2 * gpu_seconds(checkpoint, samples)


stream_on_device = on_device(_stream, _seconds)


def _figures(comparison: Comparison, pair: tuple[GenerateOptions, GenerateOptions]) -> dict[str, Any]:
    titles = describe_difference(*pair)
    results = (comparison.left, comparison.right)
    return {
        "seed": comparison.left.seed,
        "fps": round(comparison.left.frames / comparison.left.seconds),
        "frames": comparison.left.frames,
        "interval": DRIFT_INTERVAL,
        "sides": [_side(result, title) for result, title in zip(results, titles, strict=True)],
    }


def _side(result: GenerateResult, title: str) -> dict[str, Any]:
    side = {"title": title, "frames_per_second": round(result.frames_per_second, 1)}
    if result.drift is None:
        return side
    curves = {
        "identity": result.identity,
        "color_distance": result.drift.lab_distance,
        "sharpness": result.drift.sharpness_to_reference,
        "motion": result.drift.motion,
    }
    return side | drift_figures(result) | {name: np.round(curve, 3).tolist() for name, curve in curves.items()}
