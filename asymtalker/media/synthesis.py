"""Text to speech, without a network: the voices of PyPI's hibari-tts, a sentence at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from asymtalker.media.script import Part, estimate_seconds, split_script
from asymtalker.media.speech import SpeechResampler

SAMPLING_RATE = 16_000
DEFAULT_VOICE = "heart"
LOW = "-low"
"""What the name of a voice may end in: the same voice, of a longer vocal tract."""
LOW_TRACT = 0.85
"""Factor of its pitch and formants: lower ones were recognised less well."""
PACES = (0.5, 2.0)
"""What `pace` may be; faster, words run into each other."""
GAIN = 2.0
"""The voices are 7 dB quieter than the recordings of the examples."""
LOUDEST = 0.95
AUDIBLE = 10 ** (-50 / 20)
"""Loudness (RMS) of 10 ms from which on something is said."""
BEFORE, AFTER = 0.03, 0.08
"""Seconds that are left around what is said: the voices begin and end with 0.3 to 0.6 s of silence."""
LEAD = 0.1
"""Seconds of silence before the first word."""
CLEARLY_TOO_LONG = 1.5
"""A text is refused unread where its estimated length is the limit times this: estimates are not exact."""

_loading = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """A voice that there is.

    Attributes:
        name: what `SpokenText` takes.
        label: what a page calls it.
        offline: whether it is on this machine; others are downloaded when they are first used (8 MB).
    """

    name: str
    label: str
    offline: bool


def list_voices() -> list[Voice]:
    """All voices, those on this machine first; none where hibari-tts is not installed."""
    try:
        from hibari.voices import VOICES, voice_path
    except ImportError:
        return []
    voices = []
    for name, about in VOICES.items():
        try:
            voice_path(name, download_missing=False)
        except FileNotFoundError:
            offline = False
        else:
            offline = True
        label = f"{name.capitalize()} · {about['accent']}, {about['gender']}"
        voices.append(Voice(name, label, offline))
        if name == DEFAULT_VOICE:
            voices.append(Voice(name + LOW, f"{label}, low", offline))
    return sorted(voices, key=lambda voice: not voice.offline)


@dataclass(frozen=True)
class SpokenText:
    """A text that is read aloud where a recording might be given.

    Args:
        text: in English; markup and emoji are left out.
        voice: a name of `list_voices`.
        pace: 1 is natural, 0.5 half as fast, 2 twice as fast.

    Raises:
        ValueError: there is nothing to say, or it cannot be read, or the pace is out of its range.
    """

    text: str
    voice: str = DEFAULT_VOICE
    pace: float = 1.0
    parts: list[Part] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        low, high = PACES
        if not isinstance(self.pace, (int, float)) or isinstance(self.pace, bool) or not low <= self.pace <= high:
            raise ValueError(f"pace must be a number from {low:g} to {high:g}, not {self.pace!r}.")
        object.__setattr__(self, "parts", split_script(self.text))

    @property
    def seconds(self) -> float:
        """About how long it takes to say."""
        return estimate_seconds(self.parts) / self.pace

    def stream(self, sampling_rate: int = SAMPLING_RATE, max_seconds: float | None = None) -> Iterator[np.ndarray]:
        """Reads it aloud: yields float32 (samples,) in [−1, 1], a sentence or a part of a long one each.

        The same text gives the same samples.

        Args:
            sampling_rate: of the samples, in Hz.
            max_seconds: a text that takes longer is refused: at once if that is clear, otherwise when it has been read
                so far.

        Raises:
            ValueError: the text takes too long, or there is no such voice here.
        """
        self.check_length(max_seconds)
        synthesizer = load_synthesizer(self.voice)
        count, silence = 0, LEAD
        for part in self.parts:
            spoken = synthesizer.speak(part.text, self.pace, sampling_rate)
            block = np.pad(spoken, (round(silence * sampling_rate), round(part.pause / self.pace * sampling_rate)))
            count, silence = count + len(block), 0
            if max_seconds is not None and count > max_seconds * sampling_rate:
                raise self._too_long(max_seconds)
            yield block

    def check_length(self, max_seconds: float | None) -> None:
        """Raises ValueError for a text that clearly takes longer than `max_seconds`, by the estimate."""
        if max_seconds is not None and self.seconds > CLEARLY_TOO_LONG * max_seconds:
            raise self._too_long(max_seconds)

    def _too_long(self, max_seconds: float) -> ValueError:
        return ValueError(
            f"The text takes about {max(self.seconds, max_seconds + 1):.0f} s to say; at most {max_seconds:g} s are "
            "allowed. Shorten it, or raise the pace."
        )


class SpeechSynthesizer:
    """A voice that reads English.

    Args:
        voice: a name of `list_voices`.

    Raises:
        ValueError: there is no such voice here; the message says what to do.
    """

    def __init__(self, voice: str = DEFAULT_VOICE) -> None:
        name = voice.removesuffix(LOW)
        self._tract = LOW_TRACT if voice.endswith(LOW) else 1.0
        self._engine = _load_engine(name)
        self._turn = threading.Lock()  # visitors share the voice

    def speak(self, text: str, pace: float = 1.0, sampling_rate: int = SAMPLING_RATE) -> np.ndarray:
        """Reads a sentence: float32 (samples,) in [−1, 1], without the silence around it; none for mere punctuation."""
        with self._turn:
            phonemes = self._engine.g2p(text)
            sound = self._engine.from_phonemes(phonemes, pace / self._tract, seed=0)
        sound = _without_silence(sound, self._engine.sample_rate)
        if not len(sound):
            return sound
        resampler = SpeechResampler(sampling_rate)
        rate = round(self._engine.sample_rate * self._tract)
        samples = np.concatenate([resampler.push(rate, sound), resampler.flush()])
        return samples * min(GAIN, LOUDEST / np.abs(samples).max())


@lru_cache(maxsize=4)
def _cached_synthesizer(voice: str) -> SpeechSynthesizer:
    return SpeechSynthesizer(voice)


def load_synthesizer(voice: str = DEFAULT_VOICE) -> SpeechSynthesizer:
    """The voice, loaded once.

    Raises:
        ValueError: see `SpeechSynthesizer`.
    """
    with _loading:
        return _cached_synthesizer(voice)


def _load_engine(name: str) -> Any:
    """The `hibari.Hibari` of a voice, with its dictionaries read."""
    try:
        from hibari import Hibari
        from hibari.voices import VOICES
    except ImportError as error:
        raise ValueError(
            "To have a text spoken, hibari-tts is needed: pip install 'asymtalker[speech]'. Or give a recording."
        ) from error
    if name not in VOICES:
        raise ValueError(f"There is no voice {name!r}: there are {', '.join(voice.name for voice in list_voices())}.")
    try:
        engine = Hibari(name, threads=1)
    except (RuntimeError, OSError) as error:
        offline = ", ".join(voice.name for voice in list_voices() if voice.offline)
        raise ValueError(
            f"The voice {name!r} is not on this machine, and could not be downloaded ({error}). Voices that are here: "
            f"{offline}."
        ) from error
    engine.g2p("Warm.")
    engine.from_phonemes(engine.g2p("Warm."))
    return engine


def _without_silence(sound: np.ndarray, rate: int) -> np.ndarray:
    frame = rate // 100
    loudness = np.sqrt((sound[: len(sound) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1))
    audible = np.flatnonzero(loudness > AUDIBLE)
    if not len(audible):
        return sound[:0]
    start = max(audible[0] * frame - round(BEFORE * rate), 0)
    return sound[start : (audible[-1] + 1) * frame + round(AFTER * rate)]
