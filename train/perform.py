"""Makes performances: sound of many voices with the motion of an animated head, to train what maps one to the other.

    python -m train.perform --config train/configs/tiny/performances.yaml --set output=data/performances

Nothing is rendered. Each performance is a file `SOURCE-NUMBER.npz` (`train.animation.performance.Performance.load`)
and a line of `metadata.jsonl`. Files appear under their names when they are complete, so training can read the folder
while it is filled; the same command again goes on where it was interrupted. Sources take turns, so that a part of the
data set has something of each.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import dataclasses
import json
import logging
import subprocess
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from train.animation.manner import Manner
from train.animation.performance import Performance, Utterance, animate
from train.config import parse_settings, start_logging
from train.voices.corpus import clips_of, read_performance
from train.voices.espeak import espeak_voices
from train.voices.festival import festival_voices
from train.voices.flite import flite_voices
from train.voices.hibari import hibari_voices
from train.voices.joining import join
from train.voices.nonspeech import KINDS, nonspeech
from train.voices.recordings import Recording, read_recordings, read_utterance
from train.voices.sentences import sentences

logger = logging.getLogger(__name__)

ATTEMPTS = 5
LETTERS_PER_SECOND = 13
FEWEST_PHONES = 5
"""Of a sentence."""


class Voice(Protocol):
    """Something that reads texts of the language `reads`."""

    reads: str

    @property
    def name(self) -> str: ...

    def speak(self, text: str, rng: np.random.Generator) -> Utterance: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerformSettings:
    """Which performances are made.

    Attributes:
        output: folder for them.
        corpus: folder of a dataset whose clips have their truth beside them (`truth/*.npz`), or none.
        flite_hours: hours of English by the voices of Debian's flite.
        festival_hours: hours of several languages by the voices of Debian's festival.
        espeak_hours: hours of several languages by espeak-ng.
        hibari_hours: hours of English by the voice of PyPI's hibari-tts.
        recordings: folder of English recordings with texts (`metadata.jsonl`: `file_name`, `text`, `voice`), or none.
        nonspeech_hours: hours of noise, music, clicks, breaths and silence.
        seconds: how long a synthetic performance is at least; it ends with its sentence.
        seed: of everything random.
    """

    output: str
    corpus: str | None = None
    flite_hours: float = 0.0
    festival_hours: float = 0.0
    espeak_hours: float = 0.0
    hibari_hours: float = 0.0
    recordings: str | None = None
    nonspeech_hours: float = 0.0
    seconds: float = 10.0
    seed: int = 0


@dataclasses.dataclass
class Source:
    """Something that performances are made of.

    Attributes:
        name: of its files.
        make: the performance of a number, with random numbers, and its text; None if nothing could be made of it.
        hours: after which it has given enough.
        count: how many there are at most.
    """

    name: str
    make: Callable[[int, np.random.Generator], tuple[Performance, str] | None]
    hours: float = float("inf")
    count: float = float("inf")
    made: int = 0
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        return self.made >= self.count or self.seconds >= 3600 * self.hours


def corpus_source(dataset: Path) -> Source:
    """The clips of a dataset, each once."""
    clips = clips_of(dataset)

    def make(index: int, rng: np.random.Generator) -> tuple[Performance, str]:
        return read_performance(dataset, clips[index]), clips[index]["text"]

    return Source("corpus", make, count=len(clips))


def voice_source(name: str, voices: Sequence[Voice], hours: float, seconds: float) -> Source:
    """Voices that take turns to read sentences of their languages, performed by a new person each time."""
    texts = {language: sentences(language) for language in {voice.reads for voice in voices}}

    def make(index: int, rng: np.random.Generator) -> tuple[Performance, str]:
        voice, spoken = voices[index % len(voices)], []
        while sum(len(utterance.speech) for utterance in spoken) < seconds * SAMPLING_RATE:
            spoken.append(speak_any(voice, texts[voice.reads], rng))
        utterance = join(spoken, rng)
        return animate(utterance, Manner.draw(rng), rng), utterance.text

    return Source(name, make, hours)


def recordings_source(folder: Path, seconds: float) -> Source:
    """The recordings of a folder, each once; short ones of the same voice that follow each other are joined."""
    groups = group_recordings(read_recordings(folder), seconds)

    def make(index: int, rng: np.random.Generator) -> tuple[Performance, str] | None:
        spoken = []
        for recording in groups[index]:
            try:
                spoken.append(read_utterance(recording))
            except ValueError as error:
                logger.warning("%s is left out: %s", recording.path.name, error)
        if not spoken:
            return None
        utterance = join(spoken, rng)
        return animate(utterance, Manner.draw(rng), rng), utterance.text

    return Source("recordings", make, count=len(groups))


def group_recordings(recordings: list[Recording], seconds: float) -> list[list[Recording]]:
    """Consecutive recordings of one voice in groups that last about so long, by the length of their texts; the groups
    are in a random order, always the same."""
    groups: list[list[Recording]] = []
    for recording in recordings:
        same = groups and groups[-1][0].voice == recording.voice
        if same and sum(len(other.text) for other in groups[-1]) < seconds * LETTERS_PER_SECOND:
            groups[-1].append(recording)
        else:
            groups.append([recording])
    order = np.random.default_rng(0).permutation(len(groups))  # a part of the source has all kinds of voices
    return [groups[index] for index in order]


def nonspeech_source(hours: float, seconds: float) -> Source:
    """Kinds of sound that take turns, each with a person who keeps still."""

    def make(index: int, rng: np.random.Generator) -> tuple[Performance, str]:
        return animate(nonspeech(KINDS[index % len(KINDS)], seconds, rng), Manner.draw(rng), rng), ""

    return Source("nonspeech", make, hours)


def speak_any(voice: Voice, texts: list[str], rng: np.random.Generator) -> Utterance:
    """A sentence at random, read by a voice; it may find some sentences unreadable.

    Raises:
        ValueError: it could read none of several; the cause is that of the last.
    """
    for _ in range(ATTEMPTS):
        text = texts[rng.integers(len(texts))]
        try:
            utterance = voice.speak(text, rng)
        except (ValueError, subprocess.SubprocessError) as error:
            logger.warning("%s left out %r: %s", voice.name, text, error)
            last = error
        else:
            if len(utterance.phones) >= FEWEST_PHONES:
                return utterance
            last = ValueError(f"{len(utterance.phones)} phones in {text!r}")
    raise ValueError(f"{voice.name} cannot read: is it installed?") from last


def sources_of(settings: PerformSettings) -> list[Source]:
    """The sources that these settings ask for."""
    sources = []
    if settings.corpus:
        sources.append(corpus_source(Path(settings.corpus)))
    for name, voices, hours in (
        ("flite", flite_voices(), settings.flite_hours),
        ("festival", festival_voices(), settings.festival_hours),
        ("espeak", espeak_voices(), settings.espeak_hours),
        ("hibari", hibari_voices(), settings.hibari_hours),
    ):
        if hours:
            sources.append(voice_source(name, voices, hours, settings.seconds))
    if settings.recordings:
        sources.append(recordings_source(Path(settings.recordings), settings.seconds))
    if settings.nonspeech_hours:
        sources.append(nonspeech_source(settings.nonspeech_hours, settings.seconds))
    return sources


def perform(settings: PerformSettings) -> None:
    """Fills the folder."""
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    done = made_before(output)
    sources = sources_of(settings)
    while remaining := [source for source in sources if not source.finished]:
        for source in remaining:
            row = done.get(f"{source.name}-{source.made:05d}.npz") or make_next(source, output, settings.seed)
            source.made += 1
            source.seconds += row["seconds"] if row else 0
    for source in sources:
        logger.info("%s: %d performances, %.2f hours", source.name, source.made, source.seconds / 3600)


def made_before(output: Path) -> dict[str, dict]:
    """Rows of the metadata of earlier runs, by file name."""
    listing = output / "metadata.jsonl"
    lines = listing.read_text().splitlines() if listing.exists() else []
    return {row["file_name"]: row for row in map(json.loads, lines)}


def make_next(source: Source, output: Path, seed: int) -> dict | None:
    """Writes the next performance of a source and its line of metadata, which is returned; None if there is none."""
    rng = np.random.default_rng((seed, zlib.crc32(source.name.encode()), source.made))
    made = source.make(source.made, rng)
    if made is None:
        return None
    performance, text = made
    file_name = f"{source.name}-{source.made:05d}.npz"
    performance.save(output / file_name)
    row = {
        "file_name": file_name,
        "source": source.name,
        "voice": performance.voice,
        "language": performance.language,
        "seconds": performance.seconds,
        "text": text,
    }
    with open(output / "metadata.jsonl", "a") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return row


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    settings = parse_settings(PerformSettings, __doc__, argv)
    start_logging()
    perform(settings)


if __name__ == "__main__":
    main()
