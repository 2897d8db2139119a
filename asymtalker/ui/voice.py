"""What the portrait says: a typed text with a voice and a pace, or a recording. All tabs ask that."""

from __future__ import annotations

import base64
import io
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np
import soundfile

from asymtalker.generation import load_pipeline
from asymtalker.media.reading import read_aloud
from asymtalker.media.speech import probe_speech
from asymtalker.media.spool import PacedSpeech
from asymtalker.media.synthesis import (
    DEFAULT_VOICE,
    PACES,
    SAMPLING_RATE,
    SpokenText,
    list_voices,
    load_synthesizer,
)
from asymtalker.track import Speech
from asymtalker.ui.inputs import Upload, build_speech, read_recording, shown_errors, uploaded

TYPED, RECORDED = "type", "record"
"""Values of the mode: which of the two is used."""
LINKED_TEXT = 500  # characters; a longer text makes no address
LISTENED = 20.0  # seconds that Listen plays
PLAYER = """
{{#if value.sound}}<audio controls autoplay src="{{value.sound}}" aria-label="The voice alone"></audio>{{/if}}
"""
SHOW_RECORDING = f"(speech, mode) => speech ? '{RECORDED}' : mode"
"""A recording that is given, by an example too, is what is used."""


@dataclass(frozen=True)
class VoiceInput:
    """What the portrait says.

    Attributes:
        mode: which of the two is used.
        speech: a recording.
        text: with the name of a voice and the pace.
    """

    mode: gr.Radio
    speech: gr.Audio
    text: gr.Textbox
    voice: gr.Dropdown
    pace: gr.Slider

    @property
    def typed(self) -> list[gr.components.Component]:
        """What `read_voice` takes after the recording."""
        return [self.text, self.voice, self.pace]

    @property
    def components(self) -> list[gr.components.Component]:
        """All of it: the mode, the recording, and what is typed."""
        return [self.mode, self.speech, *self.typed]


def build_voice(lines: int = 4) -> VoiceInput:
    """Lays out text and recording, of which one is seen, in the current `gr.Blocks`."""
    threading.Thread(target=_load_early, daemon=True).start()
    with gr.Group(elem_classes="say"):
        modes = [("Type", TYPED), ("Upload or record", RECORDED)]
        mode = gr.Radio(modes, value=TYPED, label="Say it", elem_id="speech-mode", elem_classes="say-mode")
        with gr.Column(elem_classes="say-panels"):
            with gr.Column(elem_classes="say-typed"):
                text, voice, pace = _build_typed(lines)
            with gr.Column(elem_classes="say-recorded"):
                speech = build_speech("Recording")
    speech.change(None, [speech, mode], mode, js=SHOW_RECORDING, api_visibility="private")
    return VoiceInput(mode, speech, text, voice, pace)


def _build_typed(lines: int) -> tuple[gr.Textbox, gr.Dropdown, gr.Slider]:
    voices = [
        (voice.label if voice.offline else f"{voice.label} · downloaded first", voice.name) for voice in list_voices()
    ]
    text = gr.Textbox(
        label="Text",
        placeholder="Type what the portrait shall say, in English.",
        lines=lines,
        max_lines=lines,
    )
    with gr.Row(elem_classes="say-voice"):
        voice = gr.Dropdown(
            voices or [(DEFAULT_VOICE, DEFAULT_VOICE)], value=DEFAULT_VOICE, label="Voice", scale=4, min_width=140
        )
        pace = gr.Slider(*PACES, 1, step=0.05, label="Pace", scale=3, min_width=120)
    with gr.Row(elem_classes="say-listen"):
        button = gr.Button("Listen", size="sm", scale=0, min_width=90)
        player = gr.HTML({}, html_template=PLAYER, js_on_load=None, min_height=40)
    button.click(listen, [text, voice, pace], player, show_progress_on=player, api_visibility="private")
    return text, voice, pace


def choose(mode: str, speech: Upload | None, text: str | None) -> tuple[Upload | None, str]:
    """Recording and text, of which the one that is not seen is empty."""
    return (None, text or "") if mode == TYPED else (speech, "")


def voice_seconds(
    mode: str, speech: Upload | None, text: str | None, voice: str, pace: float, limit: float
) -> float | None:
    """About how long what is given takes to say, in seconds; None where nothing is given yet.

    Raises:
        ValueError: it cannot be used, or is clearly longer than `limit` seconds.
        OSError: the recording cannot be read.
    """
    speech, text = choose(mode, speech, text)
    if text.strip():
        said = SpokenText(text, voice, pace)
        said.check_length(limit)
        return said.seconds
    return probe_speech(uploaded(speech), limit) if speech and speech.get("path") else None


def read_voice(
    speech: Upload | None, text: str | None, voice: str | None, pace: float | None, checkpoint: str | None, limit: float
) -> Speech:
    """What the portrait is to say.

    Args:
        speech, text: one of them; of a text the voice and the pace count, too.
        limit: longest speech in seconds. A text is measured while it is read.

    Raises:
        ValueError: there is neither or both, or it cannot be used.
    """
    if not (text or "").strip():
        return read_recording(speech, checkpoint, limit)
    if speech:
        raise ValueError("Give either a text or a recording: there are both.")
    return SpokenText(text, voice or DEFAULT_VOICE, 1.0 if pace is None else pace)


def open_voice(
    speech: Upload | None, text: str | None, voice: str | None, pace: float | None, checkpoint: str | None, limit: float
) -> PacedSpeech:
    """The same as if it were being spoken now, for a live stream; to be closed. Raises as `read_voice` does."""
    said, rate = read_voice(speech, text, voice, pace, checkpoint, limit), load_pipeline(checkpoint).sampling_rate
    if isinstance(said, SpokenText):
        load_synthesizer(said.voice)  # a stream waits some seconds for its first sound, and no longer
        said = read_aloud(said, rate, limit)
    return PacedSpeech(said, rate)


def listen(text: str, voice: str, pace: float) -> dict[str, Any]:
    """The voice alone: what the player plays, the beginning of a long text."""
    with shown_errors():
        blocks, count = [], 0
        for block in SpokenText(text, voice, pace).stream():
            blocks.append(block)
            count += len(block)
            if count > LISTENED * SAMPLING_RATE:
                break
        sound = io.BytesIO()
        soundfile.write(sound, np.concatenate(blocks), SAMPLING_RATE, format="WAV")
        return {"sound": f"data:audio/wav;base64,{base64.b64encode(sound.getvalue()).decode()}"}


def _load_early() -> None:
    """So that the first visitor does not wait for the voice. A missing one is said when it is asked for."""
    with suppress(ValueError):
        load_synthesizer()
