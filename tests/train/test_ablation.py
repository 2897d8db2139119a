"""The ablation at a tiny size: arms trained, rolled out and put beside each other, and nothing done twice."""

import json
from pathlib import Path

import pytest

from asymtalker import AsymTalkerPipeline
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from asymtalker.models import LandmarkSpeechEncoder
from tests.train.tiny_stage import DATA, NETWORK, ROOT, TRAINING
from train import ablation, akd
from train.config import parse_settings

PRESET = ROOT / "asymtalker" / "presets" / "tiny"
ARMS = {"AKD": {}, "static": {"reference_mode": "static", "student_continuity": "real"}}


@pytest.fixture
def arguments(data, initial, tmp_path, monkeypatch):
    """Two steps an arm, two people, two seconds twice; no face mesh."""
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    config = ROOT / "train/configs/tiny"
    common = DATA | TRAINING | {name: str(value) for name, value in data.items()} | {"compile": False}
    settings = {"akd": str(config / "akd.yaml"), "output": str(tmp_path / "ablation"), "batch": 3}
    settings |= {
        "teachers": {"teacher": str(initial)},
        "steps": 2,
        "arms": ARMS,
        "common": common | {"sample_steps": 0},
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
    """From nothing: an autoencoder without a motion prior, two teachers, and an arm of the second."""
    config, begun = ROOT / "train/configs", []
    for name, stage in (("autoencoder", ablation.autoencoder), ("teacher", ablation.teacher), ("akd", akd)):
        monkeypatch.setattr(stage, "main", lambda argv, n=name, real=stage.main: begun.append(n) or real(argv))
    network = NETWORK | DATA | {name: str(value) for name, value in data.items()} | {"output": "unused"}
    network |= {"motion_prior": False, "speech_encoder": str(PRESET)}
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
    assert network.transformer.motion is None and isinstance(network.speech_encoder, LandmarkSpeechEncoder)
    used = json.loads((folder / "arms" / "static" / "arm.json").read_text())["settings"]
    assert used["teacher"] == str(folder / "teachers" / "static-teacher" / "pipeline")
    found = json.loads((folder / "evaluations" / "static-teacher" / "paired" / "results.json").read_text())
    assert found["settings"]["reference_mode"] == "static"
    assert "| measure | static | teacher | static-teacher |" in (folder / "report" / "results.md").read_text()
    begun.clear()
    ablation.main([*arguments, *overrides])
    assert not begun


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
