"""The Live tab: speak into the microphone, and the portrait speaks along."""

from __future__ import annotations

import base64
import secrets
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from asymtalker.generation import GenerateOptions, load_pipeline
from asymtalker.live import BEHIND, LiveChunk, LiveSources, Microphone, stream_live
from asymtalker.media.picture import View
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.spool import SpeechSource
from asymtalker.media.synthesis import DEFAULT_VOICE
from asymtalker.media.video import FragmentWriter, SegmentWriter
from asymtalker.ui.inputs import (
    PRIVATE,
    Upload,
    busy,
    enable_cancel,
    on_device,
    read_crop,
    shown_errors,
)
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.view import LIVE_SIDE, build_view, read_view
from asymtalker.ui.voice import VoiceInput, choose, open_voice

VISITORS = 2  # streams at a time; more wait for their turn
SPARE = 30.0  # seconds of sound that are kept beyond a stream's length, while it waits for its turn
PIECES = 3  # that each value for the player carries

IDLE = "Give a portrait, press Record and speak."
STOPPED = {"state": "Stopped. Press Record to begin again.", "stopped": True}
PLAYER = """
<div class="live">
  <div class="screen"><video playsinline aria-label="The live video"></video>
    <p class="empty">The portrait appears here and speaks along, a moment behind you.</p></div>
  <p class="state" role="status">IDLE</p>
  <dl class="figures">
    <div><dt>Lag, speech to lips</dt><dd><span class="lag">–</span> <small>s</small></dd></div>
    <div><dt>Steps</dt><dd class="steps">–</dd></div>
    <div><dt>Skipped</dt><dd><span class="skipped">–</span> <small>s</small></dd></div>
  </dl>
</div>
""".replace("IDLE", IDLE)
ASK_BROWSER = "(asked, ...values) => [document.querySelector('#live-player .screen').hidden, ...values]"
"""Where the player cannot play, its screen is hidden."""
PLAYER_SCRIPT = (Path(__file__).parent / "live.js").read_text()


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

    def listen(self, request: gr.Request) -> dict[str, Any]:
        """A recording begins: from here on its sound is kept for `talk`."""
        rate = load_pipeline(self.checkpoint).sampling_rate
        self._sources.open(request.session_hash, Microphone(rate, self.max_seconds + SPARE))
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """What the player says until the first piece is there."""
        full = len(self._sources) > VISITORS
        state = "Others are live: it is your turn when one of them has finished." if full else "Listening …"
        return {"state": state, "stopped": False}

    def hear(self, sound: tuple[int, np.ndarray] | None, request: gr.Request) -> None:
        """More sound: it is put by, and nothing else happens here, for a slow handler loses sound."""
        microphone = self._sources.microphone(request.session_hash)
        if microphone and sound:
            with shown_errors():
                microphone.hear(*sound)

    def stop(self, request: gr.Request) -> dict[str, Any]:
        """Ends what the visitor has at once: what the portrait has not said yet is left out."""
        self.leave(request)
        return STOPPED

    def leave(self, request: gr.Request) -> None:
        """Frees what the visitor has: stopped, or the page is closed."""
        self._sources.close(request.session_hash)

    def talk(
        self,
        request: gr.Request,
        as_film: bool,
        portrait: Upload | None,
        steps: int | None,
        label: bool,
        *crop_and_view: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """The portrait speaks along with the microphone: what the player takes in, or the film in its place."""
        microphone = self._sources.microphone(request.session_hash)
        if microphone:  # otherwise it was stopped before its turn came
            chunks = self._talk(microphone, portrait, steps, label, crop_and_view, request, _writer(as_film))
            yield from _film_values(chunks) if as_film else _player_values(chunks)

    def play(
        self,
        request: gr.Request,
        as_film: bool,
        portrait: Upload | None,
        mode: str,
        speech: Upload | None,
        text: str,
        voice: str,
        pace: float,
        steps: int | None,
        label: bool,
        *crop_and_view: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """The portrait says a text or speaks a recording: what the player takes in, or the film in its place."""
        said = (*choose(mode, speech, text), voice, pace)
        chunks = self._play(portrait, said, steps, label, crop_and_view, request, _writer(as_film))
        yield from _film_values(chunks) if as_film else _player_values(chunks)

    def stream(
        self,
        portrait: Upload | None,
        speech: Upload | None = None,
        steps: int | None = None,
        label: bool = True,
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
        request: gr.Request = None,
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Stream a text or a recording as if it were being spoken now: files that are pieces of one mp4, and
        figures."""
        said = (speech, text, voice, pace)
        crop_and_view = (crop, zoom, shift_x, shift_y, face, view, max_side, keep_smile)
        for path, chunk in _files(self._play(portrait, said, steps, label, crop_and_view, request)):
            yield path, _figures(chunk)

    def _talk(
        self,
        microphone: Microphone,
        portrait: Upload | None,
        steps: int | None,
        label: bool,
        crop_and_view: tuple,
        request: gr.Request,
        writer: type,
    ) -> Iterator[LiveChunk]:
        try:
            with shown_errors():
                options, found = self._read(portrait, steps, label, *crop_and_view)
                yield from stream_on_device(self.checkpoint, found, microphone.spool, options, writer)
        finally:
            self._sources.close(request.session_hash, microphone)

    def _play(
        self,
        portrait: Upload | None,
        said: tuple,
        steps: int | None,
        label: bool,
        crop_and_view: tuple,
        request: gr.Request,
        writer: type = FragmentWriter,
    ) -> Iterator[LiveChunk]:
        with shown_errors():
            options, found = self._read(portrait, steps, label, *crop_and_view)
            source = open_voice(*said, self.checkpoint, self.max_seconds)
            self._sources.open(request.session_hash, source)
            try:
                yield from stream_on_device(self.checkpoint, found, source, options, writer)
            finally:
                self._sources.close(request.session_hash, source)

    def _read(
        self, portrait: Upload | None, steps: int | None, label: bool, *crop_and_view: Any
    ) -> tuple[GenerateOptions, PortraitCrop]:
        adjustments, shown = crop_and_view[:-3], crop_and_view[-3:]
        options = GenerateOptions(steps=steps, label=label, max_seconds=self.max_seconds, **read_view(*shown))
        return options, read_crop(portrait, *adjustments)

    def build(self, page: gr.Blocks, portrait: PortraitInput, said: VoiceInput) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            portrait, said: the inputs that all tabs share.
        """
        trained = load_pipeline(self.checkpoint).config.num_inference_steps
        with gr.Row(equal_height=False):
            with gr.Column(scale=5, min_width=320):
                microphone = gr.Audio(
                    label="Microphone", sources=["microphone"], type="numpy", streaming=True, elem_id="live-microphone"
                )
                with gr.Accordion("Advanced", open=False):
                    steps = gr.Number(trained, label="Steps", info="while there is time for them", precision=0)
                    view = build_view(LIVE_SIDE)
                    label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
                with (
                    gr.Accordion("No microphone? Play your text or recording", open=False),
                    gr.Row(),
                ):
                    start = gr.Button("Play it", variant="primary", min_width=120)
                    stop = gr.Button("Stop", min_width=90, interactive=False)
            with gr.Column(scale=6, min_width=320):
                film = gr.Video(
                    label="Live", streaming=True, autoplay=True, interactive=False, height=420, elem_id="live-film"
                )
                player = gr.HTML(html_template=PLAYER, js_on_load=PLAYER_SCRIPT, elem_id="live-player")
        settings = [steps, label, *portrait.adjustments, *view]
        action = {"preprocess": False, "show_progress": "hidden", "concurrency_limit": VISITORS}
        action |= {"concurrency_id": "live"}
        as_film = gr.Checkbox(visible=False)  # the browser's answer, given with each call
        shown = {"outputs": [player, film], "api_visibility": "private", "js": ASK_BROWSER, **action}
        again = {"trigger_mode": "multiple"}  # or a new recording waits for the last chunk of the one before
        talk = microphone.start_recording(self.listen, None, player, **again, **PRIVATE).then(
            self.talk, [as_film, portrait.image, *settings], **again, **shown
        )
        play = start.click(lambda: (*busy(), self.wait()), outputs=[start, stop, player], **PRIVATE).then(
            self.play, [as_film, portrait.image, *said.components, *settings], **shown
        )
        for run in (talk, play):
            run.failure(lambda: {"state": IDLE}, outputs=player, **PRIVATE)
        microphone.stream(self.hear, microphone, stream_every=0.1, concurrency_limit=None, **PRIVATE | {"queue": True})
        microphone.stop_recording(self.stop, None, player, **PRIVATE)
        enable_cancel(start, stop, [play])
        stop.click(self.stop, None, player, **PRIVATE)
        page.unload(self.leave)
        self._build_endpoint([portrait.image, said.speech, *settings, *said.typed], action)

    def _build_endpoint(self, inputs: list[gr.components.Component], action: dict[str, Any]) -> None:
        """The same for clients, to which each piece comes as a file."""
        piece, figures = gr.File(label="Piece", visible=False), gr.JSON(label="Figures", visible=False)
        call = gr.Button(visible=False)
        call.click(self.stream, inputs, [piece, figures], api_name="live", **action)


def _stream(
    checkpoint: str | None, crop: PortraitCrop, source: SpeechSource, options: GenerateOptions, writer: type
) -> Iterator[LiveChunk]:
    yield from stream_live(load_pipeline(checkpoint), crop, source, options, writer)


def _seconds(
    checkpoint: str | None, crop: PortraitCrop, source: SpeechSource, options: GenerateOptions, writer: type
) -> float:
    """Seconds of a GPU that a stream may take."""
    return options.max_seconds


stream_on_device = on_device(_stream, _seconds)


def _writer(as_film: bool) -> type[FragmentWriter | SegmentWriter]:
    return SegmentWriter if as_film else FragmentWriter


def _player_values(chunks: Iterator[LiveChunk]) -> Iterator[tuple[Any, Any]]:
    """Each value repeats the pieces before it: a page that is busy may see only the last of several values."""
    run, pieces = secrets.token_hex(4), deque(maxlen=PIECES)
    with closing(chunks):
        for number, chunk in enumerate(chunks):
            data = base64.b64encode(chunk.data).decode()
            pieces.append({"number": number, "start": chunk.start, "data": data})
            yield _figures(chunk) | {"run": run, "mime": chunk.mime, "pieces": list(pieces)}, gr.skip()


def _film_values(chunks: Iterator[LiveChunk]) -> Iterator[tuple[Any, Any]]:
    """For browsers without MediaSource: `gr.Video` puts the pieces together, and plays them some seconds later."""
    for path, chunk in _files(chunks):
        figures = _figures(chunk)
        if chunk.data:
            figures["state"] += " This browser shows it some seconds later."
        yield figures, path if chunk.data else gr.skip()


def _files(chunks: Iterator[LiveChunk]) -> Iterator[tuple[str, LiveChunk]]:
    """Each piece as a file, which is there until the next is asked for."""
    with tempfile.TemporaryDirectory(prefix="asymtalker-live-") as folder, closing(chunks):
        for number, chunk in enumerate(chunks):
            path = Path(folder) / f"{number:05d}.mp4"
            path.write_bytes(chunk.data)
            yield str(path), chunk
            path.unlink()


def _figures(chunk: LiveChunk) -> dict[str, Any]:
    figures = {name: round(getattr(chunk, name), 2) for name in ("start", "seconds", "age", "behind", "skipped")}
    return figures | {"steps": chunk.steps, "ended": not chunk.seconds, "state": _state(chunk)}


def _state(chunk: LiveChunk) -> str:
    if not chunk.seconds:
        return f"Ended after {chunk.start:.1f} s. Press Record to begin again."
    if chunk.behind > BEHIND:
        return "This machine does not keep up: it takes fewer steps, and at worst skips some speech."
    return "Live."
