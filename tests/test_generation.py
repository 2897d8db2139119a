"""A portrait and a recording or a text become a file, and nothing is left behind when they do not."""

import resource
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import av
import huggingface_hub
import numpy as np
import pytest
from PIL import Image

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
from asymtalker.media.synthesis import SpokenText
from asymtalker.stages import SPEECH, WRITE, observed
from tests.conftest import wait_until


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


def test_video_is_as_long_as_the_speech(generate):
    result = generate(seed=1)
    assert result.frames == len(read_frames(result.path)) == 33  # ⌈1.3 · 25⌉
    assert read_frames(result.path).shape[1:3] == (120, 160)  # the portrait's
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


def test_the_picture_around_the_square_stays_as_it_is(generate, portrait_file):
    result = generate(seed=1, label=False)
    own, frames = np.asarray(read_portrait(portrait_file)).astype(int), read_frames(result.path)
    difference = np.abs(frames - own)
    assert difference[:, :, :18].mean() < 2 and difference[:, :, 142:].mean() < 2  # but for the codec
    assert difference[:, 40:80, 60:100].mean() > 5  # random weights


@pytest.mark.parametrize(
    ("mode", "size", "shown"),
    [
        ("RGB", (641, 65), (128, 12)),  # a panorama
        ("L", (65, 651), (12, 128)),
        ("RGBA", (171, 131), (128, 98)),
        ("RGB", (4000, 3000), (128, 96)),
        ("RGB", (65, 65), (64, 64)),
    ],
)
def test_pictures_of_any_shape_and_kind(pipeline, speech_file, tmp_path, mode, size, shown):
    across, down = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    pixels = np.stack([across, down, 255 - across, down], axis=-1).astype(np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    options = GenerateOptions(crop=False, seed=1, max_side=128, label=False)
    samples = read_speech(speech_file, pipeline.sampling_rate)[:1000]
    result = generate_video(pipeline, picture, samples, tmp_path / "video.mp4", options)
    frames = read_frames(result.path).astype(int)
    assert frames.shape[2:0:-1] == shown
    outside = np.ones(shown[::-1], bool)
    left, top = ((side - min(shown)) // 2 for side in shown)
    outside[top : top + min(shown), left : left + min(shown)] = False
    expected = np.asarray(read_portrait(picture).resize(shown)).astype(int)
    assert np.abs(frames - expected)[:, outside].sum() <= 8 * 3 * len(frames) * outside.sum()


def test_the_square_alone(generate, pipeline):
    square, picture = generate("square.mp4", seed=1, view="square"), generate("picture.mp4", seed=1, max_side=128)
    assert read_frames(square.path).shape[1:3] == pipeline.frame_size[::-1]
    assert read_frames(picture.path).shape[1:3] == (96, 128)
    # figures are those of the square, whatever is shown
    np.testing.assert_array_equal(square.drift.lab_distance, picture.drift.lab_distance)
    np.testing.assert_array_equal(square.identity, picture.identity)


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
        ("view", "all", "picture or square"),
        ("max_side", 127, "128 to 4096"),
        ("max_side", 4097, "128 to 4096"),
        ("max_side", None, "whole number"),
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


def test_a_checkpoint_on_the_hub(hub, checkpoint):
    files = {str(path.relative_to(checkpoint)): path.read_bytes() for path in Path(checkpoint).rglob("*.*")}
    hub.publish("owner/talker", files | {"training/state.bin": b"not wanted"})
    pipeline = load_pipeline("owner/talker")
    assert pipeline.frame_size == load_pipeline(checkpoint).frame_size
    assert not list(Path(hub.cache).rglob("state.bin"))


def test_a_gated_checkpoint(hub):
    hub.publish("owner/gated", {"model_index.json": b"{}"})
    hub.gated.add("models/owner/gated")
    with pytest.raises(ValueError, match=r"owner/gated is gated: accept its terms .*hf auth login"):
        load_pipeline("owner/gated")


def test_no_such_repository(hub):
    with pytest.raises(ValueError, match="'owner/nothing' is neither a folder nor a repository on the Hub"):
        load_pipeline("owner/nothing")


def test_the_hub_cannot_be_reached(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"owner/far could not be downloaded .* give a folder"):
        load_pipeline("owner/far")


def test_a_repository_of_something_else(hub):
    hub.publish("owner/other", {"config.json": b"{}"})
    with pytest.raises(ValueError, match=r"not the folder of a checkpoint.*model_index\.json"):
        load_pipeline("owner/other")


@pytest.mark.parametrize("share", [0, 0.5])
def test_a_half_downloaded_checkpoint(checkpoint, tmp_path, share):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: int(share * weights.stat().st_size)])
    with pytest.raises(ValueError, match="could not be loaded"):
        load_pipeline(str(folder))


def test_a_chunk_is_written_while_the_next_is_made(pipeline, portrait_file, speech_file, tmp_path):
    """Writing waits here until the next chunk has begun: were it done before that, it would wait forever."""
    begun, chunks, written = [threading.Event() for _ in range(3)], iter(range(3)), []

    @contextmanager
    def observer(name):
        if name == SPEECH:
            begun[next(chunks)].set()
        if name == WRITE:
            written.append(begun[min(len(written) + 1, 2)].wait(30))
        yield

    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    samples = read_speech(speech_file, pipeline.sampling_rate)
    with observed(observer):
        *_, result = stream_video(pipeline, crop, samples, tmp_path / "video.mp4", GenerateOptions(seed=1))
    assert written == [True] * 3
    assert len(read_frames(result.path)) == 33


def test_an_error_of_the_writer_is_said(pipeline, portrait_file, speech_file, tmp_path):
    """As when the disk is full: a file may grow to 1 kB."""
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    samples = read_speech(speech_file, pipeline.sampling_rate)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            list(stream_video(pipeline, crop, samples, tmp_path / "video.mp4", GenerateOptions(seed=1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_a_text_is_spoken(pipeline, portrait_file, tmp_path):
    text, seen = SpokenText("Hello there. How are you?"), []
    options = GenerateOptions(crop=False, seed=1)
    result = generate_video(pipeline, portrait_file, text, tmp_path / "video.mp4", options, seen.append)
    sound = np.concatenate(list(text.stream()))
    assert result.frames == len(read_frames(result.path)) == -(-len(sound) // 640)
    written = read_speech(result.path, pipeline.sampling_rate)
    assert np.corrcoef(written[: len(sound)], sound[: len(written)])[0, 1] > 0.98  # but for the codec
    assert seen[-1].total == seen[-1].frames == result.frames
    assert all(progress.frames <= progress.total for progress in seen)


def being_read():
    return [thread for thread in threading.enumerate() if thread.name == "read aloud"]


def test_frames_come_while_the_text_is_still_being_read(pipeline, portrait_file, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    text = SpokenText("This is one of very many sentences of a text. " * 300)
    steps = stream_video(pipeline, crop, text, tmp_path / "video.mp4", GenerateOptions(seed=1))
    first = next(steps)
    assert being_read()
    assert first.total == pytest.approx(25 * text.seconds, rel=0.01)  # an estimate
    steps.close()
    wait_until(lambda: not being_read(), seconds=5)
    assert list(tmp_path.iterdir()) == []


def test_too_long_a_text_is_refused(pipeline, portrait_file, tmp_path):
    options = GenerateOptions(crop=False, max_seconds=3)
    for text in ("Hello there. " * 1000, "Hello there, how are you? I hope that you are well."):
        with pytest.raises(ValueError, match="at most 3 s are allowed"):
            generate_video(pipeline, portrait_file, SpokenText(text), tmp_path / "video.mp4", options)
    assert list(tmp_path.iterdir()) == []
