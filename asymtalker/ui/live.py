"""The Live tab: speak into the microphone, and the portrait speaks along."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from asymtalker.generation import GenerateOptions, load_pipeline
from asymtalker.listening import BEHIND
from asymtalker.live import LiveChunk, Writer, make_ready, stream_live
from asymtalker.media.packets import PacketWriter
from asymtalker.media.picture import View
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.spool import Handover, SpeechSource
from asymtalker.media.synthesis import DEFAULT_VOICE
from asymtalker.media.video import FragmentWriter
from asymtalker.ui.channel import CHANNELS, PATH, VISITORS, LiveChannel, LiveChannels
from asymtalker.ui.inputs import PRIVATE, Upload, on_device, read_crop, shown_errors
from asymtalker.ui.portrait import PortraitInput
from asymtalker.ui.view import LIVE_SIDE, build_view, read_view
from asymtalker.ui.voice import VoiceInput, choose, open_voice
from asymtalker.ui.words import in_page_words

SPARE = 30.0  # seconds of sound that are kept beyond a stream's length, while it waits for its turn

PLAYER = """
<div class="live">
  <div class="screen"><canvas width="1" height="1" role="img" aria-label="The live video"></canvas>
    <p class="empty">The portrait appears here and speaks along, a moment behind you.</p></div>
  <div class="controls">
    <button type="button" class="record lg primary">Record</button>
    <button type="button" class="stop lg secondary" disabled>Stop</button>
  </div>
  <p class="state" role="status">Give a portrait, press Record and speak.</p>
  <dl class="figures">
    <div><dt>Lag, speech to lips</dt><dd><span class="lag">–</span> <small>s</small></dd></div>
    <div><dt>Steps</dt><dd class="steps">–</dd></div>
    <div><dt>Skipped</dt><dd><span class="skipped">–</span> <small>s</small></dd></div>
  </dl>
</div>
"""
PLAYER_SCRIPT = (Path(__file__).parent / "live.js").read_text().replace("PATH", PATH.lstrip("/"))


@dataclass(frozen=True)
class LiveTab:
    """The tab's actions, under one checkpoint.

    Args:
        checkpoint: what `load_pipeline` takes.
        max_seconds: length at which a stream ends.
    """

    checkpoint: str | None
    max_seconds: float
    _channels: LiveChannels = field(default=CHANNELS)

    def talk(self, event: gr.EventData, request: gr.Request, *settings: Any) -> None:
        """The portrait speaks along with the page's microphone."""
        channel = self._join(event, request)
        if channel is not None:  # otherwise it was stopped before its turn came
            self.perform(channel, lambda: channel.microphone.spool, event.pictures, settings)

    def recite(
        self,
        event: gr.EventData,
        request: gr.Request,
        mode: str,
        speech: Upload | None,
        text: str,
        voice: str,
        pace: float,
        *settings: Any,
    ) -> None:
        """The portrait says a text, or speaks a recording."""
        channel = self._join(event, request)
        if channel is not None:
            said = (*choose(mode, speech, text), voice, pace, self.checkpoint, self.max_seconds)
            self.perform(channel, lambda: open_voice(*said), event.pictures, settings, whole=True)

    def perform(
        self,
        channel: LiveChannel,
        give: Callable[[], SpeechSource],
        pictures: str,
        settings: tuple,
        whole: bool = False,
    ) -> None:
        """Sends a page the video of any speech, as it is made, and says why where that cannot be.

        Args:
            give: opens the speech; a `ValueError` of it is shown.
            pictures: how the page wants its frames, see `PacketWriter`.
            settings: portrait, steps, label, what else `read_crop` and `read_view` take.
            whole: nothing of it is to be left out to catch up, as nobody is speaking just now.
        """
        try:
            options, found = self._read(*settings)
            source = give()
            channel.play(source)
            writer = partial(PacketWriter, pictures="jpeg" if pictures == "jpeg" else "h264")
            arguments = (self.checkpoint, found, source, options, writer, channel.portraits)
            with closing(stream_on_device(*arguments)) as chunks:
                for chunk in chunks:
                    head = {"codec": chunk.mime, "size": chunk.size, "whole": whole, "sent": time.monotonic()}
                    channel.send(_figures(chunk) | head, chunk.data)
        except (ValueError, OSError) as error:
            channel.send({"trouble": in_page_words(str(error))})
        finally:
            channel.end()

    def exchange(self, request: gr.Request, usable: bool, *settings: Any) -> None:
        """Another portrait, or another part of it: it takes over at once where the visitor is live, and is made ready
        where not."""
        if not usable:
            return  # the crop's preview says why; the stream goes on with the portrait it has
        try:
            options, found = self._read(*settings)
        except (ValueError, OSError):
            return  # as with a number of steps that is none
        channel = self._channels.of(request.session_hash)
        if channel is not None:
            channel.portraits.leave((found, options))
        else:
            make_ready(load_pipeline(self.checkpoint), found, options)

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
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Stream a text or a recording as if it were being spoken now: files that are pieces of one mp4, and
        figures."""
        with shown_errors():
            options, found = self._read(
                portrait, steps, label, crop, zoom, shift_x, shift_y, face, view, max_side, keep_smile
            )
            with closing(open_voice(speech, text, voice, pace, self.checkpoint, self.max_seconds)) as source:
                chunks = stream_on_device(self.checkpoint, found, source, options, FragmentWriter, None)
                for path, chunk in _files(chunks):
                    yield path, _figures(chunk)

    def _join(self, event: gr.EventData, request: gr.Request) -> LiveChannel | None:
        """The line that the page has opened for this stream."""
        channel = self._channels.get(event.name)
        if channel is not None:
            channel.visitor = request.session_hash
        return channel

    def _read(
        self, portrait: Upload | None, steps: int | None, label: bool, *crop_and_view: Any
    ) -> tuple[GenerateOptions, PortraitCrop]:
        adjustments, shown = crop_and_view[:-3], crop_and_view[-3:]
        options = GenerateOptions(steps=steps, label=label, max_seconds=self.max_seconds, **read_view(*shown))
        return options, read_crop(portrait, *adjustments)

    def build(self, portrait: PortraitInput, said: VoiceInput) -> None:
        """Lays the tab out inside the current `gr.Blocks`.

        Args:
            portrait, said: the inputs that all tabs share.
        """
        self._channels.max_seconds = self.max_seconds + SPARE
        trained = load_pipeline(self.checkpoint).config.num_inference_steps
        player = gr.HTML(html_template=PLAYER, js_on_load=PLAYER_SCRIPT, elem_id="live-player")
        gr.Button("Play your text or recording", elem_id="live-play")
        with gr.Accordion("Advanced", open=False):
            steps = gr.Number(trained, label="Steps", info="while there is time for them", precision=0)
            view = build_view(LIVE_SIDE)
            label = gr.Checkbox(label="Show the label “AI-generated”", value=True)
        settings = [portrait.image, steps, label, *portrait.adjustments, *view]
        action = {"preprocess": False, "show_progress": "hidden", "concurrency_limit": VISITORS}
        action |= {"concurrency_id": "live"}
        again = {"trigger_mode": "multiple", "api_visibility": "private"}  # while the stream before it is ending
        player.talk(self.talk, settings, None, **again, **action)
        player.recite(self.recite, [*said.components, *settings], None, **again, **action)
        newest = {"preprocess": False, "trigger_mode": "always_last", **PRIVATE}
        for changed in (portrait.judged.then, *(component.change for component in (steps, label, *view))):
            changed(self.exchange, [portrait.usable, *settings], None, **newest)
        self._build_endpoint([portrait.image, said.speech, *settings[1:], *said.typed], action)

    def _build_endpoint(self, inputs: list[gr.components.Component], action: dict[str, Any]) -> None:
        """The same for clients, to which each piece comes as a file."""
        piece, figures = gr.File(label="Piece", visible=False), gr.JSON(label="Figures", visible=False)
        call = gr.Button(visible=False)
        call.click(self.stream, inputs, [piece, figures], api_name="live", **action)


def _stream(
    checkpoint: str | None,
    crop: PortraitCrop,
    source: SpeechSource,
    options: GenerateOptions,
    writer: Writer,
    portraits: Handover | None,
) -> Iterator[LiveChunk]:
    yield from stream_live(load_pipeline(checkpoint), crop, source, options, writer, portraits)


def _seconds(
    checkpoint: str | None, crop: PortraitCrop, source: SpeechSource, options: GenerateOptions, *_: Any
) -> float:
    """Seconds of a GPU that a stream may take."""
    return options.max_seconds


stream_on_device = on_device(_stream, _seconds)


def _files(chunks: Iterator[LiveChunk]) -> Iterator[tuple[str, LiveChunk]]:
    """Each piece as a file, which is there until the next is asked for."""
    with tempfile.TemporaryDirectory(prefix="asymtalker-live-") as folder, closing(chunks):
        for number, chunk in enumerate(chunks):
            path = Path(folder) / f"{number:05d}.mp4"
            path.write_bytes(chunk.data)
            yield str(path), chunk
            path.unlink()


def _figures(chunk: LiveChunk) -> dict[str, Any]:
    figures = {name: round(getattr(chunk, name), 3) for name in ("start", "seconds", "age", "behind", "skipped")}
    return figures | {"steps": chunk.steps, "ended": not chunk.seconds, "state": _state(chunk)}


def _state(chunk: LiveChunk) -> str:
    if not chunk.seconds:
        return f"Ended after {chunk.start:.1f} s. Press Record to begin again."
    if chunk.behind > BEHIND:
        return "This machine does not keep up: it takes fewer steps, and at worst skips some speech."
    return "Live."
