"""Forced alignment on a recording of the examples, whose words and pauses are known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from asymtalker.media.alignment import AlignmentUnavailableError, Phone, align, pronounce, recognize_phones
from asymtalker.media.speech import read_speech

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = "I have been smiling for five hundred years, and nobody ever asks me why. Well, now I can tell you."
BILABIALS = ["b", "m", "b", "m"]  # been, smiling, nobody, me


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    pytest.importorskip("pocketsphinx")
    return read_speech(EXAMPLES / "lisa.wav")


@pytest.fixture(scope="module")
def phones(speech) -> list[Phone]:
    return align(speech, TEXT)


def test_the_phones_are_those_of_the_text_and_follow_each_other(phones, speech):
    spoken = [phone.name for phone in phones if phone.name != "sil"]
    assert spoken[:8] == ["ay", "hh", "ae", "v", "b", "ih", "n", "s"]
    assert [name for name in spoken if name in "pbm"] == BILABIALS
    assert phones[0].start == 0 and phones[-1].end == pytest.approx(len(speech) / 16_000, abs=0.03)
    assert all(phone.start < phone.end for phone in phones)
    assert [phone.end for phone in phones[:-1]] == [phone.start for phone in phones[1:]]


def test_silence_is_where_the_sound_is_quiet(phones, speech):
    loud = {True: [], False: []}
    for phone in phones:
        samples = speech[round(phone.start * 16_000) : round(phone.end * 16_000)]
        loud[phone.name == "sil"].append(float(np.sqrt(np.mean(samples**2))))
    assert max(loud[True]) < 0.3 * np.median(loud[False])


def test_a_delay_of_the_sound_moves_the_phones_by_as_much(phones, speech):
    late = align(np.concatenate([np.zeros(8000, np.float32), speech]), TEXT)
    moved = [phone.start for phone in late if phone.name != "sil"]
    starts = [phone.start for phone in phones if phone.name != "sil"]
    assert np.median(np.subtract(moved, starts)) == pytest.approx(0.5, abs=0.011)


def test_case_accents_and_punctuation_do_not_matter(phones, speech):
    assert align(speech, TEXT.upper().replace("EVER", "évèr").replace(",", " |")) == phones


def test_a_word_that_no_dictionary_has_is_pronounced_by_its_parts(speech, caplog):
    from pocketsphinx import Decoder

    assert pronounce("booksqk", Decoder(lm=None, loglevel="FATAL")) == "B UH K S K K"
    phones = align(speech, TEXT.replace("smiling", "smilingqk"))
    names = " ".join(phone.name for phone in phones if phone.name != "sil")
    assert "s m ay l ih ng k k f er f ay v" in names
    assert "smilingqk" in caplog.text


def test_digits_are_read(speech):
    assert align(speech, TEXT.replace("five", "5")) == align(speech, TEXT)


def test_phones_are_recognized_without_a_text(phones, speech):
    heard = recognize_phones(speech)
    assert all(phone.start < phone.end for phone in heard)
    times = np.arange(0, len(speech) / 16_000 - 0.05, 0.01)
    assert np.mean(_names(heard, times) == _names(phones, times)) > 0.4


def _names(phones: list[Phone], times: np.ndarray) -> np.ndarray:
    starts = [phone.start for phone in phones]
    return np.array([phone.name for phone in phones])[np.searchsorted(starts, times, "right") - 1]


@pytest.mark.parametrize(
    ("text", "seconds", "message"), [("你好", 8, "no words in Latin letters"), (TEXT, 0.3, "does not fit the speech")]
)
def test_a_text_that_cannot_be_spoken_raises(speech, text, seconds, message):
    with pytest.raises(ValueError, match=message):
        align(speech[: round(seconds * 16_000)], text)


def test_without_pocketsphinx_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(AlignmentUnavailableError, match="pip install pocketsphinx"):
        align(np.zeros(16_000, np.float32), TEXT)
