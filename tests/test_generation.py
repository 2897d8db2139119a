"""A portrait and a recording become a file, and nothing is left behind when they do not."""

import av
import numpy as np
import pytest

from asymtalker.generation import (
    GenerateOptions,
    GenerateProgress,
    GenerateResult,
    generate_video,
    load_pipeline,
    stream_video,
)
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.speech import read_speech


@pytest.fixture
def generate(pipeline, portrait_file, speech_file, tmp_path):
    """Makes the video of the fixtures under some options."""

    def run(name="video.mp4", on_progress=None, **options):
        options = GenerateOptions(**({"crop": False} | options))
        return generate_video(pipeline, portrait_file, speech_file, tmp_path / name, options, on_progress)

    return run


def read_frames(path):
    """(F, H, W, 3)"""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_video_is_as_long_as_the_speech(generate, pipeline):
    result = generate(seed=1)
    assert result.frames == len(read_frames(result.path)) == 33  # ⌈1.3 · 25⌉
    assert read_frames(result.path).shape[1:3] == pipeline.frame_size[::-1]
    with av.open(str(result.path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert float(sound.duration * sound.time_base) == pytest.approx(1.3, abs=0.07)  # AAC comes in frames of 64 ms
        assert float(video.duration * video.time_base) == pytest.approx(33 / 25)


def test_figures_of_a_run(generate):
    result = generate(seed=7)
    assert result.seed == 7
    assert result.seconds == pytest.approx(33 / 25)
    assert 0 < result.first_frame <= result.elapsed
    assert result.frames_per_second == pytest.approx(33 / result.elapsed)
    assert result.identity.shape == (2,)  # a second, and the rest


def test_progress_reaches_the_total(generate):
    seen: list[GenerateProgress] = []
    generate(on_progress=seen.append)
    assert [progress.frames for progress in seen] == [16, 32, 33]
    assert {progress.total for progress in seen} == {33}
    assert seen[0].remaining > 0
    assert seen[-1].remaining == 0


def test_a_drawn_seed_makes_the_same_video_again(generate):
    first = generate("first.mp4")
    again = generate("again.mp4", seed=first.seed)
    other = generate("other.mp4", seed=(first.seed + 1) % 2**32)
    np.testing.assert_array_equal(read_frames(first.path), read_frames(again.path))
    assert (read_frames(first.path) != read_frames(other.path)).any()


def test_label_is_drawn_unless_turned_off(generate):
    labelled, plain = generate("labelled.mp4", seed=1), generate("plain.mp4", seed=1, label=False)
    assert (read_frames(labelled.path) != read_frames(plain.path)).any()


def test_closing_early_leaves_no_file(pipeline, portrait_file, speech_file, tmp_path):
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    samples = read_speech(speech_file, pipeline.sampling_rate)
    steps = stream_video(pipeline, crop, samples, tmp_path / "video.mp4", GenerateOptions())
    assert isinstance(next(steps), GenerateProgress)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_stream_ends_with_the_result(pipeline, portrait_file, speech_file, tmp_path):
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    samples = read_speech(speech_file, pipeline.sampling_rate)
    *progress, result = stream_video(pipeline, crop, samples, tmp_path / "video.mp4", GenerateOptions())
    assert all(isinstance(step, GenerateProgress) for step in progress)
    assert isinstance(result, GenerateResult)


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("seed", -1, "0 to 4294967295"),
        ("seed", 2**32, "0 to 4294967295"),
        ("seed", 1.5, "whole number"),
        ("steps", 0, "1 to 100"),
        ("steps", 101, "1 to 100"),
        ("color_match", 1.1, "0 to 1"),
        ("max_seconds", 0, "greater than 0"),
    ],
)
def test_option_out_of_range_is_named(option, value, allowed):
    with pytest.raises(ValueError, match=f"{option} .*{allowed}.*{value}"):
        GenerateOptions(**{option: value})


def test_no_face_is_said(generate, tmp_path):
    with pytest.raises(ValueError, match="No face"):
        generate(crop=True)
    assert list(tmp_path.iterdir()) == []


def test_too_long_speech_is_refused(generate, tmp_path):
    with pytest.raises(ValueError, match="1"):
        generate(max_seconds=1.0)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_an_error(generate):
    with pytest.raises(OSError, match="nowhere"):
        generate("nowhere/video.mp4")


def test_checkpoint_is_loaded_once(checkpoint, monkeypatch):
    monkeypatch.setenv("ASYMTALKER_CHECKPOINT", checkpoint)
    assert load_pipeline() is load_pipeline(checkpoint)


@pytest.mark.parametrize("name", ["nothing", "./owner/name", "/no/such/folder"])
def test_unknown_checkpoint_is_named(name):
    with pytest.raises(ValueError, match=f"{name}.* folder .* Hub id"):
        load_pipeline(name)
