import io
import resource

import av
import numpy as np
import pytest
import soundfile
from av.stream import Disposition
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from asymtalker.media.speech import read_speech
from asymtalker.media.video import FragmentWriter, VideoWriter, probe_video, read_frames

FPS, RATE = 25, 16_000


def moving_picture(frames=50, width=96, height=64):
    """Smooth colours that drift, uint8 (F, H, W, 3)."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    waves = [np.sin(x / 15 + t / 9), np.cos(y / 12 - t / 7), np.sin((x + y) / 20)]
    return (127.5 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def clicks(seconds, at):
    samples = np.zeros(round(seconds * RATE), np.float32)
    for time in at:
        samples[round(time * RATE) :][:32] = 0.9
    return samples


def write(path, frames, samples, pieces=4, **options):
    with VideoWriter(path, frames.shape[2:0:-1], FPS, RATE, **options) as writer:
        for picture, sound in zip(np.array_split(frames, pieces), np.array_split(samples, pieces), strict=True):
            writer.write(picture)
            writer.write_speech(sound)


def test_colours_survive(tmp_path):
    frames = moving_picture()
    write(tmp_path / "video.mp4", frames, clicks(2, [1]), label=False)
    decoded = np.stack(list(read_frames(tmp_path / "video.mp4")))
    assert decoded.shape == frames.shape
    error = decoded.astype(float) - frames
    assert np.abs(error).mean() < 3
    assert np.abs(error.mean((0, 1, 2))).max() < 2  # no tint: the matrix is the one that is tagged


@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize("levels", [ColorRange.MPEG, ColorRange.JPEG])
def test_colours_are_read_as_they_are_tagged(tmp_path, matrix, levels):
    skin = np.full((64, 64, 3), (200, 60, 40), np.uint8)  # the two matrices differ by more than 20 levels here
    with av.open(str(tmp_path / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        frame = av.VideoFrame.from_ndarray(skin)
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=levels)))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(next(read_frames(tmp_path / "video.mp4")), skin, atol=4)


def test_sound_stays_with_the_picture(tmp_path):
    times = [0.1, 0.8, 1.7]
    write(tmp_path / "video.mp4", moving_picture(), clicks(2, times))
    samples = read_speech(tmp_path / "video.mp4", RATE)
    for time in times:
        around = slice(round((time - 0.08) * RATE), round((time + 0.08) * RATE))
        found = (np.abs(samples[around]).argmax() + around.start) / RATE
        assert found == pytest.approx(time, abs=0.02)
    assert len(samples) == 2 * RATE


def test_probe(tmp_path):
    write(tmp_path / "video.mp4", moving_picture(), clicks(2, []))
    for source in (tmp_path / "video.mp4", (tmp_path / "video.mp4").read_bytes()):
        probe = probe_video(source)
        assert (probe.fps, probe.frames, probe.width, probe.height) == (25, 50, 96, 64)
        assert probe.seconds == pytest.approx(2)


def test_odd_sizes_gain_a_pixel(tmp_path):
    write(tmp_path / "video.mp4", moving_picture(8, 97, 63), clicks(0.32, []))
    assert next(read_frames(tmp_path / "video.mp4")).shape == (64, 98, 3)


def test_the_file_says_that_it_is_generated(tmp_path):
    for label in (True, False):
        write(
            tmp_path / "video.mp4",
            moving_picture(8),
            clicks(0.32, []),
            label=label,
            metadata={"title": "A talk", "comment": "real"},
        )
        with av.open(str(tmp_path / "video.mp4")) as container:
            assert "AI-generated" in container.metadata["comment"]
            assert container.metadata["title"] == "A talk"


def test_label_is_in_its_corner(tmp_path):
    grey = np.full((8, 128, 128, 3), 128, np.uint8)
    write(tmp_path / "video.mp4", grey, clicks(0.32, []))
    difference = np.abs(next(read_frames(tmp_path / "video.mp4")).astype(int) - 128).max(-1)
    assert difference[:100].max() < 8
    assert difference[100:, 40:].max() > 70


def test_the_frames_of_the_caller_stay_as_they_are(tmp_path):
    grey = np.full((2, 128, 128, 3), 128, np.uint8)
    write(tmp_path / "video.mp4", grey, clicks(0.08, []), pieces=1)
    assert (grey == 128).all()


def test_browsers_can_start_before_the_end_is_there(tmp_path):
    write(tmp_path / "video.mp4", moving_picture(), clicks(2, []))
    data = (tmp_path / "video.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_nothing_is_left_of_a_failure(tmp_path):
    kept = tmp_path / "video.mp4"
    kept.write_bytes(b"an earlier video")
    with pytest.raises(RuntimeError, match="in the middle"), VideoWriter(kept, (96, 64), FPS, RATE) as writer:
        writer.write(moving_picture(8))
        raise RuntimeError("in the middle")
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    assert kept.read_bytes() == b"an earlier video"


def test_nothing_is_there_before_the_end(tmp_path):
    with VideoWriter(tmp_path / "video.mp4", (96, 64), FPS, RATE) as writer:
        writer.write(moving_picture(30))
        assert not (tmp_path / "video.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]


def test_a_video_without_frames_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="at least one frame"),
        VideoWriter(tmp_path / "video.mp4", (96, 64), FPS, RATE) as writer,
    ):
        writer.write_speech(clicks(1, []))
    assert list(tmp_path.iterdir()) == []


def test_a_video_may_be_silent(tmp_path):
    write(tmp_path / "video.mp4", moving_picture(8), np.zeros(0, np.float32))
    assert probe_video(tmp_path / "video.mp4").frames == 8


def test_a_full_disk_leaves_nothing(tmp_path):
    def write_too_much():
        noise = np.random.default_rng(0).integers(0, 256, (60, 128, 128, 3), np.uint8)
        write(tmp_path / "video.mp4", noise, clicks(2.4, []))

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # Python ignores the signal that comes with it
    try:
        with pytest.raises(OSError, match="too large"):
            write_too_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_place_for_a_video(tmp_path):
    with pytest.raises(OSError, match="is a folder"), VideoWriter(tmp_path, (96, 64), FPS, RATE):
        pass


def test_frames_of_another_size_are_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"uint8 \(F, 64, 96, 3\)"),
        VideoWriter(tmp_path / "video.mp4", (96, 64), FPS, RATE) as writer,
    ):
        writer.write(moving_picture(2, 64, 64))


def test_a_missing_folder_is_named(tmp_path):
    with (
        pytest.raises(OSError, match="nowhere"),
        VideoWriter(tmp_path / "nowhere" / "video.mp4", (96, 64), FPS, RATE),
    ):
        pass


def text():
    return b"no video" * 100


def photograph():
    buffer = io.BytesIO()
    Image.fromarray(moving_picture(1)[0]).save(buffer, "jpeg")
    return buffer.getvalue()


def recording():
    buffer = io.BytesIO()
    soundfile.write(buffer, clicks(1, []), RATE, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize("read", [probe_video, lambda source: list(read_frames(source))])
@pytest.mark.parametrize(
    "make, name, message",
    [
        (text, "a.mp4", "a.mp4 could not be decoded"),
        (text, "a.txt", "a.txt could not be decoded"),  # by its name alone, text passes for an ANSI animation
        (photograph, "a.jpg", "a.jpg could not be decoded"),
        (recording, "a.wav", "a.wav has no moving picture"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path, read, make, name, message):
    (tmp_path / name).write_bytes(make())
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)
    with pytest.raises(ValueError, match="The file"):
        read(make())


@pytest.mark.parametrize("read", [probe_video, lambda source: list(read_frames(source))])
def test_an_unknown_codec_is_named_as_the_trouble(tmp_path, read):
    write(tmp_path / "video.mp4", moving_picture(8), clicks(0.32, []))
    with pytest.raises(ValueError, match="codec that cannot be decoded"):
        read((tmp_path / "video.mp4").read_bytes().replace(b"avc1", b"xxxx"))


def test_the_cover_of_a_song_is_no_video(tmp_path):
    with av.open(str(tmp_path / "song.m4a"), "w", format="mp4") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 96, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound = container.add_stream("aac", rate=RATE, layout="mono")
        picture = av.VideoFrame.from_ndarray(moving_picture(1)[0])
        container.mux(cover.encode(picture.reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(clicks(1, [0.5])[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(ValueError, match="no moving picture"):
        probe_video(tmp_path / "song.m4a")
    assert len(read_speech(tmp_path / "song.m4a")) == RATE


def test_fragments_play_while_they_are_made():
    frames, samples = moving_picture(64), clicks(64 / FPS, [0.5, 2])
    writer = FragmentWriter((96, 64), FPS, RATE, label=False)
    pieces = [
        writer.push(picture, sound) for picture, sound in zip(np.split(frames, 4), np.split(samples, 4), strict=True)
    ]
    assert writer.mime.startswith('video/mp4; codecs="avc1.64')
    begun = b"".join(pieces[:2])
    assert len(list(read_frames(begun))) >= 32 - 3  # the rest is held back by the sound's encoder
    video = b"".join([*pieces, writer.close()])
    decoded = np.stack(list(read_frames(video)))
    assert decoded.shape == frames.shape
    assert np.abs(decoded.astype(float) - frames).mean() < 4
    heard = read_speech(video, RATE)
    assert np.abs(heard).argmax() / RATE in (pytest.approx(0.5, abs=0.02), pytest.approx(2, abs=0.02))


@pytest.mark.parametrize("size", [(1080, 108), (108, 1080), (64, 64), (1080, 1080)])
def test_the_label_lies_within_the_frame_and_leaves_most_of_it_free(tmp_path, size):
    grey = np.full((2, size[1], size[0], 3), 128, np.uint8)
    write(tmp_path / "video.mp4", grey, clicks(0.08, []), pieces=1)
    marked = np.abs(next(read_frames(tmp_path / "video.mp4")).astype(int) - 128).max(-1) > 20
    rows, columns = np.flatnonzero(marked.any(1)), np.flatnonzero(marked.any(0))
    assert len(rows) and rows[0] > 0.75 * size[1] and columns[0] > 0.05 * size[0]
    assert marked.mean() < 0.15
