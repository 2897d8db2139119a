"""Moving previews of examples."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asymtalker import previews
from asymtalker.media.portrait import crop_portrait
from asymtalker.media.video import MARK, VideoWriter, probe_video
from asymtalker.previews import (
    FRAMES_PER_SECOND,
    SECONDS,
    SIDE,
    loop_length,
    make_previews,
    show_face,
    write_example,
    write_preview,
)
from tests.conftest import write_speech

SHORTEST, LONGEST = (round(seconds * FRAMES_PER_SECOND) for seconds in SECONDS)


def swinging(count, period, noise=0.0):
    """A bright square that swings from side to side, uint8 (count, 40, 60, 3)."""
    generator = np.random.default_rng(1)
    frames = noise * generator.uniform(0, 255, (count, 40, 60, 3))
    for frame, turn in zip(frames, np.arange(count) / period, strict=True):
        left = round(20 + 15 * np.sin(2 * np.pi * turn))
        frame[15:25, left : left + 10] = 255
    return frames.astype(np.uint8)


@pytest.mark.parametrize("period", [33, 37, 41])
def test_the_loop_ends_where_the_video_looks_as_at_its_beginning(period):
    assert loop_length(swinging(LONGEST + 1, period)) == period


@pytest.mark.parametrize("count", [1, SHORTEST, SHORTEST + 1])
def test_a_short_video_is_repeated_as_a_whole(count):
    assert loop_length(swinging(count, 33)) == min(count, SHORTEST)


def write_video(path, frames):
    with VideoWriter(path, frames.shape[2:0:-1], 25, 16_000, label=False) as writer:
        writer.write(frames)
    return path


def played_milliseconds(preview):
    """Frames that look the same are one of the file."""
    durations = []
    for index in range(preview.n_frames):
        preview.seek(index)
        preview.load()
        durations.append(preview.info["duration"])
    return sum(durations)


def test_a_preview_repeats_for_ever_and_says_what_it_is(tmp_path):
    large = swinging(100, 66).repeat(8, axis=1).repeat(8, axis=2)
    write_preview(write_video(tmp_path / "video.mp4", large), tmp_path / "previews" / "anna.webp")
    with Image.open(tmp_path / "previews" / "anna.webp") as preview:
        assert preview.is_animated
        assert played_milliseconds(preview) == 33 * 80  # every second frame of a period
        assert preview.size == (SIDE, round(SIDE * 40 / 60))
        assert preview.info["loop"] == 0
        assert MARK in preview.getexif().values()
    assert [path.name for path in (tmp_path / "previews").iterdir()] == ["anna.webp"]


def test_the_beginning_is_every_second_frame(tmp_path):
    frames = np.zeros((9, 40, 60, 3), np.uint8) + 25 * np.arange(9, dtype=np.uint8)[:, None, None, None]
    read = previews._read_beginning(write_video(tmp_path / "video.mp4", frames))
    assert read.shape == (5, 40, 60, 3)
    np.testing.assert_allclose(read.mean(axis=(1, 2, 3)), [0, 50, 100, 150, 200], atol=3)


def test_a_small_face_is_shown_closer(tmp_path):
    nora = Image.open("examples/nora.jpg")
    nora.save(tmp_path / "near.png")
    np.testing.assert_array_equal(show_face(tmp_path / "near.png"), nora)
    canvas = Image.new("RGB", (900, 1200), (120, 130, 140))
    canvas.paste(nora.resize((200, 200)), (650, 100))  # near the edge
    canvas.save(tmp_path / "far.png")
    shown = show_face(tmp_path / "far.png")
    assert shown.width == shown.height < 400
    assert crop_portrait(shown).box.side > 0.4 * shown.width


def test_quality_falls_until_a_preview_is_small_enough(tmp_path, monkeypatch):
    video, preview = write_video(tmp_path / "video.mp4", swinging(70, 66, noise=0.3)), tmp_path / "anna.webp"
    write_preview(video, preview)
    best = preview.stat().st_size
    monkeypatch.setattr(previews, "MAX_BYTES", best - 1)
    write_preview(video, preview)
    assert 0.5 * best < (smaller := preview.stat().st_size) < best
    monkeypatch.setattr(previews, "MAX_BYTES", 1_000)
    with pytest.raises(ValueError, match="more than 1000 bytes: choose a calmer picture"):
        write_preview(video, preview)
    assert preview.stat().st_size == smaller  # what was there is kept


def test_previews_are_made_of_pictures_that_have_a_recording(pipeline, tmp_path):
    nora = Image.open("examples/nora.jpg")
    nora.resize((160, 160)).save(tmp_path / "anna.jpg")
    nora.save(tmp_path / "silent.jpg")
    with pytest.raises(ValueError, match="no portrait"):
        make_previews(pipeline, tmp_path)
    write_speech(tmp_path / "anna.wav", 1.0)
    paths = make_previews(pipeline, tmp_path)
    assert paths == [tmp_path / "previews" / "anna.webp", tmp_path / "previews" / "anna.mp4"]
    assert probe_video(paths[1]).frames == 25
    first = [path.read_bytes() for path in paths]
    make_previews(pipeline, tmp_path)
    assert [path.read_bytes() for path in paths] == first


def test_an_examples_video_is_reduced_until_it_is_small_enough(pipeline, tmp_path, monkeypatch):
    Image.open("examples/nora.jpg").resize((400, 400)).save(tmp_path / "anna.jpg")
    speech = write_speech(tmp_path / "anna.wav", 0.2)
    (tmp_path / "previews").mkdir()
    write_example(pipeline, Path(speech).with_suffix(".jpg"))
    video = tmp_path / "previews" / "anna.mp4"
    assert probe_video(video).width == 400
    monkeypatch.setattr(previews, "MAX_VIDEO_BYTES", video.stat().st_size - 1)
    write_example(pipeline, tmp_path / "anna.jpg")
    assert probe_video(video).width == 384
    monkeypatch.setattr(previews, "MAX_VIDEO_BYTES", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes: shorten its recording"):
        write_example(pipeline, tmp_path / "anna.jpg")
    assert not video.exists()
