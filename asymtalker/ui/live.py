"""The Live tab: speak into the microphone, and the portrait speaks along."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from asymtalker.generation import GenerateOptions, load_pipeline
from asymtalker.live import BEHIND, LiveChunk, LiveSources, Microphone, stream_live
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.spool import PacedSpeech, SpeechSource
from asymtalker.ui.inputs import (
    CONSENT,
    PRIVATE,
    Upload,
    build_examples,
    build_portrait,
    build_speech,
    busy,
    enable_cancel,
    on_device,
    read_crop,
    read_recording,
    shown_errors,
)

VISITORS = 2  # streams at a time; more wait for their turn
SPARE = 30.0  # seconds of sound that are kept beyond a stream's length, while it waits for its turn
Outputs = Iterator[tuple[Any, Any]]

METER = """
<div class="meter" role="group" aria-label="How the stream is doing">
  <p class="state" role="status">Press Record and speak: the portrait speaks along.</p>
  <dl class="figures">
    <div><dt>Lag, speech to lips</dt><dd><span class="lag">–</span> <small>s</small></dd></div>
    <div><dt>Steps</dt><dd class="steps">–</dd></div>
    <div><dt>Skipped</dt><dd><span class="skipped">–</span> <small>s</small></dd></div>
  </dl>
</div>
"""
# Knows when each moment of the video was spoken, and has the player catch up where it has more buffered than it needs.
METER_SCRIPT = """
const query = name => element.querySelector(name);
const player = () => document.querySelector('#live-video video');
let spoken = [], slack = [];
watch('value', () => {
  const chunk = props.value;
  if (!chunk) return;
  if (chunk.start === 0) { spoken = []; slack = []; element.lags = []; }
  if (chunk.state) query('.state').textContent = chunk.state;
  if (chunk.start === undefined) return;
  spoken.push([chunk.start, performance.now() / 1000 - chunk.age]);
  query('.steps').textContent = chunk.steps;
  query('.skipped').textContent = chunk.skipped.toFixed(1);
});
setInterval(() => {
  const video = player();
  if (!video || video.paused || !video.buffered.length || !spoken.length) return;
  const end = video.buffered.end(video.buffered.length - 1), time = video.currentTime;
  slack = [...slack.slice(-6), end - time];
  const spare = Math.min(...slack);
  if (spare > 2) { video.currentTime = end - 0.6; slack = []; }
  video.playbackRate = spare > 0.3 ? 1.1 : 1;
  const [start, moment] = spoken.findLast(([start]) => start <= time) ?? spoken[0];
  const lag = performance.now() / 1000 - moment - (time - start);
  element.lags = [...element.lags ?? [], lag].slice(-1000);
  query('.lag').textContent = lag.toFixed(1);
}, 150);
"""


@dataclass(frozen=True)
class LiveTab:
    """The tab's actions, under one checkpoint.

    Args:
        checkpoint: what `load_pipeline` takes.
        max_seconds: length at which a stream ends.
    """

    checkpoint: str | None
    max_seconds: float
    _sources: LiveSources = field(default_factory=LiveSources)

    def listen(self, request: gr.Request) -> None:
        """A recording begins: from here on its sound is kept for `talk`."""
        rate = load_pipeline(self.checkpoint).sampling_rate
        self._sources.open(request.session_hash, Microphone(rate, self.max_seconds + SPARE))

    def hear(self, sound: tuple[int, np.ndarray] | None, request: gr.Request) -> None:
        """More sound: it is put by, and nothing else happens here, for a slow handler loses sound."""
        microphone = self._sources.microphone(request.session_hash)
        if microphone and sound:
            with shown_errors():
                microphone.hear(*sound)

    def end(self, request: gr.Request) -> None:
        """The recording has ended."""
        if microphone := self._sources.microphone(request.session_hash):
            microphone.end()

    def leave(self, request: gr.Request) -> None:
        """Frees what the visitor has: stopped, or the page is closed."""
        self._sources.close(request.session_hash)

    def talk(
        self,
        portrait: Upload | None,
        steps: int | None,
        label: bool,
        crop: bool,
        zoom: float,
        shift_x: float,
        shift_y: float,
        request: gr.Request,
    ) -> Outputs:
        """Stream the person in the portrait, who speaks along with the microphone."""
        microphone = self._sources.microphone(request.session_hash)
        try:
            with shown_errors():
                found = read_crop(portrait, crop, zoom, shift_x, shift_y)
                if microphone:
                    yield from self._stream(found, microphone.spool, steps, label)
        finally:
            self._sources.close(request.session_hash, microphone)

    def play(
        self,
        portrait: Upload | None,
        speech: Upload | None,
        steps: int | None = None,
        label: bool = True,
        crop: bool = True,
        zoom: float = 1,
        shift_x: float = 0,
        shift_y: float = 0,
        request: gr.Request = None,
    ) -> Outputs:
        """Stream the person in the portrait, who speaks a recording as if it were being spoken now."""
        with shown_errors():
            found = read_crop(portrait, crop, zoom, shift_x, shift_y)
            samples = read_recording(speech, self.checkpoint, self.max_seconds)
            source = PacedSpeech(samples, load_pipeline(self.checkpoint).sampling_rate)
            self._sources.open(request.session_hash, source)
            try:
                yield from self._stream(found, source, steps, label)
            finally:
                self._sources.close(request.session_hash, source)

    def _stream(self, crop: PortraitCrop, source: SpeechSource, steps: int | None, label: bool) -> Outputs:
        options = GenerateOptions(steps=steps, label=label, max_seconds=self.max_seconds)
        end = 0.0
        with tempfile.TemporaryDirectory(prefix="asymtalker-live-") as folder:
            for chunk in stream_on_device(self.checkpoint, crop, source, folder, options):
                yield str(chunk.path), _figures(chunk)
                end = chunk.start + chunk.seconds
        limit = (
            f"The limit of {self.max_seconds:g} s is reached." if end >= self.max_seconds else "The stream has ended."
        )
        yield gr.skip(), {"state": f"{limit} Press Record to begin again."}

    def build(self, page: gr.Blocks, examples: Path) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            examples: folder of portraits and recordings of the same name (anna.jpg, anna.wav).
        """
        trained = load_pipeline(self.checkpoint).config.num_inference_steps
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                portrait = build_portrait()
                microphone = gr.Audio(
                    label="Microphone", sources=["microphone"], type="numpy", streaming=True, elem_id="live-microphone"
                )
                with gr.Accordion("Advanced", open=False):
                    steps = gr.Number(trained, label="Steps", info="while there is time for them", precision=0)
                    label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
                with gr.Accordion("No microphone? Play a recording", open=False):
                    speech = build_speech("Recording", "live-speech")
                    start = gr.Button("Play it", variant="primary")
                gr.HTML(f'<p class="consent">{CONSENT}</p>')
            with gr.Column(scale=6, min_width=320):
                video = gr.Video(
                    label="Live", streaming=True, autoplay=True, interactive=False, height=420, elem_id="live-video"
                )
                meter = gr.HTML(html_template=METER, js_on_load=METER_SCRIPT, elem_id="live-meter")
                stop = gr.Button("Stop", interactive=False)
                build_examples(examples, portrait.image, speech, "Examples")
        settings, outputs = [steps, label, *portrait.adjustments], [video, meter]
        action = {"preprocess": False, "show_progress": "hidden", "concurrency_limit": VISITORS}
        action |= {"concurrency_id": "live"}
        recording = microphone.start_recording(self.listen, **PRIVATE).then(busy, outputs=[start, stop], **PRIVATE)
        runs = [
            recording.then(self.talk, [portrait.image, *settings], outputs, api_visibility="private", **action),
            start.click(busy, outputs=[start, stop], **PRIVATE).then(
                self.play, [portrait.image, speech, *settings], outputs, api_visibility="private", **action
            ),
        ]
        microphone.stream(self.hear, microphone, stream_every=0.1, concurrency_limit=None, **PRIVATE | {"queue": True})
        microphone.stop_recording(self.end, **PRIVATE)
        enable_cancel(start, stop, runs)
        stop.click(self.leave, **PRIVATE)
        page.unload(self.leave)
        self._build_endpoint([portrait.image, speech, *settings], action)

    def _build_endpoint(self, inputs: list[gr.components.Component], action: dict[str, Any]) -> None:
        """The same for clients, which cannot use a stream for players: each piece is a file of its own."""
        chunk, figures, call = gr.File(visible=False), gr.JSON(visible=False), gr.Button(visible=False)
        call.click(self.play, inputs, [chunk, figures], api_name="live", **action)


def _stream(
    checkpoint: str | None, crop: PortraitCrop, source: SpeechSource, folder: str, options: GenerateOptions
) -> Iterator[LiveChunk]:
    yield from stream_live(load_pipeline(checkpoint), crop, source, folder, options)


def _seconds(checkpoint: str | None, crop: PortraitCrop, source: SpeechSource, folder: str, options: Any) -> float:
    """Seconds of a GPU that a stream may take."""
    return options.max_seconds


stream_on_device = on_device(_stream, _seconds)


def _figures(chunk: LiveChunk) -> dict[str, Any]:
    figures = {name: round(getattr(chunk, name), 2) for name in ("start", "seconds", "age", "behind", "skipped")}
    return figures | {"steps": chunk.steps, "state": _state(chunk)}


def _state(chunk: LiveChunk) -> str:
    if chunk.behind > BEHIND:
        return "This machine does not keep up: fewer steps are taken, and at worst some speech is skipped."
    return "Live."
