"""Live streams: in step with the speaker where there is time, bounded lag where there is not, nothing left behind."""

import io
import threading
import time
from itertools import islice

import av
import numpy as np
import pytest

from asymtalker import live
from asymtalker.generation import GenerateOptions
from asymtalker.live import LiveSources, LiveSpeech, Microphone, stream_live
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.spool import PacedSpeech, SpeechSpool, StreamClosed

RATE, FPS = 16_000, 25
FRAME = RATE // FPS


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def spool():
    return SpeechSpool.create()


@pytest.fixture
def crop(portrait_file):
    return crop_portrait(read_portrait(portrait_file), find_face=False)


def ramp(frames):
    """Sound in which every sample tells where it belongs."""
    return (np.arange(frames * FRAME) / 1e6).astype(np.float32)


def listen(spool, chunk_frames=16, steps=3, max_seconds=None):
    return LiveSpeech(spool, RATE, FPS, chunk_frames, steps, max_seconds)


def test_hands_on_all_of_the_sound(spool):
    spool.append(ramp(20))
    spool.append(np.zeros(100, np.float32))
    spool.end()
    speech = listen(spool)
    np.testing.assert_array_equal(np.concatenate(list(speech))[: 20 * FRAME], ramp(20))
    np.testing.assert_array_equal(speech.take(16), ramp(20)[: 16 * FRAME])
    assert len(speech.take(5)) == 5 * FRAME  # the last frame's sound is filled up


def test_waits_for_sound(spool):
    speech = listen(spool)
    threading.Timer(0.2, lambda: spool.append(ramp(4))).start()
    began = time.monotonic()
    assert len(next(speech)) == live.BLOCK_FRAMES * FRAME
    assert 0.15 < time.monotonic() - began < 0.6


def test_skips_where_too_much_waits(spool):
    speech = listen(spool)
    spool.append(ramp(25))
    next(speech)
    spool.append(ramp(100))  # 4 s come at once
    block = next(speech)
    waiting = 25 + 100 - live.BLOCK_FRAMES
    assert speech.skipped == pytest.approx((waiting - live.BLOCK_FRAMES) / FPS)
    np.testing.assert_array_equal(block, ramp(100)[-len(block) :])
    assert speech.age(0) < 0.5 + live.BLOCK_FRAMES * 2 / FPS


def test_what_comes_while_a_long_chunk_is_made_is_not_skipped(spool):
    speech = listen(spool, chunk_frames=80)
    spool.append(ramp(100))
    next(speech)
    assert speech.skipped == 0


def test_takes_fewer_steps_while_behind(spool):
    speech = listen(spool, steps=3)
    spool.append(ramp(15))
    assert [speech.choose_steps() for _ in range(4)] == [2, 1, 1, 1]
    assert speech.behind == pytest.approx(0.6)
    list(islice(speech, 7))
    assert [speech.choose_steps() for _ in range(3)] == [2, 3, 3]


def test_ends_at_the_limit(spool):
    spool.append(ramp(30))
    assert sum(map(len, listen(spool, max_seconds=1))) == 25 * FRAME


def test_a_microphone_that_gives_nothing_is_said(spool, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.1)
    with pytest.raises(ValueError, match="allow this page to use the microphone"):
        next(listen(spool))


def test_lost_sound_is_no_lag(spool, monkeypatch):
    monkeypatch.setattr(live, "CLOCK_MEMORY", 0.1)
    speech = listen(spool)
    for pause in (0, 0.5, 0, 0.2):  # half a second is lost
        time.sleep(pause)
        spool.append(ramp(2))
        next(speech)
    assert speech.age(8 / FPS) < 0.2


def test_pieces_are_one_video(pipeline, crop, speech_file):
    samples = read_speech(speech_file, RATE)
    chunks = list(stream_live(pipeline, crop, PacedSpeech(samples, RATE), GenerateOptions(seed=1)))
    assert [chunk.start for chunk in chunks] == pytest.approx([0, 0.64, 1.28, 1.32])
    assert [chunk.seconds for chunk in chunks] == pytest.approx([0.64, 0.64, 0.04, 0])
    assert all(0 <= chunk.age < 2 for chunk in chunks)
    video = b"".join(chunk.data for chunk in chunks)
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 33
    assert frames[0].shape == (120, 160, 3)  # the portrait's
    heard = read_speech(video, RATE)[: len(samples)]
    assert np.corrcoef(heard, samples[: len(heard)])[0, 1] > 0.99


def test_closing_frees_a_stream_that_waits(pipeline, crop, spool, folder):
    spool.append(ramp(20))
    chunks = stream_live(pipeline, crop, spool, GenerateOptions())
    threading.Timer(0.3, spool.close).start()
    began = time.monotonic()
    assert [chunk.start for chunk in chunks] == [0]  # there is no second, and no last one
    assert time.monotonic() - began < 1
    assert list(folder.iterdir()) == []


def test_a_chunk_that_was_being_made_when_it_was_closed_is_not_shown(pipeline, crop, spool):
    spool.append(ramp(34))  # two chunks
    chunks = stream_live(pipeline, crop, spool, GenerateOptions())
    next_chunk = pipeline.next_chunk

    def close_meanwhile(state):
        spool.close()
        return next_chunk(state)

    assert next(chunks).start == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "next_chunk", close_meanwhile)
        assert list(chunks) == []


def test_a_visitor_has_one_source():
    sources = LiveSources()
    first, second, other = (Microphone(RATE, 10) for _ in range(3))
    sources.open("one", first)
    sources.open("two", other)
    sources.open("one", second)
    with pytest.raises(StreamClosed):
        first.spool.available()
    sources.close("one", first)  # a run that ends late
    assert sources.microphone("one") is second
    sources.close("one")
    sources.close("one")
    assert sources.microphone("one") is None
    assert sources.microphone("two") is other


def test_a_microphone_resamples_without_seams_and_stops_at_its_limit():
    microphone = Microphone(RATE, max_seconds=1.5)
    tone = (np.sin(2 * np.pi * 440 * np.arange(48_000 * 2) / 48_000) * 16_000).astype(np.int16)
    for piece in np.array_split(tone, 20):
        microphone.hear(48_000, piece)
    heard = microphone.spool.read(0, microphone.spool.available())
    assert 1.5 <= len(heard) / RATE < 1.7
    assert microphone.spool.ended()
    assert np.abs(np.diff(heard[100:-100])).max() < 0.5 * 2 * np.pi * 440 / RATE * 1.05
    with pytest.raises(ValueError, match="changed from 48000 Hz"):
        Microphone.hear(microphone_of(48_000), 44_100, tone)
    microphone.close()
    microphone.hear(48_000, tone)  # nobody listens: nothing happens


def microphone_of(rate):
    microphone = Microphone(RATE, 10)
    microphone.hear(rate, np.zeros(100, np.int16))
    return microphone
