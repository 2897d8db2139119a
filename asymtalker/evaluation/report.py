"""Writes an evaluation down: `results.json`, `results.md`, `report.html` and plots."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from asymtalker.evaluation.page import write_page
from asymtalker.evaluation.plots import STILLS, draw_stills, plot
from asymtalker.evaluation.tables import checkpoint_title, describe, figure, kind_title, label, number

CLIPS_SHOWN = 12
"""Clip by clip, a table of more columns is hard to read: the page has them all."""


def write_report(results: dict[str, Any], output: Path, stills: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes all of them into `output`; plots need matplotlib (the extra `evaluate`): without it a line says so.

    Args:
        stills: frames of long rollouts, see `draw_stills`; empty for none.
    """
    results["plots"] = plot(results, output)
    if stills:
        draw_stills(stills).save(output / STILLS)
        results["plots"].append(STILLS)
    results = _without_nan(results)
    (output / "results.json").write_text(json.dumps(results, indent=1, ensure_ascii=False))
    (output / "results.md").write_text(markdown(results))
    name = checkpoint_title(results["run"]["checkpoint"])
    write_page({kind_title(results): {name: results}}, output, name)


def markdown(results: dict[str, Any]) -> str:
    """The results as a Markdown page: what was run, the table, what was left out, the plots."""
    settings = results["settings"]
    lines = [
        f"# {checkpoint_title(results['run']['checkpoint'])}: {kind_title(results)}",
        "",
        *([settings["description"].strip(), ""] if settings["description"] else []),
        describe(results),
        "Generated frames are measured as the pipeline gives them, without a codec and without a label; real ones as "
        "the dataset has them. In brackets: 95 % bootstrap intervals over clips. Real: the same measure of the real "
        "clips. Shuffled: generated lips beside other clips' real ones, or other clips' phones.",
        "",
        "| measure | generated | real | shuffled | goal | clips | note |",
        "|---|---|---|---|---|---|---|",
        *(_line(row) for row in results["rows"]),
        "",
    ]  # fmt: skip
    if settings["seconds"] and 1 < results["clips"] <= CLIPS_SHOWN:
        lines += _clip_by_clip(results["rows"])
    if results["left_out"]:
        lines += ["Left out:", "", *(f"- {name}: {reason}" for name, reason in results["left_out"].items()), ""]
    lines += [f"![{name}]({name})\n" if name.endswith(".png") else f"{name}\n" for name in results["plots"]]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    if row["generated"] is None:
        return f"| {label(row)} | unavailable | | | {row['goal']} | | {row['note']} |"
    figures = " | ".join(figure(row[kind]) for kind in ("generated", "real", "shuffled"))
    return f"| {label(row)} | {figures} | {row['goal']} | {row['generated']['clips']} | {row['note']} |"


def _clip_by_clip(rows: list[dict[str, Any]]) -> list[str]:
    rows = [row for row in rows if row["generated"] and row["generated"].get("by_clip")]
    names = list(dict.fromkeys(name for row in rows for name in row["generated"]["by_clip"]))
    lines = [f"| clip by clip | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        values = row["generated"]["by_clip"]
        cells = " | ".join(number(values[name]) if name in values else "–" for name in names)
        lines.append(f"| {label(row)} | {cells} |")
    return [*lines, ""]


def _without_nan(value: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
