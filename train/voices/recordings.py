"""Recorded speech whose text is known; when each phone is spoken is found by forced alignment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from asymtalker.media.alignment import align
from asymtalker.media.speech import read_speech
from train.animation.performance import Utterance

LEAST_COVERAGE = 0.9
"""Share of the loud sound that must lie in phones: else the text is not what is said."""
LOUD = 0.3
"""Of the level that a tenth of the sound exceeds."""
TOLERANCE = 0.05
"""Seconds by which sound may exceed its phone."""


@dataclass(frozen=True)
class Recording:
    """A file with the sound of one person.

    Attributes:
        path: of the file.
        text: what is said, in English.
        voice: who speaks, "source/name".
    """

    path: Path
    text: str
    voice: str


def read_recordings(folder: Path) -> list[Recording]:
    """The recordings of a folder, named by `metadata.jsonl`: lines with `file_name`, `text` and `voice`.

    Raises:
        FileNotFoundError: the folder has no such file.
    """
    rows = map(json.loads, (folder / "metadata.jsonl").read_text().splitlines())
    return [Recording(folder / row["file_name"], row["text"], row["voice"]) for row in rows]


def read_utterance(recording: Recording) -> Utterance:
    """The sound of a recording with its phones.

    Raises:
        ValueError: the text does not fit the sound.
        AlignmentUnavailableError: pocketsphinx is not installed.
    """
    return aligned(read_speech(recording.path), recording.text, recording.voice)


def aligned(speech: np.ndarray, text: str, voice: str) -> Utterance:
    """English speech, float32 (n,) at 16 kHz, with its phones.

    Raises:
        ValueError: the text does not fit the sound.
        AlignmentUnavailableError: pocketsphinx is not installed.
    """
    found = align(speech, text)
    phones = [phone.name for phone in found]
    spans = np.array([(phone.start, phone.end) for phone in found])
    share = coverage(speech, phones, spans)
    if share < LEAST_COVERAGE:
        raise ValueError(f"Only {share:.0%} of the sound of {voice} lies in phones of {text!r}: is it the right text?")
    return Utterance(speech, phones, spans, "arpabet", voice, "en", text)


def coverage(speech: np.ndarray, phones: list[str], spans: np.ndarray) -> float:
    """Share of the loud hundredths of a second of speech (n,) that lie in a phone, and not in silence."""
    hundredth = SAMPLING_RATE // 100
    level = np.abs(speech[: len(speech) // hundredth * hundredth]).reshape(-1, hundredth).mean(1)
    times = (np.arange(len(level)) + 0.5) / 100
    spoken = np.zeros(len(level), bool)
    for phone, (start, end) in zip(phones, spans, strict=True):
        if phone != "sil":
            spoken |= (times > start - TOLERANCE) & (times < end + TOLERANCE)
    loud = level > LOUD * np.percentile(level, 90)
    return float(spoken[loud].mean())
