"""The voices of espeak-ng, through its library, which tells when each phoneme starts."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

import numpy as np

from asymtalker.media.speech import read_speech
from train.animation.performance import Utterance

SYNCHRONOUS, PHONEMES_AS_IPA = 2, 1 | 2
PHONEME = 7
UTF8 = 1
RATE, PITCH, PITCH_RANGE = 1, 3, 4
"""Values of espeak-ng's `speak_lib.h`."""
VOICES = {
    "es": "es",
    "cmn-latn-pinyin": "zh",
    "es-419": "es",
    "de": "de",
    "it": "it",
    "pt-br": "pt",
    "en-us": "en",
    "ru": "ru",
}
"""Voices, and their languages. They read texts of these."""
RANGES = {RATE: (120, 185), PITCH: (25, 75), PITCH_RANGE: (30, 80)}
"""Words a minute, and pitch and its range on a scale to 100, drawn uniformly."""
VOICELESS, VOICED, FRICATIVES = set("ptkcqʈ"), set("bdɡɟɖ"), set("szʃʒɕʑʂʐfx")
CLOSURES = dict.fromkeys(VOICELESS, 0.055) | dict.fromkeys(VOICED, 0.03)
"""Seconds by which the closure of a plosive begins before its event: measured, the sound is silent there."""
RELEASE = 0.015
SHORTEST = 0.02
"""What a plosive leaves at least of the phone before it, in seconds."""
VARIANTS = ("m1", "f1", "m3", "f2", "klatt", "f3", "m7", "f4", "klatt3", "f5", "m4", "croak")


class _Name(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Name),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class EspeakVoice:
    """A voice of espeak-ng.

    Attributes:
        base: a key of `VOICES`.
        variant: of the voice quality.
        language: code of it.
    """

    base: str
    variant: str
    language: str

    @property
    def name(self) -> str:
        return f"espeak/{self.base}+{self.variant}"

    @property
    def reads(self) -> str:
        return self.language

    def speak(self, text: str, rng: np.random.Generator) -> Utterance:
        """Reads a text, at a tempo, pitch and liveliness drawn at random.

        Raises:
            ValueError: espeak-ng does not have the voice.
            OSError: espeak-ng is not installed.
        """
        library, sampling_rate = _library()
        if library.espeak_SetVoiceByName(f"{self.base}+{self.variant}".encode()):
            raise ValueError(f"espeak-ng has no voice {self.base}+{self.variant}.")
        for parameter, (low, high) in RANGES.items():
            library.espeak_SetParameter(parameter, int(rng.uniform(low, high)), 0)
        sound, phones = _synthesise(library, text)
        names, spans = phone_spans(
            [(sample / sampling_rate, name) for sample, name in phones], len(sound) / sampling_rate
        )
        speech = read_speech((sampling_rate, sound))
        return Utterance(speech, names, spans, "ipa", self.name, self.language, text)


def phone_spans(events: list[tuple[float, str]], end: float) -> tuple[list[str], np.ndarray]:
    """Phones and their spans (n, 2) in seconds, from espeak-ng's events.

    The event of a plosive tells of its burst; the closure before it is moved from the phone before to the plosive, and
    what follows the burst of a voiceless one to the phone after it. Names in brackets are switches of language.

    Args:
        events: time in seconds and IPA name of each phoneme.
        end: of the sound, in seconds.
    """
    events = [(time, name) for time, name in events if not name.startswith("(")]
    starts = np.array([time for time, _ in events] + [end])
    for index, (time, name) in enumerate(events):
        earliest = starts[index - 1] + SHORTEST if index else 0.0
        starts[index] = max(starts[index] - CLOSURES.get(name[:1], 0.0), min(earliest, starts[index]))
        if name[:1] in VOICELESS and not set(name) & FRICATIVES:
            starts[index + 1] = min(time + RELEASE, starts[index + 1])
    spans = np.stack([starts[:-1], starts[1:]], axis=1)
    kept = np.flatnonzero(spans[:, 1] > spans[:, 0])
    return [events[index][1] for index in kept], spans[kept]


def espeak_voices() -> list[EspeakVoice]:
    """Every language with several variants, languages taking turns."""
    bases = list(VOICES)
    return [EspeakVoice(base, variant, VOICES[base]) for variant in VARIANTS for base in bases]


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    """The library, and its sampling rate in Hz. It has one state for the whole process."""
    library = ctypes.CDLL("libespeak-ng.so.1")
    return library, library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEMES_AS_IPA)


def _synthesise(library: ctypes.CDLL, text: str) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Sound, int16 (n,), and the first sample and IPA name of each phoneme."""
    blocks, phones = [], []

    def receive(samples: ctypes.Array, count: int, events: ctypes.Array) -> int:
        if samples and count:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type:
            if events[index].type == PHONEME:
                phones.append((events[index].sample, events[index].id.string.decode(errors="ignore")))
            index += 1
        return 0

    callback = _Callback(receive)  # must live until the sound is made
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, UTF8, None, None)
    return np.concatenate(blocks), phones
