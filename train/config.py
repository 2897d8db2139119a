"""What a stage starts with: its settings, a dataclass filled from a YAML file and `--set key=value`; its log."""

import argparse
import dataclasses
import difflib
import logging
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import yaml

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the clips are and how windows are cut from them.

    Attributes:
        dataset: Hub id or folder.
        split: split of the dataset.
        holdout: every n-th clip (of a stream: one in n) is kept out of training, for choosing settings; 0 keeps none.
        store: folder for decoded clips.
        size: side of the frames in pixels.
        face_model: file of the linear face model (`train/face_model.py`) that makes motion of a folder of performances
            (`train/perform.py`), which `dataset` then is; None: the dataset has clips.
        clips: use only the first n clips (to overfit on purpose), or all.
        streaming: read clips as they are needed and keep `open_clips` of them in memory, instead of storing all.
        open_clips: of a stream, per process; windows are drawn from all of them at random.
        passes: how often a streamed clip's frames are used before another takes its place.
        workers: processes that load windows, or threads that decode a stream.
        seed: of everything random.
    """

    dataset: str
    split: str = "train"
    holdout: int = 0
    store: str = "data/store"
    size: int = 128
    face_model: str | None = None
    clips: int | None = None
    streaming: bool = False
    open_clips: int = 32
    passes: float = 1.0
    workers: int = 1
    seed: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How long a stage runs, where its results go, and how fast its numbers are.

    Attributes:
        output: folder for the checkpoint (`pipeline/`, EMA weights) and the state to resume from (`state/`).
        max_steps: optimiser steps at most.
        max_minutes: wall-clock minutes at most, over all resumed runs; the learning rate is annealed to whichever
            limit comes first.
        batch_size: samples of an optimiser step, over all processes.
        accumulation: passes in which a process goes through its share of them, to save memory.
        warmup_steps: steps of linear learning-rate warm-up.
        ema_decay: decay of the averaged weights.
        max_grad_norm: gradient clipping.
        mixed_precision: "no", "bf16" or "fp16".
        compile: torch.compile the transformer's blocks.
        gradient_checkpointing: recompute activations in the backward pass, which saves most of their memory.
        save_minutes: minutes between saves.
        log_steps: steps between log lines.
        sample_steps: steps between sample videos of a held-out clip, in `samples/`; 0 for none.
        tracker: an accelerate tracker ("tensorboard", "wandb", ...) that gets the figures too.
        hub_model_id: model repository that checkpoints are pushed to.
        hub_branch: branch of this run there; the name of `output` by default.
        hub_private: whether a new repository is private.
        push_steps: steps between pushes.
        resume_from: "hub" takes up the run from its branch, on whatever machine.
    """

    output: str
    max_steps: int = 1_000_000
    max_minutes: float | None = None
    batch_size: int = 16
    accumulation: int = 1
    warmup_steps: int = 100
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0
    mixed_precision: str = "bf16"
    compile: bool = False
    gradient_checkpointing: bool = False
    save_minutes: float = 5.0
    log_steps: int = 20
    sample_steps: int = 1000
    tracker: str | None = None
    hub_model_id: str | None = None
    hub_branch: str | None = None
    hub_private: bool = False
    push_steps: int = 1000
    resume_from: Literal["hub"] | None = None

    def samples(self, processes: int) -> int:
        """Samples that a process takes in one pass.

        Raises:
            ValueError: `batch_size` cannot be divided so.
        """
        share, rest = divmod(self.batch_size, processes * self.accumulation)
        if rest or not share:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be divided among {processes} processes with {self.accumulation} "
                f"passes each: give a multiple of {processes * self.accumulation}."
            )
        return share


def start_logging() -> None:
    """Has the log written to stderr, without a line for every request to the Hub."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    for client in ("httpx", "httpx2"):  # either, by the version of huggingface_hub
        logging.getLogger(client).setLevel(logging.WARNING)


def parse_settings(cls: type[Settings], description: str, argv: list[str] | None = None) -> Settings:
    """Reads settings from the command line.

    `--config FILE` names the YAML file; `--set key=value` (repeatable, YAML values) overrides any key, and the most
    used ones of a stage have options of their own.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, type=Path, help="YAML file of settings")
    if issubclass(cls, RunSettings):
        parser.add_argument("--max-minutes", type=float, help="end cleanly after so long, learning rate annealed to it")
        parser.add_argument("--hub-model-id", metavar="OWNER/NAME", help="push checkpoints to this model repository")
        parser.add_argument("--resume-from", choices=["hub"], help="take up the run from the repository")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    args = parser.parse_args(argv)
    values = yaml.safe_load(args.config.read_text()) or {}
    for assignment in args.set:
        key, separator, value = assignment.partition("=")
        if not separator:
            parser.error(f"--set wants KEY=VALUE, not {assignment}")
        values[key] = yaml.safe_load(value)
    options = {key: value for key, value in vars(args).items() if key not in ("config", "set") and value is not None}
    try:
        return build_settings(cls, values | options)
    except ValueError as error:
        parser.error(f"{args.config}: {error}")


def build_settings(cls: type[Settings], values: dict) -> Settings:
    """Builds settings from a mapping.

    Raises:
        ValueError: naming an unknown key and the nearest right one, the keys that are missing, or a value of the wrong
            kind.
    """
    fields, hints = {field.name: field for field in dataclasses.fields(cls)}, get_type_hints(cls)
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ValueError(f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"missing key {', '.join(missing)}")
    values = {name: _typed(name, value, hints[name]) for name, value in values.items()}
    if values.get("holdout") == 1:
        raise ValueError("holdout: 1 would leave no clip to train on")
    if values.get("resume_from") and not values.get("hub_model_id"):
        raise ValueError("resume_from: hub wants a hub_model_id")
    return cls(**values)


def _typed(name: str, value: Any, hint: Any) -> Any:
    """A value as its setting has it; YAML reads 2e-5, without a point, as text."""
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{name} must be a list, not {value!r}")
        return tuple(_typed(name, item, get_args(hint)[0]) for item in value)
    kinds = get_args(hint) or (hint,)
    if value is None and type(None) in kinds:
        return None
    if float in kinds and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{name} must be a number, not {value!r}") from None
    if int in kinds and (not isinstance(value, int) or isinstance(value, bool)):
        raise ValueError(f"{name} must be a whole number, not {value!r}")
    if bool in kinds and not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false, not {value!r}")
    if get_origin(hint) is Literal and value not in kinds:
        raise ValueError(f"{name} must be {' or '.join(map(repr, kinds))}, not {value!r}")
    return str(value) if str in kinds and not isinstance(value, bool) else value
