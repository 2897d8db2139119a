"""Several evaluations beside each other: one table, one page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from asymtalker.evaluation.page import write_page
from asymtalker.evaluation.plots import STILLS, draw_stills, plot_together, read_stills
from asymtalker.evaluation.tables import (
    Results,
    by_label,
    checkpoint_title,
    describe,
    difference,
    figure,
    is_clear,
    kind_title,
)

TABLE = "results.md"
MEDIA = "films"
"""Folder of the page's films and pictures."""


def compare_evaluations(
    evaluations: Sequence[tuple[str | None, Path]], output: str | Path, heading: str = "Evaluations"
) -> Path:
    """Writes `results.md`, plots and `report.html` of finished evaluations; those of the same clips share a section.

    The first of a section is what the others are compared with, clip by clip. Films are copied, so that the folder can
    be moved as a whole.

    Args:
        evaluations: what each is called (None: its checkpoint's name), and its folder.
        output: folder to write to.

    Returns:
        the page.

    Raises:
        ValueError: a folder holds no finished evaluation, or two of a section are called alike.
        OSError: a file cannot be read or written.
    """
    output = Path(output)
    groups: dict[str, dict[str, Results]] = {}
    folders: dict[str, dict[str, Path]] = {}
    for name, folder in evaluations:
        results = _read(Path(folder))
        name = name or checkpoint_title(results["run"]["checkpoint"])
        title = kind_title(results)
        group = groups.setdefault(title, {})
        if name in group:
            raise ValueError(f"Two evaluations are called {name!r}: name them apart, as in {name}-2={folder}.")
        if group:  # the same real clips: once is enough
            results["films"] = {clip: {"generated": film["generated"]} for clip, film in results["films"].items()}
        folders.setdefault(title, {})[name] = Path(folder)
        group[name] = _with_copies(results, Path(folder), output, f"{len(groups)}-{len(group)}")
    plots = {
        title: _draw(group, folders[title], output, number)
        for number, (title, group) in enumerate(groups.items(), start=1)
    }
    (output / TABLE).write_text(_markdown(groups, plots, heading))
    return write_page(groups, output, heading)


def _read(folder: Path) -> Results:
    path = folder / "results.json"
    if not path.is_file():
        raise ValueError(f"{folder} holds no finished evaluation: there is no {path.name} in it.")
    results = json.loads(path.read_text())
    if "films" not in results:
        raise ValueError(f"{folder} was evaluated by an older version: evaluate it again.")
    return results


def _with_copies(results: Results, folder: Path, output: Path, prefix: str) -> Results:
    """The results with films and pictures copied to `output`, and named from there."""
    (output / MEDIA).mkdir(parents=True, exist_ok=True)

    def copied(name: str) -> str:
        target = Path(MEDIA) / f"{prefix}-{Path(name).name}"
        source, there = folder / name, output / target
        if not there.is_file() or there.stat().st_mtime < source.stat().st_mtime:
            shutil.copy2(source, there)
        return str(target)

    films = {clip: {kind: copied(name) for kind, name in kinds.items()} for clip, kinds in results["films"].items()}
    pictures = [copied(name) for name in results["plots"] if name == STILLS]
    return results | {"films": films, "plots": pictures}


def _draw(group: dict[str, Results], folders: dict[str, Path], output: Path, number: int) -> list[str]:
    """Draws what the evaluations of a section have in common; returns the names of the pictures."""
    pictures = []
    if plot_together(group, output / (curves := f"curves-{number}.png")):
        pictures.append(curves)
    clips = list(dict.fromkeys(clip for results in group.values() for clip in results["films"]))
    rows = {
        f"{name}, {clip}" if len(clips) > 1 else name: read_stills(folder, clip)
        for clip in clips
        for name, folder in folders.items()
    }
    if rows := {name: row for name, row in rows.items() if row}:
        draw_stills(rows).save(output / (frames := f"frames-{number}.png"))
        pictures.append(frames)
    return pictures


def _markdown(groups: dict[str, dict[str, Results]], plots: dict[str, list[str]], heading: str) -> str:
    lines = [f"# {heading}", ""]
    for title, group in groups.items():
        lines += [f"## {title}", "", *_table(group), ""]
        lines += [f"![{title}]({picture})\n" for picture in plots[title]]
        lines += [f"- {name}: {describe(results)}" for name, results in group.items()]
        lines.append("")
    return "\n".join(lines)


def _table(group: dict[str, Results]) -> list[str]:
    first, *_ = names = list(group)
    several = f" Δ: difference from {first}, clip by clip; bold where its interval leaves out 0." * (len(names) > 1)
    columns = {name: by_label(results) for name, results in group.items()}
    # what none of them could measure is in their own reports, with the reason
    labels = dict.fromkeys(label for rows in columns.values() for label, row in rows.items() if row["generated"])
    return [
        f"In brackets: 95 % bootstrap intervals over clips.{several}",
        "",
        f"| measure | {' | '.join(names)} | real clips | goal |",
        "|---" * (len(names) + 3) + "|",
        *(_line(label, [rows.get(label) for rows in columns.values()]) for label in labels),
    ]


def _line(label: str, rows: list[dict | None]) -> str:
    known = next(row for row in rows if row)
    cells = [_cell(row, rows[0] if index else None) for index, row in enumerate(rows)]
    return f"| {label} | {' | '.join(cells)} | {figure(known['real'])} | {known['goal']} |"


def _cell(row: dict | None, first: dict | None) -> str:
    if row is None or row["generated"] is None:
        return "–"
    found = difference(row, first)
    mark = "**" * is_clear(found)
    return figure(row["generated"]) + (f"; {mark}Δ {figure(found, signed=True)}{mark}" if found else "")
