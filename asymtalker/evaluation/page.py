"""The report page: what was evaluated, in one HTML file that asks nobody for anything; only the films lie beside it."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from asymtalker.evaluation.plots import CURVES, STILLS, whole_intervals
from asymtalker.evaluation.tables import Results, Row, by_label, describe, difference, figure, is_clear

PAGE = "report.html"
STATIC = Path(__file__).with_name("static")
COLOURS = 8
"""Of checkpoints, in the page's style; then they begin again."""


def write_page(groups: dict[str, dict[str, Results]], output: Path, heading: str = "Evaluation") -> Path:
    """Writes `report.html`.

    Args:
        groups: evaluations of the same clips, by what they are called, by the title of their section. Their films and
            pictures are named from `output`.
        output: folder of the page.
    """
    parts = {name: (STATIC / f"report.{name}").read_text() for name in ("html", "css", "js")}
    sections = [_section(name, group) for name, group in groups.items()]
    data = json.dumps([_data(group) for group in groups.values()], ensure_ascii=False)
    page = Template(parts["html"]).substitute(
        title=escape(heading),
        style=parts["css"],
        sections="\n".join(sections),
        data=data.replace("<", "\\u003c"),
        script=parts["js"],
    )
    (output / PAGE).write_text(page)
    return output / PAGE


def _section(heading: str, group: dict[str, Results]) -> str:
    clips = _clips(group)
    filmed = [any(clip in results["films"] for results in group.values()) for clip in clips]
    chosen = filmed.index(True) if any(filmed) else -1
    options = [
        f'<option value="{index}"{" selected" * (index == chosen)}>{escape(clip)}{" (curves only)" * (not film)}'
        "</option>"
        for index, (clip, film) in enumerate(zip(clips, filmed, strict=True))
    ]
    settings = [f'<p class="setting"><b>{escape(name)}</b>: {escape(describe(r))}</p>' for name, r in group.items()]
    return f"""<section>
<h2>{escape(heading)}</h2>
<div class="choose"><label>Clip <select>
<option value="-1"{" selected" * (chosen < 0)}>all, averaged</option>{"".join(options)}</select></label>
<div class="legend">{_legend(group)}</div></div>
<div class="viewer"><div class="screens"></div>
<div class="controls"><button class="play" type="button">Play</button>
<input class="timeline" type="range" min="0" max="1" step="0.04" value="0" aria-label="Time in seconds">
<span class="clock"></span><label><input class="sound" type="checkbox" checked> Sound</label></div></div>
<p class="hint no-films" hidden>No video of this clip was kept.</p>
<div class="plots"></div>
{_table(group)}
<details><summary>How it was measured</summary>{"".join(settings)}{_left_out(group)}</details>
{_stills(group)}
</section>"""


def _legend(group: dict[str, Results]) -> str:
    real = any(results["curves"]["drift"]["real"] for results in group.values())
    names = [*zip(group, _colours(group), strict=True), *[("real clips", "real")] * real]
    return "".join(f'<span class="dot" style="--colour: var(--{key})">{escape(name)}</span>' for name, key in names)


def _colours(group: dict[str, Results]) -> list[str]:
    """Names that the style sheet gives the evaluations' colours."""
    return [f"c{index % COLOURS}" for index in range(len(group))]


def _table(group: dict[str, Results]) -> str:
    first = next(iter(group))
    lines = _lines(group)
    measured = [rows for rows in lines if _is_measured(rows)]
    chance = any(row["shuffled"] for rows in measured for row in rows if row)
    names = "".join(f"<th>{escape(name)}</th>" for name in [*group, "real clips", *["chance"] * chance, "goal"])
    several = f" Small: difference from {escape(first)}, clip by clip; bold where its interval leaves out 0." * (
        len(group) > 1
    )
    return f"""<h3>Table</h3>
<p class="hint">In brackets: 95 % bootstrap intervals over clips.{several}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Table">
<table><thead><tr><th>measure</th>{names}</tr></thead>
<tbody>{"".join(_line(rows, chance) for rows in measured)}</tbody></table></div>"""


def _lines(group: dict[str, Results]) -> list[list[Row | None]]:
    """The rows of all evaluations, those of one measure together."""
    columns = [by_label(results) for results in group.values()]
    return [
        [rows.get(label) for rows in columns] for label in dict.fromkeys(label for rows in columns for label in rows)
    ]


def _is_measured(rows: list[Row | None]) -> bool:
    return any(row and row["generated"] for row in rows)


def _line(rows: list[Row | None], chance: bool) -> str:
    known = next(row for row in rows if row)
    unit = f' <span class="unit">({escape(known["unit"])})</span>' if known["unit"] else ""
    note = f'<small class="note">{escape(known["note"])}</small>' if known["note"] else ""
    cells = [_cell(row, rows[0] if index else None) for index, row in enumerate(rows)]
    cells += [f"<td>{figure(known[kind])}</td>" for kind in ("real", *["shuffled"] * chance)]
    cells.append(f"<td>{escape(known['goal'])}</td>")
    return f"<tr><th>{escape(known['label'])}{unit}{note}</th>{''.join(cells)}</tr>"


def _cell(row: Row | None, first: Row | None) -> str:
    if row is None or row["generated"] is None:
        return "<td>–</td>"
    found, below = difference(row, first), ""
    if found:
        clear = ' class="clear"' * is_clear(found)
        below = f"<small{clear}>{figure(found, signed=True)}</small>"
    return f"<td>{figure(row['generated'])}{below}</td>"


def _left_out(group: dict[str, Results]) -> str:
    reasons = {name: reason for results in group.values() for name, reason in results["left_out"].items()}
    lines = [f"Left out {escape(name)}: {escape(reason)}" for name, reason in reasons.items()]
    for rows in (rows for rows in _lines(group) if not _is_measured(rows)):
        row = next(row for row in rows if row)
        lines.append(f"Not measured, {escape(row['label'])}: {escape(row['note'])}")
    return "".join(f'<p class="setting">{line}</p>' for line in lines)


def _stills(group: dict[str, Results]) -> str:
    pictures = [
        f'<h3>{escape(name)}</h3><div class="scroll"><img src="{quote(path)}" alt="Frames over time"></div>'
        for name, results in group.items()
        for path in results["plots"]
        if path.endswith(STILLS)
    ]
    return (
        f'<details class="stills"><summary>Frames over time</summary>{"".join(pictures)}</details>' if pictures else ""
    )


def _clips(group: dict[str, Results]) -> list[str]:
    videos = (video for results in group.values() for video in results["curves"]["drift"]["generated"].values())
    return list(dict.fromkeys(video["clip"] for video in videos))


def _data(group: dict[str, Results]) -> dict[str, Any]:
    """What the page's script reads of a section."""
    return {
        "names": list(group),
        "colours": _colours(group),
        "interval": next(iter(group.values()))["curves"]["interval"],
        "clips": [_clip(name, group) for name in _clips(group)],
    }


def _clip(name: str, group: dict[str, Results]) -> dict[str, Any]:
    drift = [results["curves"]["drift"] for results in group.values()]
    interval = next(iter(group.values()))["curves"]["interval"]
    films = [{kind: quote(path) for kind, path in results["films"].get(name, {}).items()} for results in group.values()]
    real = [curves["real"] for curves in drift if curves["real"]]
    curves = [_curves(kinds["generated"], name, interval) for kinds in drift]
    return {
        "name": name,
        "seconds": max(video["seconds"] for side in curves for video in side),
        "films": [film.get("generated") for film in films],
        "real": next((film["real"] for film in films if "real" in film), None),
        "curves": curves,
        "real_curves": _curves(real[0], name, interval)[:1] if real else [],
    }


def _curves(videos: dict[str, Any], clip: str, interval: float) -> list[dict[str, Any]]:
    """Curves of all videos of a clip, rounded to what can be seen; without a last interval that is mostly missing."""
    return [
        {"seconds": video["seconds"]}
        | {
            key: [
                None if value is None else round(value, 4)
                for value in video[key][: whole_intervals(video["seconds"], interval)]
            ]
            for key in CURVES
            if key in video
        }
        for video in videos.values()
        if video["clip"] == clip
    ]
