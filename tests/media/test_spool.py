import pickle
import time

import numpy as np
import pytest

from asymtalker.media.spool import Handover, PacedSpeech, SpeechSpool, StreamClosed

RATE = 16_000


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return SpeechSpool.create()


def test_what_is_appended_is_read_elsewhere(spool):
    reader = pickle.loads(pickle.dumps(spool))  # as a lent GPU's process gets it
    sound = np.linspace(-1, 1, 1000, dtype=np.float32)
    for piece in np.array_split(sound, 3):
        spool.append(piece)
    assert reader.available() == 1000
    np.testing.assert_array_equal(reader.read(100, 900), sound[100:900])
    assert not reader.ended()
    spool.end()
    assert reader.ended()


def test_closing_frees_the_folder_and_is_known_to_both(spool, tmp_path):
    reader = pickle.loads(pickle.dumps(spool))
    reader.close()
    reader.close()
    assert list(tmp_path.iterdir()) == []
    for use in (spool.available, lambda: spool.append(np.zeros(10)), lambda: spool.read(0, 1)):
        with pytest.raises(StreamClosed):
            use()
    spool.end()
    assert list(tmp_path.iterdir()) == []


def test_a_recording_comes_in_at_the_pace_of_speech():
    source = PacedSpeech(np.zeros(RATE, np.float32), RATE)
    assert source.available() < RATE * 0.05
    time.sleep(0.3)
    assert 0.3 * RATE <= source.available() < 0.8 * RATE
    assert not source.ended()
    source.close()
    with pytest.raises(StreamClosed):
        source.ended()


def test_what_is_left_is_taken_once_and_in_another_process_too(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    here = Handover()
    there = pickle.loads(pickle.dumps(here))  # as arguments come to a process that has a GPU
    assert there.take() is None
    for value in ("first", "second"):
        here.leave(value)
    assert there.take() == "second"
    assert there.take() is here.take() is None
    here.close()
    here.close()
    here.leave("too late")
    assert there.take() is None
    assert not list(tmp_path.iterdir())
