"""What is in an evaluation's table, in words: the Markdown and the page show the same."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from asymtalker.metrics import bootstrap_mean

Row = dict[str, Any]
"""A row of `results.json`, see `asymtalker.evaluation.summary.Row`."""
Results = dict[str, Any]
"""What `results.json` holds."""


def checkpoint_title(checkpoint: str) -> str:
    """A folder's own name, or that of the run whose `pipeline` folder it is; a Hub id as it is."""
    path = Path(checkpoint)
    if not path.exists():
        return checkpoint
    name = path.resolve().name
    return path.resolve().parent.name if name == "pipeline" else name


def kind_title(results: Results) -> str:
    """What is evaluated, in words: evaluations of one title are of the same clips and length."""
    settings = results["settings"]
    set_name = f"{checkpoint_title(settings['dataset'])} ({settings['split']})"
    if settings["seconds"]:
        return f"Long rollouts of {settings['seconds']:g} s, {set_name}"
    return f"Clips and their real ones, {set_name}"


def describe(results: Results) -> str:
    """What the figures have to be read with: settings, hardware, versions."""
    settings, run = results["settings"], results["run"]
    rate = run["clips_per_minute"]
    parts = [
        f"{results['clips']} clips",
        f"{results['videos']} videos" if settings["repeats"] > 1 else "",
        f"{results['frames']} generated frames",
        f"long rollouts of {settings['seconds']:g} s to the speech of a clip and of those after it"
        if settings["seconds"]
        else "",
    ]
    model = [
        f"{run['steps']} step{'s' * (run['steps'] > 1)}",
        f"guidance {run['guidance_scale']:g}",
        "×".join(map(str, run["frame_size"])),
        f"window of {run['window'][0]} frames, of which {run['window'][1]} are carried over",
        "static reference" if settings["reference_mode"] == "static" else "",
        run["vae"],
        run["dtype"],
        f"seed {settings['seed']}" if settings["repeats"] == 1 else f"seeds from {settings['seed']} on",
    ]
    speed = f"{rate:.1f} videos/min evaluated" if rate else "measured before"
    return (
        f"{_listed(parts)}; {_listed(model)}. {run['hardware']}, {run['processes']} process(es): "
        f"{results['frames_per_second']:.1f} frames/s generated, first frame after {results['first_frame']:.2f} s "
        f"(medians); {speed}. {_listed([f'{name} {version}' for name, version in run['versions'].items()])}."
    )


def _listed(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def label(row: Row) -> str:
    """What a row measures, with its unit."""
    return f"{row['label']} ({row['unit']})" if row["unit"] else row["label"]


def by_label(results: Results) -> dict[str, Row]:
    """The rows of an evaluation by what they measure."""
    return {label(row): row for row in results["rows"]}


def figure(estimate: dict[str, Any] | None, signed: bool = False) -> str:
    """A mean with its interval, as it is read in a table."""
    if estimate is None or estimate["mean"] is None:
        return "–"
    digits, sign = 3 if abs(estimate["mean"]) < 10 else 1, "+" if signed else ""
    mean = f"{estimate['mean']:{sign}.{digits}f}"
    if estimate["low"] is None or not math.isfinite(estimate["low"]):
        return mean
    return f"{mean} [{estimate['low']:{sign}.{digits}f}, {estimate['high']:{sign}.{digits}f}]"


def number(value: float | None) -> str:
    """One figure, as it is read in a table."""
    return figure({"mean": value, "low": None})


def difference(row: Row | None, first: Row | None) -> dict[str, Any] | None:
    """How far a row is from another checkpoint's: the mean over clips of the differences clip by clip.

    Two checkpoints on the same clips differ by less than the clips do among themselves: intervals of each alone overlap
    where this one says clearly which is which.

    Returns:
        mean, low, high and clips as of an estimate; None without two clips in common.
    """
    if not (row and first and row["generated"] and first["generated"]):
        return None
    mine, theirs = (part["generated"].get("by_clip") or {} for part in (row, first))
    names = [name for name in mine if name in theirs]
    if len(names) < 2:
        return None
    return asdict(bootstrap_mean(np.array([mine[name] - theirs[name] for name in names])))


def is_clear(found: dict[str, Any] | None) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return bool(found) and found["low"] * found["high"] > 0
