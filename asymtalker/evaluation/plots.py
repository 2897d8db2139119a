"""Plots of an evaluation, and the picture of its long rollouts; matplotlib is the extra `evaluate`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asymtalker.evaluation.summary import without_gaps
from asymtalker.metrics import bootstrap_mean

STILLS = "stills.png"
CURVES = {
    "lab_distance": "colour: ΔE to the portrait",
    "sharpness_to_reference": "sharpness over the portrait's",
    "motion": "frame difference, levels of 255",
    "identity": "identity: 1 = somebody else",
    "geometry": "face geometry: 1 = somebody else",
}
LETTERS = 14
"""Height of the words in the picture, in pixels."""


def read_stills(folder: Path, clip: str) -> dict[str, np.ndarray]:
    """The portrait and the frames that an evaluation kept of a clip's first video, uint8 (H, W, 3), by what they are;
    empty where there are none."""
    path = folder / "clips" / f"{clip}.json"
    marks = json.loads(path.read_text()).get("stills") if path.is_file() else None
    if not marks:
        return {}
    frames = np.load(path.with_suffix(".npz"))["stills"]
    portrait = np.asarray(Image.open(path.with_suffix(".png")))
    return {"portrait": portrait} | {f"{mark} s": frame for mark, frame in zip(marks, frames, strict=True)}


def draw_stills(stills: dict[str, dict[str, np.ndarray]]) -> Image.Image:
    """A picture with a row a video and a column a second; a video that is too short leaves places empty.

    Args:
        stills: frames uint8 (H, W, 3) by what they are called, by video.
    """
    columns = list(dict.fromkeys(name for row in stills.values() for name in row))
    height, width = next(iter(next(iter(stills.values())).values())).shape[:2]
    font = ImageFont.load_default(LETTERS)
    left = 2 * LETTERS + round(max(font.getlength(name) for name in stills))
    picture = Image.new("RGB", (left + width * len(columns), 2 * LETTERS + height * len(stills)), "white")
    pen = ImageDraw.Draw(picture)
    for x, name in enumerate(columns):
        pen.text((left + width * (x + 0.5), LETTERS), name, "black", font, anchor="mm")
    for y, (clip, row) in enumerate(stills.items()):
        pen.text((LETTERS, 2 * LETTERS + height * (y + 0.5)), clip, "black", font, anchor="lm")
        for name, frame in row.items():
            picture.paste(Image.fromarray(frame), (left + width * columns.index(name), 2 * LETTERS + height * y))
    return picture


def plot_together(group: dict[str, dict[str, Any]], path: Path) -> bool:
    """Draws the curves that all evaluations of the same clips have, with 95 % bootstrap intervals over clips.

    Args:
        group: results by what the evaluations are called.

    Returns:
        whether there is a picture: not without matplotlib, nor of clips that are over within one interval.
    """
    if not _can_draw():
        return False
    drawn = {name: _mean_curves(results) for name, results in group.items()}
    if max(len(curve) for curves in drawn.values() for curve in curves.values()) < 2:
        return False
    interval = next(iter(group.values()))["curves"]["interval"]
    shown = [name for name in CURVES if all(name in curves for curves in drawn.values())]
    figure = _figure(3.6 * len(shown), 3.4)
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, name in zip(axes, shown, strict=True):
        for index, (label, curves) in enumerate(drawn.items()):
            curve = np.array(curves[name])
            seconds = interval * (np.arange(len(curve)) + 0.5)
            axis.plot(seconds, curve[:, 0], color=f"C{index}", label=label)
            axis.fill_between(seconds, curve[:, 1], curve[:, 2], color=f"C{index}", alpha=0.2, linewidth=0)
        axis.set(title=CURVES[name], xlabel="seconds")
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(group))
    figure.savefig(path, dpi=120)
    return True


def _can_draw() -> bool:
    return find_spec("matplotlib") is not None


def _figure(width: float, height: float) -> Any:
    """An empty matplotlib figure of a size in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def whole_intervals(seconds: float, interval: float) -> int:
    """Intervals of a video that are shown: without a last one that lasts less than half as long as the others."""
    return max(1, round(seconds / interval))


def _mean_curves(results: dict[str, Any]) -> dict[str, list[tuple[float, float, float]]]:
    """Mean over clips, and its bootstrap interval, of each curve, by interval of time."""
    videos = list(results["curves"]["drift"]["generated"].values())
    found: dict[str, list[tuple[float, float, float]]] = {}
    whole = whole_intervals(min(video["seconds"] for video in videos), results["curves"]["interval"])
    for name in CURVES:
        by_clip: dict[str, list[list[float | None]]] = {}
        for video in (video for video in videos if len(video.get(name, ())) >= whole):
            by_clip.setdefault(video["clip"], []).append(video[name][:whole])
        if by_clip:
            columns = zip(*(zip(*curves, strict=True) for curves in by_clip.values()), strict=True)
            found[name] = [_mean_of_clips(column) for column in columns]
    return found


def _mean_of_clips(column: tuple[tuple[float | None, ...], ...]) -> tuple[float, float, float]:
    """Mean over clips, and its interval, of the values that each clip's videos have at one time; NaN without any."""
    means = [np.mean(found) for values in column if (found := without_gaps(values))]
    if not means:
        return (np.nan,) * 3
    estimate = bootstrap_mean(np.array(means))
    return estimate.mean, estimate.low, estimate.high


def plot(results: dict[str, Any], output: Path) -> list[str]:
    """Names of the plots made, or one line that says why there are none."""
    if not _can_draw():
        return ["No plots: pip install -e '.[evaluate]' for matplotlib."]
    figures = {"drift.png": _drift_figure(results), "lips.png": _lips_figure(results)}
    for name, figure in figures.items():
        if figure is not None:
            figure.savefig(output / name, dpi=120)
    return [name for name, figure in figures.items() if figure is not None]


def _drift_figure(results: dict[str, Any]) -> Any:
    """Of long rollouts a row of plots a clip, otherwise one row for all; a line a video."""
    drift = results["curves"]["drift"]["generated"]
    if max(len(video["start"]) for video in drift.values()) < 2:
        return None
    names = [name for name in CURVES if any(name in video for video in drift.values())]
    long = results["settings"]["seconds"] is not None
    clips = list(dict.fromkeys(video["clip"] for video in drift.values())) if long else [None]
    figure = _figure(3.6 * len(names), 0.6 + 2.2 * len(clips))
    axes = figure.subplots(len(clips), len(names), squeeze=False, sharex=True, sharey="col")
    for row, clip in zip(axes, clips, strict=True):
        for axis, name in zip(row, names, strict=True):
            for video in drift.values():
                if name in video and clip in (None, video["clip"]):
                    whole = whole_intervals(video["seconds"], results["curves"]["interval"])
                    curve = np.array(video[name][:whole], dtype=float)  # a gap is NaN, which is not drawn
                    axis.plot(video["start"][: len(curve)], curve, marker=".")
        row[0].set_ylabel(clip or "")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(CURVES[name])
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])  # of a column, whose rows share it
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    return figure


def _lips_figure(results: dict[str, Any]) -> Any:
    lips = results["curves"].get("lips")
    if lips is None:
        return None
    figure = _figure(10, 3.2)
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
