"""Live streams: in step with the speaker where there is time, bounded lag where there is not, nothing left behind."""

import io
import threading
import time
from itertools import islice

import av
import numpy as np
import pytest

from asymtalker import listening
from asymtalker import live as live_module
from asymtalker.generation import GenerateOptions
from asymtalker.listening import LiveSpeech
from asymtalker.live import Microphone, make_ready, stream_live
from asymtalker.media.packets import PacketWriter
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.spool import Handover, PacedSpeech, SpeechSpool, StreamClosed
from asymtalker.pace import Cost, Pace, choose_pace
from tests.tiny import tiny_motion_pipeline

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
    """Sound in which every sample tells where it belongs, and in which somebody speaks."""
    return (0.1 + np.arange(frames * FRAME) / 1e6).astype(np.float32)


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
    assert len(next(speech)) == FRAME
    assert time.monotonic() - began > 0.15


def test_skips_where_too_much_waits(spool):
    speech = listen(spool)
    spool.append(ramp(25))
    next(speech)
    spool.append(ramp(100))  # 4 s come at once
    block = next(speech)
    assert speech.skipped == pytest.approx((24 + 100 - 16) / FPS)
    np.testing.assert_array_equal(block, ramp(100)[-16 * FRAME : -15 * FRAME])


def test_what_comes_while_a_long_chunk_is_made_is_not_skipped(spool):
    speech = listen(spool, chunk_frames=80)
    spool.append(ramp(100))
    next(speech)
    assert speech.skipped == 0


def test_leaves_out_silence_and_no_word_while_it_catches_up(spool):
    speech = listen(spool, chunk_frames=4)
    spool.append(np.concatenate([np.zeros(6 * FRAME), ramp(6), np.zeros(8 * FRAME)]).astype(np.float32))
    spool.end()
    heard = np.concatenate(list(speech))
    assert speech.skipped == 0
    assert len(heard) < 20 * FRAME
    np.testing.assert_array_equal(heard[heard != 0], ramp(6))


def test_a_recording_waits_and_is_handed_on_whole():
    samples = ramp(20)
    source = PacedSpeech(samples, RATE)
    speech = listen(source, chunk_frames=4)
    blocks = [next(speech)]
    time.sleep(0.6)  # generation is slow
    blocks += list(speech)
    np.testing.assert_array_equal(np.concatenate(blocks), samples)
    assert speech.skipped == 0
    assert speech.age(20 / FPS) < 0.3


def test_speech_that_comes_faster_than_it_is_spoken_is_paced(spool):
    spool.append(ramp(10))
    source = PacedSpeech(spool, RATE)
    source.available()
    time.sleep(0.2)
    assert 0.2 * RATE <= source.available() < 10 * FRAME
    time.sleep(0.3)
    assert source.available() == 10 * FRAME and not source.ended()
    spool.append(ramp(10))  # it comes late, and is not hurried through
    assert source.available() < 11 * FRAME
    source.close()
    with pytest.raises(StreamClosed):
        spool.available()


def test_another_stream_goes_on_where_the_last_one_was(spool):
    spool.append(ramp(10))
    speech = listen(spool)
    list(islice(speech, 6))
    np.testing.assert_array_equal(speech.take(4), ramp(4))
    speech.rewind()
    np.testing.assert_array_equal(next(speech), ramp(10)[4 * FRAME : 6 * FRAME])
    next(speech)
    np.testing.assert_array_equal(speech.take(3), ramp(10)[4 * FRAME : 7 * FRAME])


def test_takes_fewer_steps_while_behind(spool):
    speech = listen(spool, steps=3)
    spool.append(ramp(15))
    assert [speech.choose_steps() for _ in range(4)] == [2, 1, 1, 1]
    assert speech.behind == pytest.approx(0.6)
    list(islice(speech, 14))
    assert [speech.choose_steps() for _ in range(3)] == [2, 3, 3]


def test_ends_at_the_limit(spool):
    spool.append(ramp(30))
    assert sum(map(len, listen(spool, max_seconds=1))) == 25 * FRAME


def test_a_microphone_that_gives_nothing_is_said(spool, monkeypatch):
    monkeypatch.setattr(listening, "PATIENCE", 0.1)
    with pytest.raises(ValueError, match="allow this page to use the microphone"):
        next(listen(spool))


def test_lost_sound_is_no_lag(spool, monkeypatch):
    monkeypatch.setattr(listening, "CLOCK_MEMORY", 0.1)
    speech = listen(spool)
    for pause in (0, 0.5, 0, 0.2):  # half a second is lost
        time.sleep(pause)
        spool.append(ramp(1))
        next(speech)
    assert speech.age(4 / FPS) < 0.2


def test_pieces_are_one_video(pipeline, crop, speech_file):
    samples = read_speech(speech_file, RATE)
    chunks = list(stream_live(pipeline, crop, PacedSpeech(samples, RATE), GenerateOptions(seed=1)))
    ends = [chunk.start + chunk.seconds for chunk in chunks]
    assert [chunk.start for chunk in chunks] == pytest.approx([0, *ends[:-1]])
    assert ends[-1] == pytest.approx(33 / 25)
    assert chunks[-1].seconds == chunks[-1].skipped == 0
    video = b"".join(chunk.data for chunk in chunks)
    with av.open(io.BytesIO(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 33
    assert frames[0].shape == (120, 160, 3)  # the portrait's
    heard = read_speech(video, RATE)[: len(samples)]
    assert np.corrcoef(heard, samples[: len(heard)])[0, 1] > 0.99


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_speech_as_short_as_what_is_looked_ahead(pipeline, crop, frames):
    chunks = list(stream_live(pipeline, crop, PacedSpeech(ramp(frames), RATE), GenerateOptions(), PacketWriter))
    assert sum(chunk.seconds for chunk in chunks) == pytest.approx(frames / FPS)
    assert sum(int.from_bytes(chunk.data[:2], "little") for chunk in chunks) == frames


def test_another_portrait_takes_over_and_no_sound_is_lost(pipeline, crop, folder):
    samples, portraits = ramp(100), Handover()
    source = PacedSpeech(samples, 4 * RATE)  # one who speaks fast
    chunks = stream_live(pipeline, crop, source, GenerateOptions(), PacketWriter, portraits)
    sizes, sound = [], []
    for number, chunk in enumerate(chunks):
        if number == 0:
            portraits.leave((crop, GenerateOptions(max_side=128)))
        sizes.append(chunk.size)
        sound.append(unpack(chunk.data)[1])
    assert sizes[0] == (160, 120) and sizes[-1] == (128, 96)
    assert sorted(sizes, reverse=True) == sizes  # once
    np.testing.assert_allclose(np.concatenate(sound), samples, atol=1e-4)
    portraits.close()
    portraits.leave("too late")
    assert portraits.take() is None


def unpack(piece):
    """The frames of a piece, and its sound."""
    count = int.from_bytes(piece[:2], "little")
    sizes = [int.from_bytes(piece[2 + 5 * at : 6 + 5 * at], "little") for at in range(count)]
    starts = 2 + 5 * count + np.cumsum([0, *sizes])
    sound = np.frombuffer(piece[starts[-1] :], "<i2") / np.float32(32767)
    return [piece[start : start + size] for start, size in zip(starts[:-1], sizes, strict=True)], sound


@pytest.fixture(scope="module")
def several():
    """A pipeline whose checkpoint states a length for Live: chunks of 4 and of 8 frames."""
    pipeline = tiny_motion_pipeline()
    pipeline.register_to_config(live_window_frames=13)
    pipeline.live_layout = pipeline.layout.holding(13)
    return pipeline


def test_a_portrait_is_made_ready_once(several, crop):
    portrait = np.asarray(crop.image)
    observed = several.renderer.observe(portrait)
    make_ready(several, crop, GenerateOptions(view="square", max_side=512))
    face = several.renderer.prepare(portrait, observed)
    assert several.renderer.prepare(portrait, observed) is face
    others = [several.renderer.prepare(np.roll(portrait, shift), observed) for shift in (1, 2)]
    assert others[0] is not others[1]
    assert several.renderer.prepare(portrait, observed) is not face  # only the last few are kept


@pytest.mark.parametrize(
    ("cost", "pace"),
    [
        (Cost(0.05, 0.02), Pace(9, 512)),
        (Cost(0.2, 0.02), Pace(13, 512)),  # the network is slow
        (Cost(0.05, 0.05), Pace(9, 384)),  # rendering is
        (Cost(0.2, 0.05), Pace(13, 384)),
        (Cost(5, 5), Pace(13, 256)),
    ],
)
def test_length_and_size_are_such_that_this_machine_keeps_up(several, cost, pace):
    assert choose_pace(several, cost, 512, 512) == pace


def test_a_checkpoint_of_one_length_keeps_it(pipeline):
    assert choose_pace(pipeline, Cost(5, 5), 512, 512) == Pace(pipeline.layout.window_frames, 512)


def test_a_slow_machine_gets_longer_chunks_and_all_of_the_sound(several, crop, monkeypatch):
    monkeypatch.setattr(live_module, "choose_pace", lambda *_: Pace(13, 128))
    samples = ramp(30)
    chunks = list(stream_live(several, crop, PacedSpeech(samples, 4 * RATE), GenerateOptions(), PacketWriter))
    assert [round(FPS * chunk.seconds) for chunk in chunks] == [8, 8, 8, 6, 0]
    assert {chunk.size for chunk in chunks} == {(128, 96)}
    np.testing.assert_allclose(np.concatenate([unpack(chunk.data)[1] for chunk in chunks]), samples, atol=1e-4)


def test_closing_frees_a_stream_that_waits(pipeline, crop, spool, folder):
    spool.append(ramp(18))  # a chunk and a bit
    chunks = stream_live(pipeline, crop, spool, GenerateOptions())
    assert next(chunks).start == 0
    threading.Timer(0.1, spool.close).start()
    assert list(chunks) == []  # there is no second, and no last one
    assert list(folder.iterdir()) == []


def test_a_chunk_that_was_being_made_when_it_was_closed_is_not_shown(pipeline, crop, spool):
    spool.append(ramp(18))  # a chunk and a bit
    chunks = stream_live(pipeline, crop, spool, GenerateOptions())
    next_chunk = pipeline.next_chunk

    def close_meanwhile(state):
        spool.close()
        return next_chunk(state)

    assert next(chunks).start == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "next_chunk", close_meanwhile)
        spool.append(ramp(18))
        assert list(chunks) == []


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
