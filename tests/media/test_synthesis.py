"""Texts that are read aloud: the sound, and what is said where it cannot be."""

import shutil
import socket
import sys
import time
from pathlib import Path

import hibari
import hibari.voices
import numpy as np
import pytest
from pocketsphinx import Decoder

from asymtalker.media.synthesis import SpokenText, list_voices, load_synthesizer

RATE = 16_000
SENTENCE = "The small museum at the end of our street opens every day at nine."
TEXT = f"{SENTENCE} Please ask me about the paintings. I will tell you who made them."


@pytest.fixture(scope="module", autouse=True)
def _voice():
    load_synthesizer()


def spoken(text, **options):
    return np.concatenate(list(SpokenText(text, **options).stream()))


def loudness(samples):
    """RMS of every 10 ms, in dB of full scale."""
    return 10 * np.log10((samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2).mean(axis=1) + 1e-12)


def recognized(samples):
    decoder = Decoder(loglevel="FATAL")
    decoder.start_utt()
    decoder.process_raw((samples * 32767).astype(np.int16).tobytes(), full_utt=True)
    decoder.end_utt()
    return set(decoder.hyp().hypstr.split())


@pytest.mark.parametrize("options", [{}, {"voice": "heart-low"}])
def test_the_words_are_heard(options):
    heard = recognized(spoken(SENTENCE, **options))
    assert len({"museum", "end", "of", "our", "street", "opens", "every", "day"} - heard) <= 1


def test_how_it_sounds():
    samples = spoken(TEXT)
    assert (samples.dtype, samples.ndim) == (np.float32, 1)
    assert 0.3 < np.abs(samples).max() <= 0.96
    levels = loudness(samples)
    assert -22 < 10 * np.log10((10 ** (levels[levels > -40] / 10)).mean()) < -14  # that of the examples is about −17
    assert np.flatnonzero(levels > -50)[0] < 20  # 0.2 s
    assert 0.3 < (len(levels) - np.flatnonzero(levels > -50)[-1]) / 100 < 0.7


def test_a_sentence_at_a_time_with_pauses_between():
    blocks = list(SpokenText(TEXT).stream())
    assert len(blocks) == 3
    for block in blocks:
        assert (loudness(block)[-38:] < -45).all()


def test_the_first_sentence_does_not_wait_for_the_others():
    text = SpokenText(TEXT * 100)
    began = time.thread_time()
    next(text.stream())
    first = time.thread_time() - began
    began = time.thread_time()
    list(SpokenText(TEXT * 3).stream())
    assert first < (time.thread_time() - began) / 3


def test_the_same_text_sounds_the_same():
    np.testing.assert_array_equal(spoken(SENTENCE), spoken(SENTENCE))


def test_pace():
    slow, natural, fast = (len(spoken(SENTENCE, pace=pace)) for pace in (0.5, 1, 2))
    assert slow / natural == pytest.approx(2, rel=0.15)
    assert fast / natural == pytest.approx(0.5, rel=0.25)  # the silences around it stay


def pitch(samples):
    """Median over loud frames of 40 ms, in Hz: the lag of 3 to 15 ms at which a frame is most like itself."""
    frames = samples[: len(samples) // 640 * 640].reshape(-1, 640)
    frames = frames[(frames**2).mean(axis=1) > 0.01]
    lags = range(RATE * 3 // 1000, RATE * 15 // 1000)
    likeness = np.stack([(frames[:, lag:] * frames[:, :-lag]).mean(axis=1) for lag in lags])
    return RATE / (np.median(likeness.argmax(axis=0)) + lags[0])


def test_the_low_voice_is_about_as_fast_and_lower():
    natural, low = spoken(SENTENCE), spoken(SENTENCE, voice="heart-low")
    assert len(low) / len(natural) == pytest.approx(1, abs=0.15)
    assert pitch(low) / pitch(natural) == pytest.approx(0.85, abs=0.05)


def test_the_length_is_about_what_was_estimated():
    assert len(spoken(TEXT)) / RATE == pytest.approx(SpokenText(TEXT).seconds, rel=0.3)
    assert SpokenText(TEXT, pace=2).seconds == SpokenText(TEXT).seconds / 2


@pytest.mark.parametrize(
    "text",
    [
        "A",
        "Hmm",
        "$9.99 & 50% of 1,250,000",
        "9" * 100,
        "x²+y²=½",
        "AT&T C++ me@x.org #1 @you",
        "a" * 300,
        "(:;-)" * 50 + "x",
    ],
)
def test_unusual_texts_have_a_sound(text):
    samples = spoken(text)
    assert np.isfinite(samples).all()
    assert 0.1 < np.abs(samples).max() < 1


@pytest.mark.parametrize("pace", [0, 0.49, 2.01, -1, float("nan"), "1", True, None])
def test_pace_out_of_range(pace):
    with pytest.raises(ValueError, match=r"pace must be a number from 0\.5 to 2"):
        SpokenText("Hello.", pace=pace)


def test_20000_characters_are_refused_unread():
    began = time.thread_time()
    with pytest.raises(ValueError, match=r"takes about 1\d\d\d s to say; at most 600 s are allowed. Shorten it"):
        next(SpokenText("Hello over there. " * 1112).stream(max_seconds=600))
    assert time.thread_time() - began < 1


def test_a_text_somewhat_too_long_is_refused_while_it_is_read():
    text = SpokenText(TEXT)
    limit = len(spoken(TEXT)) / RATE - 0.5
    blocks = text.stream(max_seconds=limit)
    assert len(next(blocks)) and len(next(blocks))
    with pytest.raises(ValueError, match=f"at most {limit:g} s"):
        next(blocks)
    assert len(list(text.stream(max_seconds=limit + 1))) == 3


def test_an_unknown_voice():
    with pytest.raises(ValueError, match="There is no voice 'nobody': there are heart, heart-low, "):
        spoken("Hello.", voice="nobody")


@pytest.fixture
def voices_folder(monkeypatch, tmp_path):
    """Where other voices are kept, empty; they would come from a port at which nobody answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setattr(hibari.voices, "BASE_URL", f"http://127.0.0.1:{probe.getsockname()[1]}/")
    monkeypatch.setenv("HIBARI_HOME", str(tmp_path))
    return tmp_path


def test_a_voice_that_cannot_be_downloaded(voices_folder):
    assert [voice.name for voice in list_voices() if voice.offline] == ["heart", "heart-low"]
    with pytest.raises(ValueError, match=r"'kore' is not on this machine.*Voices that are here: heart, heart-low"):
        spoken("Hello.", voice="kore")


def test_a_voice_that_was_downloaded_is_here(voices_folder):
    model = Path(hibari.__file__).parent / "assets" / "hibari.onnx"
    shutil.copy(model, voices_folder / hibari.voices.VOICES["fable"]["file"])
    assert [voice.name for voice in list_voices() if voice.offline] == ["heart", "heart-low", "fable"]
    assert len(spoken("Hello.", voice="fable")) > RATE / 2


def test_without_the_package(monkeypatch):
    for name in ("hibari", "hibari.voices"):
        monkeypatch.setitem(sys.modules, name, None)
    assert list_voices() == []
    with pytest.raises(ValueError, match=r"pip install 'asymtalker\[speech\]'"):
        spoken("Hello.", voice="emma")
