"""Clips from the shapes that datasets have, cut and long."""

import json
import shutil

import datasets
import numpy as np
import pytest

from asymtalker.evaluation.clips import EvaluationDataset, open_clips
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.media.speech import read_speech

SIZE = (64, 64)


def opened(source, **options):
    return EvaluationDataset(EvaluationSettings(str(source), **({"crop": False} | options)), SIZE)


def test_a_clip_has_frames_and_speech_of_one_length(clips):
    clip = opened(clips).clip(0)
    assert clip.name == "a-0" and clip.portrait.size == (96, 96)
    assert clip.frames.shape == (50, 64, 64, 3) and clip.frames.dtype == np.uint8
    assert clip.speech.shape == (50 * 640,)
    assert np.abs(clip.speech[:15_000]).max() < 0.02 < np.abs(clip.speech[20_000:]).max()


def test_clips_are_cut_and_spread_evenly(clips):
    dataset = opened(clips, clips=3, max_seconds=1)
    assert dataset.names == ["a-0", "b-0", "mute"]
    assert dataset.clip(0).frames.shape[0] == 25


def test_a_cut_clip_keeps_its_recording_and_what_is_said_in_it(clips, tmp_path):
    shutil.copytree(clips / "test", tmp_path / "test")
    rows = [{"file_name": "a-0.mp4", "text": "so be it"}, {"file_name": "b-0.mp4", "text": ""}]
    (tmp_path / "test" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for path in (tmp_path / "test").glob("*.mp4"):
        if path.stem not in ("a-0", "b-0"):
            path.unlink()
    said, unknown = (opened(tmp_path, max_seconds=1).clip(number) for number in (0, 1))
    assert said.text == "so be it" and unknown.text is None
    assert len(said.speech) == 16_000 and len(said.recording) == pytest.approx(32_000, abs=1_100)
    np.testing.assert_array_equal(said.recording[:16_000], said.speech)
    assert opened(clips).clip(0).text is None


def test_bytes_in_parquet_give_the_same_clip(clips, tmp_path):
    rows = [
        {"video": {"bytes": (clips / "test" / f"{name}.mp4").read_bytes(), "path": None}} for name in ("a-0", "b-0")
    ]
    features = datasets.Features({"video": datasets.Video()})
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "test-0.parquet")
    dataset = opened(tmp_path)
    assert len(set(dataset.names)) == 2
    np.testing.assert_array_equal(dataset.clip(1).frames, opened(clips, names=("b-0",)).clip(0).frames)


def test_long_speech_goes_on_with_the_next_clips_and_skips_the_mute(clips):
    dataset = opened(clips)
    speech = dataset.long_speech(2, 9.0)
    assert speech.shape == (9 * 16_000,)
    parts = [dataset.speech(number) for number in (2, 3)]
    np.testing.assert_array_equal(speech[: 2 * 32_000], np.concatenate(parts)[: 2 * 32_000])


def test_a_portrait_speaks_with_its_own_recording_first(portrait_file, speech_file, long_speech_file, tmp_path):
    for name in ("ann", "ben"):
        shutil.copy(portrait_file, tmp_path / f"{name}.png")
    shutil.copy(speech_file, tmp_path / "ben.wav")
    shutil.copy(long_speech_file, tmp_path / "a.wav")
    folder = open_clips(EvaluationSettings(str(tmp_path), crop=False, seconds=5), SIZE)
    assert folder.names == folder.people == ["ann", "ben"]
    clip = folder.clip(1)
    assert clip.frames.shape == (1, 64, 64, 3) and not clip.is_real
    own, other = read_speech(speech_file, 16_000), read_speech(long_speech_file, 16_000)
    joined = np.concatenate([own, other])[: 5 * 16_000]
    np.testing.assert_array_equal(folder.long_speech(1, 5.0), joined)  # ben's own, then ann's, who has none


def test_a_portrait_without_a_face_says_so(clips):
    with pytest.raises(ValueError, match="No face"):
        opened(clips, crop=True).clip(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ("z-9",)}, "lacks 1 clips of the protocol: z-9"),
        ({"person_column": "who"}, "no column 'who'; its columns are"),
    ],
)
def test_what_the_dataset_lacks_is_named(clips, options, message):
    with pytest.raises(ValueError, match=message):
        opened(clips, **options)
