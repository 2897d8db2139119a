import io
import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import soundfile

from asymtalker.media.speech import SpeechResampler, read_speech

RATE = 16_000


def tone(seconds=1.0, rate=RATE, hertz=440.0):
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encode(path, codec, samples, rate=48_000, video=False, late=0.0):
    """Writes sound with PyAV, beside a black picture if `video`; the sound starts `late` seconds after the picture."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25) if video else None
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if picture:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for index in range(25):
                frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))
                frame.pts, frame.time_base = index + round(25 * max(0, -late)), Fraction(1, 25)
                container.mux(picture.encode(frame))
            container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, round(rate * max(0, late))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def loudest_frequency(samples):
    return np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples)


@pytest.mark.parametrize(
    "suffix, codec",
    [("mp3", "libmp3lame"), ("m4a", "aac"), ("ogg", "libopus"), ("webm", "libopus"), ("flac", "flac"), ("mkv", "aac")],
)
def test_compressed_sound_is_decoded(tmp_path, suffix, codec):
    path = tmp_path / f"speech.{suffix}"
    encode(path, codec, tone(rate=48_000), video=suffix == "mkv")
    for source in (path, str(path), path.read_bytes()):
        samples = read_speech(source)
        assert samples.dtype == np.float32 and samples.ndim == 1
        assert len(samples) == pytest.approx(RATE, abs=0.1 * RATE)
        assert loudest_frequency(samples) == pytest.approx(440, abs=2)
        assert np.sqrt(np.square(samples).mean()) == pytest.approx(0.354, rel=0.1)


@pytest.mark.parametrize(
    "subtype, rate, channels", [("PCM_U8", 8_000, 1), ("PCM_16", 96_000, 2), ("PCM_24", 44_100, 6), ("FLOAT", RATE, 1)]
)
def test_wav_of_any_kind_is_decoded(tmp_path, subtype, rate, channels):
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.tile(tone(rate=rate)[:, None], channels), rate, subtype=subtype)
    samples = read_speech(path)
    assert len(samples) == pytest.approx(RATE, abs=20)
    assert loudest_frequency(samples) == pytest.approx(440, abs=1)


def test_sound_that_needs_no_change_is_not_changed(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, tone(), RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_speech(path), tone())


def test_tags_in_an_old_encoding_do_no_harm(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, tone(), RATE)
    info = b"INFOINAM" + struct.pack("<I", 4) + "café".encode("latin-1")
    data = path.read_bytes() + b"LIST" + struct.pack("<I", len(info)) + info
    assert len(read_speech(data[:4] + struct.pack("<I", len(data) - 8) + data[8:])) == RATE


def test_recordings_joined_at_different_rates(tmp_path):
    for rate in (48_000, 24_000):
        encode(tmp_path / f"{rate}.aac", "aac", tone(rate=rate), rate)
    samples = read_speech((tmp_path / "48000.aac").read_bytes() + (tmp_path / "24000.aac").read_bytes())
    assert len(samples) == pytest.approx(2 * RATE, abs=0.1 * RATE)
    for half in np.split(samples[: len(samples) // 2 * 2], 2):
        assert loudest_frequency(half) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("late, silence", [(0.4, 0.4), (0.0, 0.0)])
def test_sound_that_starts_late_stays_with_the_picture(tmp_path, late, silence):
    encode(tmp_path / "video.mkv", "aac", tone(rate=48_000), video=True, late=late)
    samples = read_speech(tmp_path / "video.mkv")
    assert np.abs(samples).argmax() > silence * RATE
    assert (np.abs(samples) > 0.1).argmax() / RATE == pytest.approx(silence, abs=0.02)


def test_sound_before_the_picture_is_left_out(tmp_path):
    encode(tmp_path / "video.mkv", "aac", tone(rate=48_000), video=True, late=-0.4)
    assert len(read_speech(tmp_path / "video.mkv")) / RATE == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("dtype, scale", [(np.int16, 32768), (np.int32, 2**31), (np.float32, 1), (np.float64, 1)])
def test_samples_of_a_microphone(dtype, scale):
    stereo = np.stack([tone(rate=48_000), np.zeros(48_000)], axis=1)
    samples = read_speech((48_000, (stereo * scale).astype(dtype)))
    assert len(samples) == RATE
    np.testing.assert_allclose(samples[100:-100], 0.5 * tone()[100:-100], atol=2e-3)


def test_eight_bit_samples():
    np.testing.assert_allclose(read_speech(np.array([0, 128, 255], np.uint8)), [-1, 0, 127 / 128])


def test_what_is_no_number_becomes_silence():
    samples = read_speech(np.array([0.1, np.nan, np.inf, -np.inf, 5.0], np.float32))
    np.testing.assert_allclose(samples, [0.1, 0, 1, -1, 1])


def test_silence_is_speech():
    assert not read_speech(np.zeros(RATE, np.float32)).any()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: path.write_text("this is no sound" * 100), "could not be decoded as sound"),
        (lambda path: path.write_bytes(b""), "could not be decoded as sound"),
        (lambda path: soundfile.write(path, np.zeros(0), RATE), "empty"),
        (lambda path: path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n"), "decoded"),
    ],
)
def test_files_without_sound_are_refused(tmp_path, make, message):
    path = tmp_path / "speech.wav"
    make(path)
    with pytest.raises(ValueError, match=message):
        read_speech(path)


def test_a_film_without_sound_is_refused(tmp_path):
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match="has no sound"):
        read_speech(buffer.getvalue())


def test_empty_samples_are_refused():
    with pytest.raises(ValueError, match="empty"):
        read_speech((48_000, np.zeros(0, np.int16)))


@pytest.mark.parametrize("samples", [np.zeros((2, 2, 2), np.float32), np.array(["a"])])
def test_samples_that_are_none_are_refused(samples):
    with pytest.raises(ValueError, match="Samples must"):
        read_speech(samples)


def test_the_limit_is_named(tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, tone(2.5), RATE)
    for source in (path, (RATE, tone(2.5))):
        with pytest.raises(ValueError, match=r"lasts 2\.5 s .* at most 2 s"):
            read_speech(source, max_seconds=2)
        assert len(read_speech(source, max_seconds=2.5)) == 2.5 * RATE


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(OSError, match=r"nothing\.wav"):
        read_speech(tmp_path / "nothing.wav")


def test_sound_in_pieces_is_resampled_as_one():
    tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000).astype(np.float32)
    resampler = SpeechResampler(48_000)
    pieces = [resampler.push(16_000, piece) for piece in np.array_split(tone, 7)]
    whole = np.concatenate([*pieces, resampler.flush()])
    expected = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    assert len(whole) == 48_000
    np.testing.assert_allclose(whole[300:-300], expected[300:-300], atol=0.01)
    assert len(SpeechResampler().flush()) == 0
