"""Raw videos become a dataset: real decoding, FFmpeg's scene detection, OpenCV's faces."""

import json
import shutil
import subprocess
from pathlib import Path

import av
import datasets
import numpy as np
import PIL.Image
import pytest

from asymtalker.media.speech import read_speech
from asymtalker.media.video import MARK, probe_video, read_frames
from train import prepare

ROOT = Path(__file__).parents[2]
RATE, SIZE = 30, (320, 240)


def scene(name=None, seconds=4.0, sway=3.0, drift=0.0):
    """Frames of a portrait before a striped curtain, which `drift` moves by so many pixels a frame."""
    x = np.arange(SIZE[0])
    if name:
        portrait = PIL.Image.open(ROOT / f"examples/{name}.jpg").convert("RGB").resize((200, 200))
    for index in range(round(seconds * RATE)):
        row = 120 + 40 * np.sin((x + drift * index) / 12)
        frame = PIL.Image.fromarray(np.repeat(np.tile(row, (SIZE[1], 1))[..., None], 3, 2).astype(np.uint8))
        if name:
            frame.paste(portrait.crop((45, 0, 155, 200)), (round(105 + sway * np.sin(index / 9)), 40))
        yield np.asarray(frame)


def write_raw(path, frames, loudness=0.1, with_sound=True):
    """An mp4 as a camera makes it: 30 frames a second, 44.1 kHz stereo."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=44_100, layout="stereo") if with_sound else None
        count = 0
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            count += 1
        container.mux(video.encode())
        if audio:
            noise = np.random.default_rng(0).normal(0, 1, (2, 44_100 * count // RATE))
            sound = av.AudioFrame.from_ndarray((loudness * noise).astype(np.float32), "fltp", "stereo")
            sound.sample_rate = 44_100
            container.mux(audio.encode(sound))
            container.mux(audio.encode())


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    two = [*scene("nora"), *scene("henry"), *scene("leon", seconds=1)]
    write_raw(folder / "two people.mp4", two)
    (folder / "more").mkdir()
    write_raw(folder / "more" / "silent.mov", scene("leon"), loudness=0.0)
    write_raw(folder / "moving.mp4", scene("leon", drift=2))
    write_raw(folder / "walk.mp4", scene("amara", sway=50))
    write_raw(folder / "wall.mp4", scene())
    write_raw(folder / "mute.mp4", scene("leon"), with_sound=False)
    (folder / "broken.mp4").write_bytes(b"this is not a video")
    return folder


@pytest.fixture(scope="module")
def prepared(raw, tmp_path_factory):
    output = tmp_path_factory.mktemp("prepared")
    prepare.main([str(raw), str(output)])
    return output


def test_each_shot_of_a_talking_face_becomes_a_clip(prepared):
    rows = [json.loads(line) for line in (prepared / "train/metadata.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == ["two people.mp4"] * 2
    assert [row["start"] for row in rows] == pytest.approx([0, 4], abs=0.05)
    for row in rows:
        path = prepared / "train" / row["file_name"]
        assert row["frames"] == pytest.approx(100, abs=1)
        probe = probe_video(path)
        assert (probe.fps, probe.width, probe.height) == (25, prepare.SIDE, prepare.SIDE)
        assert len(list(read_frames(path))) == row["frames"]
        assert len(read_speech(path)) == pytest.approx(row["frames"] * 640, abs=640)
        with av.open(str(path)) as container:
            assert MARK not in container.metadata.values()  # it is real


def test_the_face_is_in_the_middle(prepared):
    for path in sorted((prepared / "train/clips").iterdir()):
        face = prepare.find_faces(next(read_frames(path)))[0].box
        centre = (face.left + face.width / 2) / prepare.SIDE, (face.top + face.height / 2) / prepare.SIDE
        assert centre == pytest.approx((0.5, 0.5), abs=0.12)


def test_what_is_left_out_is_named_with_the_reason(prepared, raw):
    records = [json.loads(path.read_text()) for path in (prepared / ".prepared").iterdir()]
    assert len(records) == 7
    reasons = " | ".join(reason for record in records for reason in record["refused"])
    for reason in (
        "shorter than 3 s",
        "speech in only 0%",
        "the background changes by",
        "the face moves by",
        "a face in only 0 of 20 frames",
        "mute.mp4 has no sound",
        "broken.mp4 could not be decoded",
    ):
        assert reason in reasons, reason


def test_done_videos_are_not_done_again(prepared, raw, monkeypatch):
    monkeypatch.setattr(prepare, "prepare_video", lambda *_: pytest.fail("prepared again"))
    before = (prepared / "train/metadata.jsonl").read_text()
    prepare.main([str(raw), str(prepared)])
    assert (prepared / "train/metadata.jsonl").read_text() == before


def test_training_can_read_it(prepared):
    rows = datasets.load_dataset(str(prepared), split="train", streaming=True)
    assert isinstance(rows.features["video"], datasets.Video)
    assert len(list(rows.decode(False))) == 2


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg makes the video")
def test_a_video_filmed_on_its_side_is_turned(tmp_path):
    upright, turned = tmp_path / "upright.mp4", tmp_path / "turned.mp4"
    write_raw(upright, scene("nora", seconds=0.2))
    command = ["ffmpeg", "-v", "error", "-i", upright, "-c", "copy", "-metadata:s:v", "rotate=90", turned]
    subprocess.run(command, check=True)
    shown = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", turned, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    )
    frame = next(prepare.read_steadily(turned))[0]
    assert frame.shape == (*SIZE, 3)
    expected = np.frombuffer(shown.stdout, np.uint8).reshape(frame.shape)
    assert np.abs(frame.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("videos", [[], ["wall.mp4"]])
def test_nothing_to_show_for_it_is_an_error(videos, raw, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    for name in videos:
        (tmp_path / "raw" / name).symlink_to(raw / name)
    with pytest.raises(SystemExit) as caught:
        prepare.main([str(tmp_path / "raw"), str(tmp_path / "output")])
    assert caught.value.code == 1
    assert ("gave a clip" if videos else "There is no video") in capsys.readouterr().err


def test_pushing_without_a_token_is_found_out_first(raw, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.utils._auth.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(SystemExit):
        prepare.main([str(raw), str(tmp_path / "output"), "--push-to-hub", "someone/clips"])
    assert "hf auth login" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


def test_a_failed_push_keeps_the_clips_and_is_gone_on_with(raw, prepared, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
    command = [str(raw), str(prepared), "--push-to-hub", "someone/clips", "--private"]
    hub.failures = 99
    with pytest.raises(SystemExit):
        prepare.main(command)
    said = capsys.readouterr().err
    assert "could not be uploaded to someone/clips" in said and str(prepared) in said
    hub.failures = 0
    prepare.main(command)
    rows = datasets.load_dataset("someone/clips", split="train", cache_dir=str(tmp_path))
    clips = sorted((prepared / "train/clips").iterdir())
    assert rows["source"] == ["two people.mp4"] * 2
    assert [row["bytes"] for row in rows.cast_column("video", datasets.Video(decode=False))["video"]] == [
        clip.read_bytes() for clip in clips
    ]
