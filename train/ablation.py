"""The paper's ablation (arXiv 2605.02948): arms of AKD from one teacher with equal budgets, on unseen people.

    python train/ablation.py --config train/configs/ablation/ablation.yaml

Every arm is `train/akd.py` with a few settings changed; the teachers that they start from, run chunk by chunk, are more
of them. Each is evaluated twice by `asymtalker.evaluation`: in long rollouts, and on clips beside the real ones; arms
that generate motion frames are measured before anything is rendered, too (`train/motion_figures.py`), which takes
minutes instead of hours. `report/` has the tables and the page. What is done already is not done again; several of
these may work on one folder, each `only` on some arms.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import json
import re
from dataclasses import asdict, dataclass, fields
from types import ModuleType

import torch

from asymtalker import AsymTalkerPipeline
from asymtalker.conditioning import ReferenceMode
from asymtalker.evaluation.compare import compare_evaluations
from asymtalker.evaluation.run import evaluate
from asymtalker.evaluation.settings import OFFLINE, EvaluationSettings
from train import akd, autoencoder, teacher
from train.config import DataSettings, parse_settings
from train.loop import explained, keep_freed_memory
from train.motion_figures import Sampling, long_figures, performances, short_figures

KINDS = ("motion", "long", "paired")
METRICS = tuple(name for name in OFFLINE if name != "resources")
"""All arms have one architecture: none is faster, and the memory of this process is also that of training."""
DATA_SETTINGS = {field.name for field in fields(DataSettings)}
SETTINGS = {akd: akd.AKDSettings, teacher: teacher.TeacherSettings}


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Attributes:
    akd: configuration of `train/akd.py` that all arms share.
    output: folder for teachers, arms, evaluations and report.
    steps: optimiser steps of every arm.
    teachers: by name: a pipeline folder, or what is changed of `teacher` to train one here.
    arms: settings of AKD by name of the arm; the others are compared with the first. Its `teacher` is the name of the
        one it starts from; without it that is the first.
    teacher: configuration of `train/teacher.py` that teachers which are trained here share.
    autoencoder: configuration of `train/autoencoder.py` that makes what these start from.
    common: settings that all arms and teachers change.
    seeds: times that each arm is trained, each with a seed of its own.
    kinds: which evaluations are made, of "motion", "long" and "paired".
    performances, face_model, holdout: tracks that the first of them is made with, every n-th.
    only: names of arms and teachers to work on now, with commas between them; None: all.
    teacher_steps: denoising steps of teachers; None: their own.
    dataset, split: clips of people that none of the arms has seen.
    clips, repeats: people, and videos of each with other noise.
    seconds: length of the long rollouts.
    batch, face_every, films, interval: see `asymtalker.evaluation.settings`.
    """

    akd: str
    output: str
    steps: int
    teachers: dict
    arms: dict
    teacher: str | None = None
    autoencoder: str | None = None
    common: dict | None = None
    seeds: int = 1
    kinds: tuple[str, ...] = ("long", "paired")
    performances: str = "data/performances"
    face_model: str = "train/face_model.safetensors"
    holdout: int = 40
    only: str | None = None
    teacher_steps: int | None = None
    dataset: str = "data/corpus"
    split: str = "test"
    clips: int = 8
    repeats: int = 3
    seconds: float = 600.0
    batch: int = 8
    face_every: int = 10
    films: int = 3
    interval: float = 10.0


@dataclass(frozen=True)
class Arm:
    """One line of the ablation.

    Attributes:
        name: of its folders too.
        pipeline: folder of its checkpoint.
        reference_mode: what it was trained with.
        steps: denoising steps to evaluate it with; None: its own.
        stage: `train.akd` or `train.teacher`; None for a checkpoint that is there already.
        arguments, settings: of that stage.
    """

    name: str
    pipeline: Path
    reference_mode: ReferenceMode = "temporal"
    steps: int | None = None
    stage: ModuleType | None = None
    arguments: list[str] | None = None
    settings: akd.AKDSettings | teacher.TeacherSettings | None = None

    def is_trained(self) -> bool:
        """Whether its checkpoint is there.

        Raises:
            ValueError: the folder holds an arm of other settings.
        """
        if self.settings is None:
            return True
        path = self._note
        if not path.is_file():
            return False
        note, mine = json.loads(path.read_text()), _plain(self.settings)
        if note["settings"] != mine:
            changed = sorted(key for key in mine if mine[key] != note["settings"].get(key))
            raise ValueError(
                f"{path.parent} holds an arm with other {', '.join(changed)}: delete it, or name another output."
            )
        return note["trained"]

    def train(self) -> None:
        """Trains it, or goes on where that was stopped.

        Raises:
            SystemExit: it was told to end before it was done.
        """
        self._write(trained=False)
        torch.compiler.reset()  # it compiles one code so often, then no more: later arms would train more slowly
        self.stage.main(self.arguments)
        step = json.loads((self._note.parent / "state" / "run.json").read_text())["step"]
        if step < self.settings.max_steps:
            raise SystemExit(f"{self.name} stopped at step {step}: the same command goes on from there.")
        self._write(trained=True)

    @property
    def _note(self) -> Path:
        return Path(self.settings.output) / "arm.json"

    def _write(self, trained: bool) -> None:
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.write_text(json.dumps({"settings": _plain(self.settings), "trained": trained}))


def _plain(settings: akd.AKDSettings | teacher.TeacherSettings) -> dict:
    return json.loads(json.dumps(asdict(settings)))


def plan(settings: AblationSettings) -> list[Arm]:
    """All arms, and the teachers at the end; a setting that a stage does not have ends the program here.

    Raises:
        ValueError: a name cannot be that of a folder or is there twice, or one is named that there is not.
    """
    wrong = set(settings.kinds) - set(KINDS)
    if wrong:
        raise ValueError(f"kinds: there is no {', '.join(sorted(wrong))}; there are {', '.join(KINDS)}.")
    teachers = {name: _teacher(name, source, settings) for name, source in settings.teachers.items()}
    arms = [
        _arm(name if settings.seeds == 1 else f"{name}-{seed}", {"seed": seed, **(changes or {})}, teachers, settings)
        for name, changes in settings.arms.items()
        for seed in range(settings.seeds)
    ]
    arms += teachers.values()
    names, wanted = [arm.name for arm in arms], _wanted(settings)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"{', '.join(twice)} is the name of an arm and of a teacher.")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"only names {', '.join(unknown)}, and the arms are {', '.join(names)}.")
    return arms


def _wanted(settings: AblationSettings) -> list[str]:
    return [name.strip() for name in settings.only.split(",")] if settings.only else []


def _teacher(name: str, source: str | dict | None, settings: AblationSettings) -> Arm:
    if isinstance(source, str):
        return Arm(name, Path(source), steps=settings.teacher_steps)
    if settings.teacher is None:
        raise ValueError(f"{name} is to be trained here, and teacher, the configuration for it, is missing.")
    start = {"init": str(_initial(settings))} if settings.autoencoder else {}
    changes = start | (settings.common or {}) | (source or {})
    return _trained(name, teacher, settings.teacher, changes, settings)


def _arm(name: str, changes: dict, teachers: dict[str, Arm], settings: AblationSettings) -> Arm:
    start = changes.pop("teacher", next(iter(teachers), None))
    if start not in teachers:
        raise ValueError(f"{name} starts from {start}, and the teachers are {', '.join(teachers) or 'none'}.")
    budget = {"teacher": str(teachers[start].pipeline), "max_steps": settings.steps, "max_minutes": None}
    return _trained(name, akd, settings.akd, budget | (settings.common or {}) | changes, settings)


def _trained(name: str, stage: ModuleType, config: str, changes: dict, settings: AblationSettings) -> Arm:
    """What a stage is to train with changes of its configuration."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"{name!r} cannot be the name of an arm: take letters, digits and -.")
    output = Path(settings.output) / ("arms" if stage is akd else "teachers") / name
    arguments = ["--config", config, *_overrides({"output": str(output)} | changes)]
    own = parse_settings(SETTINGS[stage], stage.__doc__, arguments)
    steps = None if stage is akd else settings.teacher_steps
    return Arm(name, output / "pipeline", own.reference_mode, steps, stage, arguments, own)


def _overrides(changes: dict) -> list[str]:
    return [part for key, value in changes.items() for part in ("--set", f"{key}={json.dumps(value)}")]  # JSON is YAML


def _initial(settings: AblationSettings) -> Path:
    """The pipeline with fresh networks that teachers start from."""
    return Path(settings.output) / "autoencoder"


def make_initial(settings: AblationSettings) -> None:
    """Makes what teachers start from, unless it is there."""
    if settings.autoencoder and not (_initial(settings) / "model_index.json").is_file():
        print("fitting the autoencoder")
        data = {key: value for key, value in (settings.common or {}).items() if key in DATA_SETTINGS}
        autoencoder.main(["--config", settings.autoencoder, *_overrides({"output": str(_initial(settings))} | data)])


def evaluation(arm: Arm, kind: str, settings: AblationSettings) -> EvaluationSettings:
    """How an arm is evaluated: with the reference that it was trained with."""
    return EvaluationSettings(
        dataset=settings.dataset,
        split=settings.split,
        checkpoint=str(arm.pipeline),
        metrics=METRICS,
        clips=settings.clips,
        repeats=settings.repeats,
        seconds=settings.seconds if kind == "long" else None,
        steps=arm.steps,
        reference_mode=arm.reference_mode,
        face_every=settings.face_every,
        batch=settings.batch,
        films=settings.films,
        interval=settings.interval,
    )


def measure_motion(arm: Arm, settings: AblationSettings) -> None:
    """Measures what an arm's motion frames do, in short rollouts and in long ones, unless that is done."""
    path = _folder(arm, "motion", settings) / "figures.json"
    if path.exists():
        return
    tracks = performances(settings.performances, settings.face_model, settings.holdout)
    pipeline = AsymTalkerPipeline.from_pretrained(arm.pipeline)
    sampling = Sampling(arm.steps or pipeline.config.num_inference_steps)
    found = short_figures(pipeline, tracks, sampling) | long_figures(pipeline, tracks, sampling, settings.seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2))


def write_table(measured: dict[str, Path], target: Path) -> None:
    """Writes the figures of arms as a table; of one that was trained several times, their mean and range."""
    arms: dict[str, list[dict[str, float]]] = {}
    for name, path in measured.items():
        arms.setdefault(re.sub(r"-\d+$", "", name), []).append(json.loads(path.read_text()))
    names = list(next(iter(arms.values()))[0])
    lines = [f"| | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for arm, runs in arms.items():
        columns = [[run[name] for run in runs] for name in names]
        lines.append(f"| {arm} | {' | '.join(map(_as_range, columns))} |")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n")


def _as_range(values: list[float]) -> str:
    mean = f"{sum(values) / len(values):.3g}"
    return mean if len(values) == 1 else f"{mean} [{min(values):.3g}, {max(values):.3g}]"


def report(arms: list[Arm], settings: AblationSettings) -> Path | None:
    """Writes tables and page of all evaluations that are done; None where there are none."""
    target = Path(settings.output) / "report"
    measured = {arm.name: path for arm in arms if (path := _folder(arm, "motion", settings) / "figures.json").exists()}
    if measured:
        write_table(measured, target / "motion.md")
    folders = [(arm.name, _folder(arm, kind, settings)) for kind in KINDS[1:] for arm in arms]
    done = [(name, folder) for name, folder in folders if (folder / "results.json").is_file()]
    if done:
        return compare_evaluations(done, target, "Ablation")
    return target / "motion.md" if measured else None


def _folder(arm: Arm, kind: str, settings: AblationSettings) -> Path:
    return Path(settings.output) / "evaluations" / arm.name / kind


def main(argv: list[str] | None = None) -> None:
    keep_freed_memory()
    settings = parse_settings(AblationSettings, __doc__, argv)
    arms, wanted = explained(plan, settings), _wanted(settings)
    todo = [arm for arm in arms if not wanted or arm.name in wanted]
    make_initial(settings)
    for arm in reversed(todo):  # the teachers first
        if not explained(arm.is_trained):
            print(f"{arm.name}: training")
            arm.train()
    for kind in settings.kinds:
        for arm in todo:
            print(f"{arm.name}: evaluation ({kind})")
            if kind == "motion":
                explained(measure_motion, arm, settings)
            else:
                explained(evaluate, evaluation(arm, kind, settings), _folder(arm, kind, settings))
        print(report(arms, settings))  # what there is so far can be looked at


if __name__ == "__main__":
    main()
