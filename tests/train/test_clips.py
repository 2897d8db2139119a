"""Streams of clips, from the shapes that datasets have on the Hub."""

import io
import json
import tarfile

import datasets
import numpy as np
import pytest

from asymtalker.media.video import VideoWriter, read_frames
from tests.train.conftest import FRAMES
from train.clips import StreamedClips, load_clips, open_rows
from train.config import DataSettings
from train.recordings import RandomRecordings

NAMES = ("first", "second")


@pytest.fixture(scope="module")
def videos(dataset):
    """Bytes by name: the first three clips are good under several names, the others can not be used."""
    good = sorted(path for path in dataset.glob("*.mp4") if path.stem != "wall")
    made = {f"{name}-{path.stem}.mp4": path.read_bytes() for name in NAMES for path in good}
    return made | {"broken.mp4": b"not a video", "wall.mp4": (dataset / "wall.mp4").read_bytes()}


@pytest.fixture(scope="module")
def shards(videos, tmp_path_factory):
    """Parquet files with videos inside, as `train.prepare` pushes them."""
    folder = tmp_path_factory.mktemp("shards")
    names = list(videos)
    for index in range(4):
        rows = [{"video": {"bytes": videos[name], "path": name}} for name in names[index::4]]
        features = datasets.Features({"video": datasets.Video()})
        datasets.Dataset.from_list(rows, features=features).to_parquet(folder / f"train-{index}.parquet")
    return folder


def settings(source, **options):
    return DataSettings(**({"dataset": str(source), "size": 64, "streaming": True} | options))


def names(stream, count, first=0):
    return [stream.clip(number).name for number in range(first, first + count)]


def test_an_epoch_has_every_clip_once_and_the_next_another_order(shards, caplog):
    stream = StreamedClips(settings(shards), frames=FRAMES)
    epochs = [names(stream, 6, first) for first in (0, 6)]
    assert len(set(epochs[0])) == 6 and set(epochs[0]) == set(epochs[1])
    assert epochs[0] != epochs[1]
    assert "left out broken.mp4: " in caplog.text and "left out wall.mp4: a face was found in only 0" in caplog.text
    assert stream.left_out >= 2
    assert stream.clip(0).frames.shape[0] == FRAMES and stream.clip(0).frames.dtype == np.uint8


def test_processes_share_the_clips(shards):
    parts = [StreamedClips(settings(shards), FRAMES, process, 2) for process in range(2)]
    seen = [set(names(part, 3)) for part in parts]
    assert not seen[0] & seen[1]
    assert len(seen[0] | seen[1]) == 6


def test_a_stream_goes_on_where_its_state_was(shards):
    stream = StreamedClips(settings(shards), FRAMES)
    names(stream, 5)
    stream.keep([2, 4])
    state = json.loads(json.dumps(stream.state_dict()), object_hook=_with_numbers)  # it is plain data
    following = names(stream, 6, first=5)
    again = StreamedClips(settings(shards), FRAMES)
    again.load_state_dict(state)
    for number in (2, 4):
        assert again.clip(number).name == stream.clip(number).name
        np.testing.assert_array_equal(again.clip(number).frames, stream.clip(number).frames)
    assert names(again, 6, first=5) == following


def _with_numbers(value):
    return {int(key) if key.isdigit() else key: item for key, item in value.items()}


def test_clips_that_are_let_go_are_forgotten(shards):
    stream = StreamedClips(settings(shards), FRAMES)
    names(stream, 4)
    stream.keep([3])
    with pytest.raises(KeyError):
        stream.clip(0)


def test_held_out_clips_are_never_trained_on(shards):
    stream = StreamedClips(settings(shards, holdout=2), FRAMES)
    held = stream.held_out().name
    assert held not in names(stream, 8)
    assert StreamedClips(settings(shards), FRAMES).held_out() is None


def test_webdatasets_and_folders_are_streamed_too(videos, dataset, tmp_path):
    with tarfile.open(tmp_path / "train-0.tar", "w") as archive:
        for name, video in videos.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(video)
            archive.addfile(entry, io.BytesIO(video))
    stream = StreamedClips(settings(tmp_path), FRAMES)
    assert len(set(names(stream, 6))) == 6
    folder = StreamedClips(settings(dataset), FRAMES)
    assert len(set(names(folder, 3))) == 3


def test_a_dataset_without_a_usable_clip_is_given_up(tmp_path):
    features = datasets.Features({"video": datasets.Video()})
    rows = [{"video": {"bytes": b"no", "path": "no.mp4"}}] * 3
    datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="None of the first 64 clips"):
        StreamedClips(settings(tmp_path), FRAMES).clip(0)
    with pytest.raises(ValueError, match="No clip of"):
        load_clips(str(tmp_path), "train", 64, tmp_path / "store")


def test_clips_without_sound_or_at_another_rate_are_named(dataset, tmp_path, caplog):
    frames = np.stack(list(_frames(dataset)))
    write(tmp_path / "slow.mp4", frames, fps=30, sound=True)
    write(tmp_path / "mute.mp4", frames, fps=25, sound=False)
    with pytest.raises(ValueError, match="No clip of"):
        load_clips(str(tmp_path), "train", 64, tmp_path / "store")
    assert "left out slow: 30 frames per second; 25 are needed" in caplog.text
    assert "left out mute: " in caplog.text and "sound" in caplog.text


def _frames(dataset):
    return read_frames(next(path for path in sorted(dataset.glob("*.mp4")) if path.stem != "wall"))


def write(path, frames, fps, sound):
    with VideoWriter(path, frames.shape[2:0:-1], fps, 16_000 if sound else None, label=False) as writer:
        writer.write(frames)
        if sound:
            writer.write_speech(np.zeros(len(frames) * 16_000 // fps, np.float32))


def test_what_is_wrong_with_a_dataset_is_said(tmp_path):
    with pytest.raises(ValueError, match=r"Cannot read the split 'train' of .*missing"):
        open_rows(str(tmp_path / "missing"), "train")
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=r"no video column \(its columns: text\)"):
        open_rows(str(tmp_path), "train")
    with pytest.raises(ValueError, match="Cannot read the split 'valid'"):
        open_rows(str(tmp_path), "valid")


def test_random_clips_are_told_by_their_number(dataset, tmp_path):
    clips = load_clips(str(dataset), "train", 64, tmp_path / "store")
    one, other = (RandomRecordings(clips, 30, seed) for seed in ((0,), (1,)))
    order = names(one, 30)
    assert order == names(RandomRecordings(clips, 30, (0,)), 30) != names(other, 30)
    assert set(order) == {clip.name for clip in clips}
    with pytest.raises(ValueError, match="shorter than 1000 frames"):
        RandomRecordings(clips, 1000, (0,))
