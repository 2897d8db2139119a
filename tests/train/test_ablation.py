"""The ablation at a tiny size: arms trained, rolled out and put beside each other, and nothing done twice."""

import json
from pathlib import Path

import numpy as np
import pytest

from asymtalker import AsymTalkerPipeline
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from asymtalker.models import LandmarkSpeechEncoder
from tests.tracks import write_performances
from tests.train.tiny_stage import CLIPS, NETWORK, ROOT, TRACKS, TRAINING
from train import ablation, akd
from train.config import parse_settings

ARMS = {"AKD": {}, "static": {"reference_mode": "static", "student_continuity": "real"}}


@pytest.fixture
def arguments(data, initial, tmp_path, monkeypatch):
    """Two steps an arm, two people, two seconds twice; no face mesh."""
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    config = ROOT / "train/configs/tiny"
    common = CLIPS | TRAINING | {name: str(value) for name, value in data.items()} | {"new_latents": []}
    settings = {"akd": str(config / "akd.yaml"), "output": str(tmp_path / "ablation"), "batch": 3}
    settings |= {
        "teachers": {"teacher": str(initial)},
        "steps": 2,
        "arms": ARMS,
        "common": common,
        "seeds": 1,
        "kinds": ["long", "paired"],
        "teacher": None,
        "dataset": str(data["dataset"]),
    }
    settings |= {
        "split": "train",
        "clips": 2,
        "repeats": 2,
        "seconds": 2,
        "interval": 1,
        "face_every": 1,
        "films": 1,
        "teacher_steps": 1,
    }
    pairs = [part for key, value in settings.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    return ["--config", str(config / "ablation.yaml"), *pairs]


def test_arms_are_trained_rolled_out_and_compared_once(arguments, tmp_path, monkeypatch):
    folder = tmp_path / "ablation"
    trained = []
    real = akd.main
    monkeypatch.setattr(akd, "main", lambda argv: trained.append(argv) or real(argv))
    ablation.main([*arguments, "--set", "only=static"])
    assert len(trained) == 1
    ablation.main(arguments)
    assert len(trained) == len(ARMS)
    for name in ARMS:
        assert json.loads((folder / "arms" / name / "state" / "run.json").read_text())["step"] == 2
    records = sorted((folder / "evaluations").rglob("clips/*.json"))
    assert len(records) == (len(ARMS) + 1) * 2 * 2 * 2  # the teacher too; long and not; people; seeds
    static = json.loads((folder / "evaluations" / "static" / "long" / "results.json").read_text())
    assert static["settings"]["reference_mode"] == "static" and static["clips"] == 2 and static["videos"] == 4
    table = (folder / "report" / "results.md").read_text()
    assert "| measure | AKD | static | teacher | real clips | goal |" in table
    assert "identity: distance to the portrait, last minus first" in table and "Δ +" in table
    page = (folder / "report" / "report.html").read_text()
    assert page.count("<section>") == 2 and "Long rollouts of 2 s" in page
    assert len(list((folder / "report" / "films").glob("*.mp4"))) == 2 * (len(ARMS) + 1) + 1  # one is real

    times = [path.stat().st_mtime_ns for path in records]
    ablation.main(arguments)
    assert len(trained) == len(ARMS)
    assert [path.stat().st_mtime_ns for path in records] == times


def test_teachers_are_trained_first(arguments, data, tmp_path, monkeypatch):
    """From nothing: an autoencoder, two teachers, and an arm of the second."""
    config, begun = ROOT / "train/configs", []
    for name, stage in (("autoencoder", ablation.autoencoder), ("teacher", ablation.teacher), ("akd", akd)):
        monkeypatch.setattr(stage, "main", lambda argv, n=name, real=stage.main: begun.append(n) or real(argv))
    LandmarkSpeechEncoder(hidden_dim=16, blocks=2).save_pretrained(tmp_path / "speech")
    network = NETWORK | CLIPS | {name: str(value) for name, value in data.items()} | {"output": "unused"}
    network |= {"speech_encoder": str(tmp_path / "speech")}
    (tmp_path / "autoencoder.yaml").write_text(json.dumps(network))
    changes = {
        "autoencoder": str(tmp_path / "autoencoder.yaml"),
        "teacher": str(config / "tiny/teacher.yaml"),
        "teachers": {"teacher": {"max_steps": 1}, "static-teacher": {"max_steps": 1, "reference_mode": "static"}},
        "arms": {"static": {"teacher": "static-teacher", "reference_mode": "static"}},
        "films": 0,
        "repeats": 1,
        "clips": 1,
        "seconds": 1,
    }
    overrides = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    ablation.main([*arguments, *overrides])
    assert begun == ["autoencoder", "teacher", "teacher", "akd"]
    folder = tmp_path / "ablation"
    network = AsymTalkerPipeline.from_pretrained(folder / "teachers" / "teacher" / "pipeline")
    assert isinstance(network.speech_encoder, LandmarkSpeechEncoder)
    used = json.loads((folder / "arms" / "static" / "arm.json").read_text())["settings"]
    assert used["teacher"] == str(folder / "teachers" / "static-teacher" / "pipeline")
    found = json.loads((folder / "evaluations" / "static-teacher" / "paired" / "results.json").read_text())
    assert found["settings"]["reference_mode"] == "static"
    assert "| measure | static | teacher | static-teacher |" in (folder / "report" / "results.md").read_text()
    begun.clear()
    ablation.main([*arguments, *overrides])
    assert not begun


def test_arms_of_motion_are_trained_with_several_seeds_and_measured(arguments, tracks, initial_motion, tmp_path):
    """Before anything is rendered; where an arm was trained several times, its mean and its range."""
    speaking = write_performances(tmp_path / "speaking", count=6, frames=80, phones=True)
    folder = tmp_path / "ablation"
    changes = {
        "common": TRACKS | TRAINING | {"dataset": str(tracks["dataset"]), "new_latents": [1, 2]},
        "teachers": {"teacher": str(initial_motion)},
        "arms": {"AKD": {}},
        "kinds": ["motion"],
        "seeds": 2,
        "performances": str(speaking),
        "holdout": 2,
        "seconds": 4,
    }
    overrides = [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    ablation.main([*arguments, *overrides])
    for seed in range(2):
        assert json.loads((folder / "arms" / f"AKD-{seed}" / "state" / "run.json").read_text())["step"] == 2
    found = [json.loads(path.read_text()) for path in sorted((folder / "evaluations").rglob("figures.json"))]
    assert len(found) == 3 and all(np.isfinite(row["closures"]) for row in found)
    assert found[0] != found[1]  # the seeds differ
    table = (folder / "report" / "motion.md").read_text().splitlines()
    assert len(table) == 4 and table[0].startswith("| | lips | reach | head |")
    low, high = sorted(row["head"] for row in found[:2])
    assert table[2].startswith("| AKD |") and f"[{low:.3g}, {high:.3g}]" in table[2]
    times = [path.stat().st_mtime_ns for path in sorted(folder.rglob("figures.json"))]
    ablation.main([*arguments, *overrides])
    assert [path.stat().st_mtime_ns for path in sorted(folder.rglob("figures.json"))] == times


def test_an_arm_goes_on_where_it_was_told_to_end(arguments, tmp_path, monkeypatch):
    """As after a signal: AKD returns before its steps are done."""
    arms = ablation.plan(parse_settings(ablation.AblationSettings, "", arguments))
    real = akd.main
    monkeypatch.setattr(akd, "main", lambda argv: real([*argv, "--set", "max_steps=1"]))
    with pytest.raises(SystemExit, match="AKD stopped at step 1"):
        arms[0].train()
    assert not arms[0].is_trained()
    monkeypatch.setattr(akd, "main", real)
    arms[0].train()
    assert arms[0].is_trained()
    log = (Path(arms[0].settings.output) / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [1, 2]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kinds=[short]", "there is no short; there are motion, long, paired"),
        ("only=nobody", "only names nobody, and the arms are AKD, static, teacher"),
        ("arms={a/b: {}}", "'a/b' cannot be the name of an arm"),
        ("arms={teacher: {}}", "teacher is the name of an arm and of a teacher"),
        ("arms={AKD: {teacher: nobody}}", "AKD starts from nobody, and the teachers are teacher"),
        ("teachers={teacher: {max_steps: 1}}", "teacher, the configuration for it, is missing"),
    ],
)
def test_what_is_wrong_is_said_before_any_training(arguments, override, message):
    with pytest.raises(SystemExit, match=message):
        ablation.main([*arguments, "--set", override])


def test_a_setting_that_akd_does_not_have_is_named(arguments, capsys):
    with pytest.raises(SystemExit):
        ablation.main([*arguments, "--set", "arms={AKD: {student_kappa: real}}"])
    assert "unknown key 'student_kappa'" in capsys.readouterr().err


def test_arms_of_other_settings_are_not_mixed(arguments):
    first, other = (
        ablation.plan(parse_settings(ablation.AblationSettings, "", [*arguments, "--set", f"steps={steps}"]))[0]
        for steps in (2, 3)
    )
    first._write(trained=True)
    assert first.is_trained()
    with pytest.raises(ValueError, match="other max_steps"):
        other.is_trained()
