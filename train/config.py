"""Settings of a training stage: a dataclass, filled from a YAML file and `--set key=value`."""

import argparse
import dataclasses
import difflib
from pathlib import Path
from typing import TypeVar

import yaml

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Where the clips are and how windows are cut from them.

    Attributes:
        dataset: Hub id or folder.
        split: split of the dataset.
        holdout: every n-th clip is kept out of training, for choosing settings; 0 keeps none.
        store: folder for decoded clips.
        size: side of the frames in pixels.
        clips: use only the first n clips (to overfit on purpose), or all.
        workers: processes that load windows.
        seed: of everything random.
    """

    dataset: str
    split: str = "train"
    holdout: int = 0
    store: str = "data/store"
    size: int = 128
    clips: int | None = None
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
        batch_size: samples per process and step.
        warmup_steps: steps of linear learning-rate warm-up.
        ema_decay: decay of the averaged weights.
        max_grad_norm: gradient clipping.
        mixed_precision: "no", "bf16" or "fp16".
        compile: torch.compile the transformer's blocks.
        save_minutes: minutes between saves.
        log_steps: steps between log lines.
    """

    output: str
    max_steps: int = 1_000_000
    max_minutes: float | None = None
    batch_size: int = 16
    warmup_steps: int = 100
    ema_decay: float = 0.999
    max_grad_norm: float = 1.0
    mixed_precision: str = "bf16"
    compile: bool = False
    save_minutes: float = 5.0
    log_steps: int = 20


def parse_settings(cls: type[Settings], description: str, argv: list[str] | None = None) -> Settings:
    """Reads settings from the command line.

    `--config FILE` names the YAML file, `--max-minutes N` limits the run, `--set key=value` (repeatable, YAML values)
    overrides any other key.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", required=True, type=Path, help="YAML file of settings")
    parser.add_argument("--max-minutes", type=float, help="end cleanly after this time, learning rate annealed to it")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a setting")
    args = parser.parse_args(argv)
    values = yaml.safe_load(args.config.read_text()) or {}
    for assignment in args.set:
        key, separator, value = assignment.partition("=")
        if not separator:
            parser.error(f"--set wants KEY=VALUE, not {assignment}")
        values[key] = yaml.safe_load(value)
    if args.max_minutes is not None:
        values["max_minutes"] = args.max_minutes
    try:
        return build_settings(cls, values)
    except ValueError as error:
        parser.error(f"{args.config}: {error}")


def build_settings(cls: type[Settings], values: dict) -> Settings:
    """Builds settings from a mapping.

    Raises:
        ValueError: naming an unknown key and the nearest right one, or the keys that are missing.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            raise ValueError(f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    required = [name for name, field in fields.items() if field.default is dataclasses.MISSING]
    missing = [name for name in required if name not in values]
    if missing:
        raise ValueError(f"missing key {', '.join(missing)}")
    return cls(**values)
