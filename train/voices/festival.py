"""The voices of Debian's festival: English, Italian, Catalan, Czech, Finnish and Russian."""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from asymtalker.media.speech import read_speech
from train.animation.performance import Utterance

SCRIPT = """({command})
(Parameter.set 'Duration_Stretch {stretch:.3f})
(set! utterance (eval (list 'Utterance 'Text "{text}")))
(utt.synth utterance)
(utt.save.wave utterance "{folder}/speech.wav")
(utt.save.segs utterance "{folder}/phones")
"""


@dataclass(frozen=True)
class FestivalVoice:
    """A voice of festival, played back faster or slower (see `FliteVoice`).

    Attributes:
        base: its name in festival.
        phone_set: a key of `train.animation.phone_sets.PHONE_SETS`.
        language: of its sounds.
        reads: language of the texts that it is given.
        encoding: that it wants its texts in.
        tract: factor of the formants; 1 is the voice itself.
    """

    base: str
    phone_set: str
    language: str
    reads: str
    encoding: str = "latin-1"
    tract: float = 1.0

    @property
    def name(self) -> str:
        return f"festival/{self.base}" + (f"@{self.tract:g}" if self.tract != 1 else "")

    def speak(self, text: str, rng: np.random.Generator) -> Utterance:
        """Reads a text, at a tempo drawn at random.

        Raises:
            subprocess.CalledProcessError: festival failed.
            ValueError: the text has words that the voice cannot read.
        """
        words = text.replace("\\", " ").replace('"', " ").encode(self.encoding, "ignore").decode(self.encoding)
        with tempfile.TemporaryDirectory() as folder:
            script = SCRIPT.format(
                command=f"voice_{self.base}", stretch=self.tract * rng.uniform(0.8, 1.15), text=words, folder=folder
            )
            path = Path(folder) / "speak.scm"
            path.write_text(script, encoding=self.encoding)
            run = subprocess.run(["festival", "-b", str(path)], capture_output=True, timeout=60, check=True)
            if not (Path(folder) / "phones").exists():
                raise ValueError(f"{self.name} cannot read {text!r}: {run.stderr.decode(errors='replace').strip()}")
            phones, spans = read_labels((Path(folder) / "phones").read_text(self.encoding))
            speech = read_speech(Path(folder) / "speech.wav")
        if self.tract != 1:
            rate = round(SAMPLING_RATE * self.tract)
            speech, spans = librosa.resample(speech, orig_sr=rate, target_sr=SAMPLING_RATE), spans / self.tract
        return Utterance(speech, phones, spans, self.phone_set, self.name, self.language, text)


def read_labels(labels: str) -> tuple[list[str], np.ndarray]:
    """Phones, and their spans (n, 2) in seconds, from a label file: after a line "#", lines "end colour phone"."""
    lines = [line.split() for line in labels.split("#\n", 1)[1].splitlines()]
    ends = np.array([float(end) for end, _, _ in lines])
    return [phone for _, _, phone in lines], np.stack([np.concatenate([[0.0], ends[:-1]]), ends], axis=1)


TRACTS = (1.0, 0.9, 1.12)
VOICES = (
    FestivalVoice("lp_diphone", "sampa", "it", "it"),
    FestivalVoice("pc_diphone", "sampa", "it", "it"),
    FestivalVoice("cmu_us_slt_arctic_hts", "arpabet", "en", "en"),
    FestivalVoice("msu_ru_nsh_clunits", "russian", "ru", "ru", "utf-8"),
    FestivalVoice("upc_ca_ona_hts", "sampa", "ca", "es"),  # no Catalan text is packaged; the sounds are Catalan
    FestivalVoice("kal_diphone", "arpabet", "en", "en"),
    FestivalVoice("czech_dita", "czech", "cs", "cs", "iso-8859-2"),
    FestivalVoice("czech_machac", "czech", "cs", "cs", "iso-8859-2"),
    FestivalVoice("czech_ph", "czech", "cs", "cs", "iso-8859-2"),
    FestivalVoice("ked_diphone", "arpabet", "en", "en"),
    FestivalVoice("suo_fi_lj_diphone", "finnish", "fi", "it"),  # nor is Finnish
    FestivalVoice("hy_fi_mv_diphone", "finnish", "fi", "it"),
)


def festival_voices() -> list[FestivalVoice]:
    """Every voice with every vocal tract."""
    return [dataclasses.replace(voice, tract=tract) for tract in TRACTS for voice in VOICES]
