"""What an evaluation is to do: a protocol, which is a YAML file, and what the command line changes of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from asymtalker.conditioning import ReferenceMode
from asymtalker.pipeline import MAX_STEPS

PROTOCOLS = Path(__file__).parents[1] / "metrics" / "protocols"
OFFLINE = (
    *("lips", "articulation", "lmd", "drift", "identity", "geometry", "seams", "silence", "blinks", "head"),
    *("similarity", "resources"),
)
DOWNLOADED = ("csim", "sync", "fid", "fvd")
METRICS = OFFLINE + DOWNLOADED
GROUPS = {"offline": OFFLINE, "all": METRICS}


@dataclass(frozen=True)
class EvaluationSettings:
    """How a checkpoint is evaluated.

    Args:
        dataset: folder or Hub id of mp4 clips with sound; or, for long rollouts, a folder of portraits and recordings.
        checkpoint: name of an embedded checkpoint, a folder, or a Hub id; None takes the default one.
        split: of the dataset.
        metrics: names out of `METRICS`, or "offline" (those that download nothing) or "all".
        clips: how many, evenly spread over the dataset; None takes all.
        names: stems of the clips' file names, where a protocol lists them; None takes any.
        person_column: column of the dataset that says who is shown; None: every clip is another person.
        crop: find the face in the first frame and crop around it; False takes the middle.
        max_seconds: longer clips are cut; None leaves them whole.
        seconds: long rollouts of so many seconds, to the speech of this clip and the next ones; None: the clip's own.
        steps, guidance_scale: None takes the checkpoint's own.
        reference_mode: "temporal" (TRE) or "static" (the paper's ablation), as the checkpoint was trained.
        seed: of the noise, the same for every clip.
        repeats: videos of every clip, with the seeds from `seed` on; intervals are over clips all the same.
        face_every: of long rollouts, look for the face in one second of so many, at most an `interval`; more than 1
            saves time, and leaves out what needs every frame (silence, blinks, head).
        batch: of long rollouts, so many are made in step, which is faster; it leaves out what each takes (resources).
        films: of how many clips the first video is kept as a file, for the report page.
        interval: seconds over which drift is averaged.
        description: what the protocol stands for; it is printed above the table.

    Raises:
        ValueError: an option is out of its range.
    """

    dataset: str
    checkpoint: str | None = None
    split: str = "test"
    metrics: tuple[str, ...] = ("offline",)
    clips: int | None = None
    names: tuple[str, ...] | None = None
    person_column: str | None = None
    crop: bool = True
    max_seconds: float | None = None
    seconds: float | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    reference_mode: ReferenceMode = "temporal"
    seed: int = 0
    repeats: int = 1
    face_every: int = 1
    batch: int = 1
    films: int = 0
    interval: float = 10.0
    description: str = ""

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS and name not in GROUPS]
        if unknown or not self.metrics:
            allowed = ", ".join((*GROUPS, *METRICS))
            raise ValueError(f"metrics must be some of {allowed}, not {', '.join(unknown) or 'none'}.")
        for name, least in (("clips", 1), ("repeats", 1), ("face_every", 1), ("batch", 1), ("films", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, not {value}.")
        if self.sparse and self.face_every > self.interval:
            raise ValueError(
                f"face_every must be at most {self.interval:g}, the seconds of an interval, not {self.face_every}: in "
                "each of them the face has to be looked for."
            )
        if self.reference_mode not in get_args(ReferenceMode):
            modes = " or ".join(get_args(ReferenceMode))
            raise ValueError(f"reference_mode must be {modes}, not {self.reference_mode!r}.")
        if self.steps is not None and not 1 <= self.steps <= MAX_STEPS:
            raise ValueError(f"steps must be 1 to {MAX_STEPS}, not {self.steps}.")
        if self.guidance_scale is not None and self.guidance_scale < 0:
            raise ValueError(f"guidance_scale must be 0 or more, not {self.guidance_scale}.")
        for name in ("seconds", "max_seconds", "interval"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 second or more, not {value}.")

    @property
    def sparse(self) -> bool:
        """Whether faces are looked for in some seconds only."""
        return self.seconds is not None and self.face_every > 1

    @property
    def in_step(self) -> int:
        """How many videos are made in step: those of clips have lengths of their own."""
        return 1 if self.seconds is None else self.batch

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the metrics, groups resolved, in the order of `METRICS`."""
        named = {metric for name in self.metrics for metric in GROUPS.get(name, (name,))}
        return tuple(name for name in METRICS if name in named)


def read_protocol(name: str | Path | None, **overrides: Any) -> EvaluationSettings:
    """The settings of a protocol, changed by those overrides that are not None.

    Args:
        name: of an embedded protocol, or a YAML file; None starts from the defaults.

    Raises:
        ValueError: there is no such protocol, or it has settings that do not exist or are out of range.
    """
    pairs = _read_yaml(name) if name is not None else {}
    pairs |= {key: value for key, value in overrides.items() if value is not None}
    known = [field.name for field in fields(EvaluationSettings)]
    unknown = sorted(set(pairs) - set(known))
    if unknown:
        raise ValueError(f"{name} sets {', '.join(unknown)}, which is not one of {', '.join(known)}.")
    if "dataset" not in pairs:
        raise ValueError("dataset is missing: name a folder or a Hub id of mp4 clips with --dataset.")
    return EvaluationSettings(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in pairs.items()}
    )


def _read_yaml(name: str | Path) -> dict[str, Any]:
    path = PROTOCOLS / f"{name}.yaml"
    path = path if path.is_file() else Path(name)
    if not path.is_file():
        embedded = ", ".join(sorted(path.stem for path in PROTOCOLS.glob("*.yaml")))
        raise ValueError(f"protocol {name!r} was not found: it must be one of {embedded}, or a YAML file.")
    try:
        pairs = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(pairs, dict):
        raise ValueError(f"{path} must hold settings, one `name: value` a line.")
    return pairs
