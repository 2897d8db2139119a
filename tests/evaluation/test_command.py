"""`python -m asymtalker evaluate` on a tiny pipeline and a tiny dataset."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image, ImageOps

from asymtalker.__main__ import main
from asymtalker.evaluation import measure
from asymtalker.evaluation.settings import EvaluationSettings, read_protocol
from asymtalker.media.video import probe_video
from asymtalker.metrics import MetricUnavailableError
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE


@pytest.fixture
def command(checkpoint, clips, tmp_path, monkeypatch):
    """Arguments that work, where no face mesh is installed; later ones override them."""
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    arguments = ["--checkpoint", checkpoint, "--dataset", str(clips), "--no-crop", "--output", str(tmp_path / "out")]
    return ["evaluate", *arguments]


def results(tmp_path):
    return json.loads((tmp_path / "out" / "results.json").read_text())


def note_measured(monkeypatch, note):
    real = measure.measure_videos
    monkeypatch.setattr(
        "asymtalker.evaluation.run.measure_videos",
        lambda pipeline, videos, *more: [note(video) for video in videos] and real(pipeline, videos, *more),
    )


def rows(tmp_path):
    return {row["label"]: row for row in results(tmp_path)["rows"]}


def test_a_dataset_becomes_a_table(command, tmp_path, capsys):
    assert main(command) == 0
    found, table = results(tmp_path), rows(tmp_path)
    assert found["clips"] == 4 and found["frames"] == 4 * 50
    assert set(found["left_out"]) == {"mute", "slow"}
    assert "12 frames per second" in found["left_out"]["slow"]
    assert found["run"]["steps"] == 2 and found["run"]["dtype"] and found["run"]["hardware"]
    assert found["run"]["clips_per_minute"] > 0
    seams = table["seam ratio"]
    assert seams["generated"]["clips"] == 4
    assert seams["generated"]["low"] <= seams["generated"]["mean"] <= seams["generated"]["high"]
    assert seams["real"]["mean"] > 0
    identity = table["identity: distance to the portrait"]
    assert identity["real"]["mean"] < identity["generated"]["mean"]  # random weights are nobody
    assert table["lips"]["generated"] is None and "/nowhere/python" in table["lips"]["note"]
    printed = capsys.readouterr()
    assert "| seam ratio |" in printed.out and "| lips | unavailable |" in printed.out
    assert "2 steps" in (tmp_path / "out" / "results.md").read_text()
    assert "6/6" in printed.err  # the progress bar


def test_it_goes_on_where_it_was_stopped(command, tmp_path, monkeypatch):
    wanted = [*command, "--metrics", "seams", "--clips", "2"]
    assert main(wanted) == 0
    first = results(tmp_path)
    measured = []
    note_measured(monkeypatch, lambda video: measured.append(video.clip.name))
    assert main(wanted) == 0
    assert measured == []
    assert results(tmp_path)["rows"] == first["rows"]
    assert results(tmp_path)["run"]["clips_per_minute"] is None
    (tmp_path / "out" / "clips" / "a-0.json").unlink()
    assert main(wanted) == 0
    assert measured == ["a-0"]
    assert results(tmp_path)["rows"] == first["rows"]  # the same seed, the same figures
    assert main([*wanted, "--metrics", "identity"]) == 0
    assert measured == ["a-0", "a-0", "c-0"]  # the records lacked it


def test_records_of_other_settings_are_not_mixed(command, tmp_path, capsys):
    wanted = [*command, "--metrics", "seams", "--clips", "1"]
    assert main(wanted) == 0
    assert main([*wanted, "--steps", "1"]) == 2
    assert "with other steps" in capsys.readouterr().err


def test_long_rollouts_have_intervals_and_no_real_clip(command, clips, tmp_path):
    protocol = tmp_path / "long.yaml"
    protocol.write_text(f"dataset: {clips}\nseconds: 6\ninterval: 1\nclips: 2\nmetrics: [lips, drift, identity]\n")
    assert main([*command, "--protocol", str(protocol)]) == 0
    found, table = results(tmp_path), rows(tmp_path)
    assert found["frames"] == 2 * 150
    assert len(found["curves"]["drift"]["generated"]["a-0"]["identity"]) == 6
    assert table["sharpness: last over first"]["generated"]["clips"] == 2
    assert "last minus first" in " ".join(table)
    assert "no real clip" in table["lips"]["note"]
    width, height = Image.open(tmp_path / "out" / "stills.png").size
    assert 3 * 64 < width < 5 * 64 and 2 * 64 < height < 3 * 64  # of two clips portrait, 5 s and 6 s, and words


def test_long_rollouts_say_whether_they_stay_as_they_are(command, clips, tmp_path):
    """Two people, two seeds: speed and memory against time, a column each, and films that can be played."""
    protocol = tmp_path / "long.yaml"
    protocol.write_text(f"dataset: {clips}\nseconds: 12\ninterval: 1\nclips: 2\nrepeats: 2\nfilms: 1\n")
    assert main([*command, "--protocol", str(protocol), "--metrics", "drift", "identity", "resources"]) == 0
    found, table = results(tmp_path), rows(tmp_path)
    assert (found["clips"], found["videos"], found["frames"]) == (2, 4, 4 * 300)
    assert table["peak memory at 10 s"]["generated"]["clips"] == 2 and "peak memory at 60 s" not in table
    assert table["speed, first minute"]["generated"]["mean"] > 0
    assert table["speed: last over first"]["generated"]["low"] is not None
    shift = table["colour: last from first"]["generated"]
    assert shift["mean"] == pytest.approx(np.mean(list(shift["by_clip"].values())))  # of each clip, not each video
    assert "| clip by clip | a-0 | c-0 |" in (tmp_path / "out" / "results.md").read_text()
    assert list(found["films"]) == ["a-0"]
    film = probe_video(tmp_path / "out" / found["films"]["a-0"]["generated"])
    assert (film.frames, film.fps, film.width) == (300, 25, 64)
    assert (tmp_path / "out" / "report.html").is_file()


def test_long_rollouts_made_in_step_are_those_of_each_alone(command, clips, tmp_path):
    wanted = [*command, "--seconds", "3", "--clips", "2", "--repeats", "2", "--films", "1"]
    assert main([*wanted, "--metrics", "drift", "identity", "resources"]) == 0
    alone, found = rows(tmp_path), results(tmp_path)
    shutil.rmtree(tmp_path / "out")
    assert main([*wanted, "--metrics", "drift", "identity", "resources", "--batch", "3"]) == 0
    together = rows(tmp_path)
    for label in ("colour: distance to the portrait", "frame difference", "identity: distance to the portrait"):
        assert together[label]["generated"]["by_clip"] == pytest.approx(alone[label]["generated"]["by_clip"], rel=1e-2)
    assert together["resources"]["note"] == "3 videos were made in step"
    assert results(tmp_path)["videos"] == found["videos"] == 4
    assert probe_video(tmp_path / "out" / results(tmp_path)["films"]["a-0"]["generated"]).frames == 75


def test_more_seeds_and_films_are_added_to_what_there_is(command, tmp_path, monkeypatch):
    wanted = [*command, "--metrics", "seams", "--clips", "1"]
    assert main(wanted) == 0
    measured = []
    note_measured(monkeypatch, lambda video: measured.append(video.seed))
    assert main([*wanted, "--repeats", "3"]) == 0
    assert measured == [1, 2]
    assert main([*wanted, "--repeats", "3", "--films", "1"]) == 0
    assert measured == [1, 2, 0]
    films = results(tmp_path)["films"]["a-0"]
    assert (
        probe_video(tmp_path / "out" / films["real"]).frames
        == probe_video(tmp_path / "out" / films["generated"]).frames
    )


def test_portraits_and_recordings_are_rolled_out(command, portrait_file, speech_file, long_speech_file, tmp_path):
    folder = tmp_path / "people"
    folder.mkdir()
    shutil.copy(portrait_file, folder / "ann.png")
    ImageOps.flip(Image.open(portrait_file)).save(folder / "ben.png")
    shutil.copy(speech_file, folder / "ben.wav")
    shutil.copy(long_speech_file, folder / "a.wav")
    assert main([*command, "--dataset", str(folder), "--seconds", "2", "--metrics", "drift", "identity", "seams"]) == 0
    found, table = results(tmp_path), rows(tmp_path)
    assert list(found["curves"]["drift"]["generated"]) == ["ann", "ben"] and not found["curves"]["drift"]["real"]
    assert table["seam ratio"]["real"] is None and table["seam ratio"]["generated"]["clips"] == 2


def test_portraits_alone_cannot_be_compared(command, portrait_file, tmp_path, capsys):
    shutil.copy(portrait_file, tmp_path / "ann.png")
    assert main([*command, "--dataset", str(tmp_path)]) == 2
    assert "give --seconds" in capsys.readouterr().err
    assert main([*command, "--dataset", str(tmp_path), "--seconds", "2"]) == 2
    assert "has portraits but no speech" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["hdtf", "vfhq", "tiny"])
def test_protocols_run_on_a_dataset_of_their_shape(command, protocol, tmp_path):
    assert main([*command, "--protocol", protocol, "--metrics", "seams", "drift", "--clips", "3"]) == 0
    page = (tmp_path / "out" / "results.md").read_text()
    assert read_protocol(protocol).description.strip() in page
    assert results(tmp_path)["clips"] == 2 and "mute" in results(tmp_path)["left_out"]
    assert "| seam ratio |" in page


def test_people_of_a_column_are_told_apart(command, clips, tmp_path):
    protocol = tmp_path / "people.yaml"
    protocol.write_text(f"dataset: {clips}\nnames: [a-0, a-1]\nperson_column: person\nmetrics: [identity]\n")
    assert main([*command, "--protocol", str(protocol)]) == 0
    assert "two people" in rows(tmp_path)["identity: distance to the portrait"]["note"]


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["--metrics", "beauty"], "beauty"),
        (["--clips", "0"], "clips must be"),
        (["--steps", "0"], "steps must be"),
        (["--repeats", "0"], "repeats must be"),
        (["--batch", "0"], "batch must be"),
        (["--seconds", "60", "--face-every", "11"], "face_every must be at most 10"),
        (["--films", "-1"], "films must be"),
        (["--seconds", "0"], "seconds must be"),
        (["--guidance-scale", "-1"], "guidance_scale must be"),
        (["--dataset", "/nowhere"], "/nowhere"),
        (["--split", "dev"], "'dev'"),
        (["--protocol", "nothing"], "hdtf, tiny, vfhq"),
        (["--checkpoint", "nothing"], "nothing"),
    ],
)
def test_what_is_wrong_is_said(command, overrides, named, capsys):
    assert main([*command, *overrides]) == 2
    assert named in capsys.readouterr().err.splitlines()[-1]


def test_an_empty_folder_and_one_without_videos_say_so(command, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([*command, "--dataset", str(tmp_path / "empty")]) == 2
    assert "Give a folder of mp4 clips" in capsys.readouterr().err
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "test.jsonl").write_text('{"text": "no video"}\n')
    assert main([*command, "--dataset", str(tmp_path / "texts")]) == 2
    assert "no video column; its columns are text" in capsys.readouterr().err


def test_no_usable_clip_says_why(command, clips, tmp_path, capsys):
    protocol = tmp_path / "mute.yaml"
    protocol.write_text(f"dataset: {clips}\nnames: [mute]\nmetrics: [seams]\n")
    assert main([*command, "--protocol", str(protocol)]) == 2
    assert "can be used: mute: " in capsys.readouterr().err


def test_embedded_protocols_are_valid():
    for name in ("hdtf", "vfhq", "tiny"):
        assert read_protocol(name).description
    assert read_protocol("hdtf", dataset="mine", clips=3).clips == 3
    assert read_protocol("hdtf").clips == 100 and "fvd" in read_protocol("hdtf").chosen


def test_protocols_say_what_is_wrong(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("dataset: here\nclip: 3\n")
    with pytest.raises(ValueError, match="sets clip, which is not one of"):
        read_protocol(path)
    path.write_text("- a list")
    with pytest.raises(ValueError, match="must hold settings"):
        read_protocol(path)
    with pytest.raises(ValueError, match="dataset is missing"):
        read_protocol(None)


def test_an_instrument_that_fails_takes_only_its_metrics(monkeypatch):
    def missing(*_):
        raise MetricUnavailableError("no network here")

    monkeypatch.setattr(measure, "Inception", missing)
    with measure.Instruments.open(EvaluationSettings("x", metrics=("fid", "seams", "drift")), "cpu") as instruments:
        assert instruments.metrics == ("drift", "seams")
        assert instruments.unavailable == {"fid": "no network here"}


def test_the_faces_of_the_examples_are_measured(checkpoint, clips, tmp_path):
    pytest.importorskip("skimage")
    from pathlib import Path

    from asymtalker.media.portrait import crop_portrait, read_portrait
    from asymtalker.media.video import VideoWriter
    from asymtalker.metrics import FaceMesh

    try:
        FaceMesh().close()
    except MetricUnavailableError as error:
        pytest.skip(str(error))
    folder = tmp_path / "faces" / "test"
    folder.mkdir(parents=True)
    for name in ("nora", "leon"):
        portrait = read_portrait(Path(__file__).parents[2] / "examples" / f"{name}.jpg")
        square = np.asarray(crop_portrait(portrait).image.resize((256, 256)))
        with VideoWriter(folder / f"{name}.mp4", (256, 256), 25, 16_000, label=False) as writer:
            writer.write(np.stack([np.roll(square, frame // 4, axis=1) for frame in range(50)]))
            writer.write_speech(0.1 * np.random.default_rng(0).normal(size=32_000).astype(np.float32))
    arguments = ["--checkpoint", checkpoint, "--dataset", str(folder.parent), "--no-crop"]
    assert main(["evaluate", *arguments, "--output", str(tmp_path / "out")]) == 0
    table = rows(tmp_path)
    assert table["head motion energy"]["real"]["mean"] > 0  # it was moved
    assert table["head motion energy"]["generated"] is None  # random weights make no face
    assert "A face was found in only" in table["head motion energy"]["note"]
    assert table["SSIM"]["generated"]["mean"] < 0.5
