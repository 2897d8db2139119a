"""The paper's ablation (arXiv 2605.02948): arms of AKD from one teacher with equal budgets, on unseen people.

    python train/ablation.py --config train/configs/tiny/ablation.yaml

Every arm is `train/akd.py` with a few settings changed; the teacher itself, run chunk by chunk, is one more. Each is
evaluated twice by `asymtalker.evaluation`: in long rollouts, and on clips beside the real ones. `report/` has the table
and the page. What is done already is not done again; several of these may work on one folder, each `only` on some arms.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import json
import re
from dataclasses import asdict, dataclass

import torch

from asymtalker.evaluation.compare import compare_evaluations
from asymtalker.evaluation.run import evaluate
from asymtalker.evaluation.settings import OFFLINE, EvaluationSettings
from train import akd
from train.config import parse_settings
from train.loop import explained

TEACHER = "teacher"
"""What the arm without distillation is called."""
KINDS = ("long", "paired")
METRICS = tuple(name for name in OFFLINE if name != "resources")
"""All arms have one architecture: none is faster, and the memory of this process is also that of training."""


@dataclass(frozen=True, kw_only=True)
class AblationSettings:
    """Attributes:
    akd: configuration of `train/akd.py` that all arms share.
    teacher: pipeline folder that all arms start from, unless an arm names its own.
    output: folder for arms, evaluations and report.
    steps: optimiser steps of every arm.
    arms: settings of AKD by name of the arm; the others are compared with the first.
    common: settings of AKD that all arms change.
    only: names of arms (or "teacher") to work on now, with commas between them; None: all.
    teacher_steps: denoising steps of the teacher; None: its own.
    dataset, split: clips of people that none of the arms has seen.
    clips, repeats: people, and videos of each with other noise.
    seconds: length of the long rollouts.
    face_every, films, interval: see `asymtalker.evaluation.settings`.
    """

    akd: str
    teacher: str
    output: str
    steps: int
    arms: dict
    common: dict | None = None
    only: str | None = None
    teacher_steps: int | None = None
    dataset: str = "data/corpus"
    split: str = "test"
    clips: int = 8
    repeats: int = 3
    seconds: float = 600.0
    face_every: int = 10
    films: int = 3
    interval: float = 10.0


@dataclass(frozen=True)
class Arm:
    """One line of the ablation.

    Attributes:
        name: of its folders too.
        pipeline: folder of its checkpoint.
        arguments, settings: of `train/akd.py`; None for the teacher, which is there already.
    """

    name: str
    pipeline: Path
    arguments: list[str] | None = None
    settings: akd.AKDSettings | None = None

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
        akd.main(self.arguments)
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


def _plain(settings: akd.AKDSettings) -> dict:
    return json.loads(json.dumps(asdict(settings)))


def plan(settings: AblationSettings) -> list[Arm]:
    """All arms, and the teacher at the end; a setting that AKD does not have ends the program here.

    Raises:
        ValueError: a name cannot be that of a folder, or `only` names an arm that there is not.
    """
    arms = [_arm(name, changes or {}, settings) for name, changes in settings.arms.items()]
    arms.append(Arm(TEACHER, Path(settings.teacher)))
    names, wanted = [arm.name for arm in arms], _wanted(settings)
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise ValueError(f"only names {', '.join(unknown)}, and the arms are {', '.join(names)}.")
    return arms


def _wanted(settings: AblationSettings) -> list[str]:
    return [name.strip() for name in settings.only.split(",")] if settings.only else []


def _arm(name: str, changes: dict, settings: AblationSettings) -> Arm:
    if not re.fullmatch(r"[\w-]+", name) or name == TEACHER:
        raise ValueError(f"{name!r} cannot be the name of an arm: take letters, digits and -, and not {TEACHER!r}.")
    output = Path(settings.output) / "arms" / name
    budget = {"teacher": settings.teacher, "output": str(output), "max_steps": settings.steps, "max_minutes": None}
    pairs = budget | (settings.common or {}) | changes
    arguments = ["--config", settings.akd]
    for key, value in pairs.items():
        arguments += ["--set", f"{key}={json.dumps(value)}"]  # JSON is YAML
    return Arm(name, output / "pipeline", arguments, parse_settings(akd.AKDSettings, akd.__doc__, arguments))


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
        steps=settings.teacher_steps if arm.settings is None else None,
        reference_mode=arm.settings.reference_mode if arm.settings else "temporal",
        face_every=settings.face_every,
        films=settings.films,
        interval=settings.interval,
    )


def report(arms: list[Arm], settings: AblationSettings) -> Path | None:
    """Writes table and page of all evaluations that are done; None where there are none."""
    folders = [(arm.name, _folder(arm, kind, settings)) for kind in KINDS for arm in arms]
    done = [(name, folder) for name, folder in folders if (folder / "results.json").is_file()]
    return compare_evaluations(done, Path(settings.output) / "report", "Ablation") if done else None


def _folder(arm: Arm, kind: str, settings: AblationSettings) -> Path:
    return Path(settings.output) / "evaluations" / arm.name / kind


def main(argv: list[str] | None = None) -> None:
    settings = parse_settings(AblationSettings, __doc__, argv)
    arms, wanted = explained(plan, settings), _wanted(settings)
    todo = [arm for arm in arms if not wanted or arm.name in wanted]
    for arm in todo:
        if not explained(arm.is_trained):
            print(f"{arm.name}: training")
            arm.train()
    for kind in KINDS:
        for arm in todo:
            print(f"{arm.name}: evaluation ({kind})")
            explained(evaluate, evaluation(arm, kind, settings), _folder(arm, kind, settings))
            print(report(arms, settings))  # what there is so far can be looked at


if __name__ == "__main__":
    main()
