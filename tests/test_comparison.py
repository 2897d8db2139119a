"""Two settings on the same portrait, speech and noise."""

import numpy as np
import pytest

from asymtalker import track
from asymtalker.chunks import video_frame_count
from asymtalker.comparison import Comparison, compare_videos, describe_difference
from asymtalker.generation import GenerateOptions
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.reading import read_aloud
from asymtalker.media.speech import read_speech
from asymtalker.media.synthesis import SpokenText
from asymtalker.media.video import probe_video


@pytest.fixture
def compare(checkpoint, portrait_file, speech_file, tmp_path):
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    samples = read_speech(speech_file)

    def run(left, right, apart=True):
        pair = tuple(GenerateOptions(checkpoint, seed=3, **side) for side in (left, right))
        return list(compare_videos(crop, samples, tmp_path, pair, apart))

    return run


def test_both_are_made_and_shown(compare):
    *progress, comparison = compare({"steps": 1}, {"steps": 2})
    assert [step.frames for step in progress] == [16, 32, 48, 64, 65, 66]
    assert {step.total for step in progress} == {66}
    assert [step.elapsed for step in progress] == sorted(step.elapsed for step in progress)
    assert isinstance(comparison, Comparison)
    assert comparison.left.frames == comparison.right.frames == probe_video(comparison.film).frames == 33
    assert comparison.left.path.read_bytes() != comparison.right.path.read_bytes()
    assert len(comparison.left.drift.lab_distance) == 2  # a second, and the rest


def test_the_same_settings_make_the_same_video(compare):
    *_, comparison = compare({"color_match": 0.5}, {"color_match": 0.5})
    assert comparison.left.seed == comparison.right.seed
    assert comparison.left.path.read_bytes() == comparison.right.path.read_bytes()


def test_the_film_alone_is_made_in_step(compare, tmp_path):
    *_, comparison = compare({}, {"size": 128}, apart=False)
    assert [path.name for path in tmp_path.iterdir()] == ["side-by-side.mp4"]
    film = probe_video(comparison.film)
    left, right = comparison.places
    assert (film.frames, film.width) == (33, left[2] + right[2])
    assert left[3] == right[3] == film.height - left[1]


def test_each_setting_reaches_the_pipeline(compare):
    for name, value in (("reference_mode", "static"), ("color_match", 1.0), ("guidance_scale", 3.0), ("size", 128)):
        *_, comparison = compare({}, {name: value})
        assert comparison.left.path.read_bytes() != comparison.right.path.read_bytes(), name


def test_a_text_is_read_once_for_both(checkpoint, portrait_file, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(track, "read_aloud", lambda text, *how: read.append(text) or read_aloud(text, *how))
    text = SpokenText("Hello there. How are you?")
    crop = crop_portrait(read_portrait(portrait_file), find_face=False)
    pair = GenerateOptions(checkpoint, seed=3, steps=1), GenerateOptions(checkpoint, seed=3, steps=2)
    *progress, comparison = compare_videos(crop, text, tmp_path, pair)
    assert read == [text]
    frames = video_frame_count(sum(map(len, text.stream())))
    assert comparison.left.frames == comparison.right.frames == frames
    assert all(step.frames <= step.total for step in progress)  # at first an estimate
    assert progress[-1].frames == progress[-1].total == 2 * frames
    sounds = [read_speech(path) for path in (comparison.left.path, comparison.right.path, comparison.film)]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    np.testing.assert_array_equal(sounds[0], sounds[2])


def test_titles_name_what_differs():
    left, right = GenerateOptions(steps=1, color_match=0.5), GenerateOptions(steps=2, color_match=0.5)
    assert describe_difference(left, right) == ("A · steps 1", "B · steps 2")
    assert describe_difference(left, left) == ("A · the same settings", "B · the same settings")
    static = GenerateOptions(reference_mode="static")
    assert describe_difference(GenerateOptions(), static)[1] == "B · reference mode static"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"size": 2000}, "size must be a whole number from 1 to 1024"),
        ({"guidance_scale": -1}, "guidance_scale must be a number from 0 to 20"),
        ({"color_match": "much"}, "color_match must be a number from 0 to 1"),
        ({"reference_mode": "none"}, "reference_mode must be"),
    ],
)
def test_options_out_of_range(compare, option, said):
    with pytest.raises(ValueError, match=said):
        compare({}, option)
