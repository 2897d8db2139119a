"""Writes an evaluation down: `results.json`, `results.md` and plots."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

STILLS = "stills.png"
PLOTS = {
    "lab_distance": "colour: ΔE to the portrait",
    "sharpness_to_reference": "sharpness over the portrait's",
    "identity": "identity: 1 = somebody else",
    "geometry": "face geometry: 1 = somebody else",
}


def write_report(results: dict[str, Any], output: Path, stills: dict[str, list[np.ndarray]]) -> None:
    """Writes the three into `output`; plots need matplotlib (the extra `evaluate`): without it a line says so.

    Args:
        stills: rows of a picture, the portrait first; empty for none.
    """
    results["plots"] = _plot(results, output)
    if stills:
        Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in stills.values()])).save(output / STILLS)
        results["plots"].append(STILLS)
    (output / "results.json").write_text(json.dumps(_without_nan(results), indent=1, ensure_ascii=False))
    (output / "results.md").write_text(markdown(results))


def markdown(results: dict[str, Any]) -> str:
    """The results as a Markdown page: what was run, the table, what was left out, the plots."""
    settings, run = results["settings"], results["run"]
    speed = f"{run['clips_per_minute']:.1f} clips/min evaluated" if run["clips_per_minute"] else "clips measured before"
    long = f", long rollouts of {settings['seconds']:g} s" if settings["seconds"] else ""
    lines = [
        f"# {_short(run['checkpoint'])} on {_short(settings['dataset'])} ({settings['split']})",
        "",
        *([settings["description"].strip(), ""] if settings["description"] else []),
        f"{results['clips']} clips, {results['frames']} generated frames{long}; {run['steps']} steps, guidance "
        f"{run['guidance_scale']:g}, {'×'.join(map(str, run['frame_size']))}, window of {run['window'][0]} frames, "
        f"of which {run['window'][1]} are carried over, {run['vae']}, {run['dtype']}, seed {settings['seed']}.",
        f"{run['hardware']}, {run['processes']} process(es): {results['frames_per_second']:.1f} frames/s generated, "
        f"first frame after {results['first_frame']:.2f} s (medians); {speed}. "
        + ", ".join(f"{name} {version}" for name, version in run["versions"].items()) + ".",
        "Generated frames are measured as the pipeline gives them, without a codec and without a label; real ones as "
        "the dataset has them. In brackets: 95 % bootstrap intervals over clips. Real: the same measure of the real "
        "clips. Shuffled: generated lips beside other clips' real ones.",
        "",
        "| measure | generated | real | shuffled | goal | clips | note |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in results["rows"]),
        "",
    ]  # fmt: skip
    if results["left_out"]:
        lines += ["Left out:", "", *(f"- {name}: {reason}" for name, reason in results["left_out"].items()), ""]
    lines += [f"![{name}]({name})\n" if name.endswith(".png") else f"{name}\n" for name in results["plots"]]
    return "\n".join(lines)


def _short(name: str) -> str:
    """A folder's own name; a Hub id as it is."""
    return Path(name).resolve().name if Path(name).exists() else name


def _line(row: dict[str, Any]) -> str:
    label = f"{row['label']} ({row['unit']})" if row["unit"] else row["label"]
    if row["generated"] is None:
        return f"| {label} | unavailable | | | {row['goal']} | | {row['note']} |"
    figures = " | ".join(_figure(row[kind]) for kind in ("generated", "real", "shuffled"))
    return f"| {label} | {figures} | {row['goal']} | {row['generated']['clips']} | {row['note']} |"


def _figure(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "–"
    digits = 3 if abs(estimate["mean"]) < 10 else 1
    interval = (
        f" [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]" if math.isfinite(estimate["low"]) else ""
    )
    return f"{estimate['mean']:.{digits}f}{interval}"


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plot(results: dict[str, Any], output: Path) -> list[str]:
    """Names of the plots made, or one line that says why there are none."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ["No plots: pip install -e '.[evaluate]' for matplotlib."]
    figures = {"drift.png": _drift_figure(Figure, results), "lips.png": _lips_figure(Figure, results)}
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(output / name, dpi=120)
    return [name for name, figure in figures.items() if figure is not None]


def _drift_figure(make: Any, results: dict[str, Any]) -> Any:
    drift = results["curves"]["drift"]
    longest = max(len(clip["start"]) for clip in drift["generated"].values())
    if longest < 2:
        return None
    names = [name for name in PLOTS if any(name in clip for clip in drift["generated"].values())]
    figure = make(figsize=(4 * len(names), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for clip in drift["generated"].values():
            if name in clip:
                axis.plot(clip["start"][: len(clip[name])], clip[name], marker=".")
        axis.set(title=PLOTS[name], xlabel="seconds")
        axis.set_ylim(bottom=0)
    return figure


def _lips_figure(make: Any, results: dict[str, Any]) -> Any:
    lips = results["curves"].get("lips")
    if lips is None:
        return None
    figure = make(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 2))
    for kind in ("generated", "shuffled") if lips["shuffled"] else ("generated",):
        left.plot(lips["lags"], lips[kind], marker=".", label=kind)
    left.set(title="lips: correlation", xlabel="lag in frames")
    left.legend()
    for kind in ("real", "generated"):
        curve = lips["example"][kind]
        right.plot([frame / 25 for frame in range(len(curve))], curve, label=kind)
    right.set(title=f"lip opening of {lips['example']['name']}", xlabel="seconds", ylabel="eye distances")
    right.legend()
    return figure
