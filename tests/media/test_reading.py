"""A text that is being read aloud while somebody listens."""

import pickle
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from asymtalker.media.reading import read_aloud
from asymtalker.media.spool import PacedSpeech, SpeechSpool, StreamClosed
from asymtalker.media.synthesis import SpokenText, load_synthesizer
from tests.conftest import wait_until

RATE = 16_000
LONG = "This is a sentence of a text that takes long to read. " * 200


@pytest.fixture(scope="module", autouse=True)
def _voice():
    load_synthesizer()


def readers():
    return [thread for thread in threading.enumerate() if thread.name == "read aloud"]


def test_all_of_it_arrives():
    text = SpokenText("Hello there. How are you?")
    spool = read_aloud(text, RATE)
    wait_until(spool.ended, seconds=10)
    expected = np.concatenate(list(text.stream()))
    np.testing.assert_array_equal(spool.read(0, spool.available()), expected)
    spool.close()


def test_closing_ends_the_reading(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spool = read_aloud(SpokenText(LONG), RATE)
    wait_until(lambda: spool.available() > 0, seconds=10)
    assert not spool.ended()
    spool.close()
    wait_until(lambda: not readers(), seconds=5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "limit", "said"),
    [(SpokenText(LONG), 10, "at most 10 s"), (SpokenText("Hello.", voice="nobody"), None, "no voice 'nobody'")],
)
def test_what_is_wrong_reaches_the_listener(text, limit, said):
    spool = read_aloud(text, RATE, limit)
    wait_until(lambda: not readers(), seconds=10)
    with pytest.raises(ValueError, match=said):
        spool.available()
    spool.close()


def test_paced_it_comes_as_it_is_spoken():
    spool = SpeechSpool.create()
    paced = PacedSpeech(pickle.loads(pickle.dumps(spool)), RATE)  # a lent GPU is used from another process
    assert (paced.available(), paced.ended()) == (0, False)
    samples = np.linspace(-1, 1, RATE // 4, dtype=np.float32)
    spool.append(samples)
    spool.end()
    began = time.monotonic()
    assert paced.available() < len(samples)
    wait_until(paced.ended, seconds=5)
    assert time.monotonic() - began >= 0.24
    np.testing.assert_array_equal(paced.read(0, paced.available()), samples)
    paced.close()
    with pytest.raises(StreamClosed):
        paced.available()


def test_a_failed_recording_says_why_until_it_is_closed(tmp_path):
    spool = SpeechSpool(tmp_path / "spool")
    spool.fail("nobody asks any more")  # closed already
    assert not Path(tmp_path / "spool").exists()
