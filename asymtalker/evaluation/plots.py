"""Plots of an evaluation, and the picture of its long rollouts; matplotlib is the extra `evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


def draw_stills(stills: dict[str, dict[str, np.ndarray]]) -> Image.Image:
    """A picture with a row a clip and a column a second; a video that is too short leaves places empty.

    Args:
        stills: frames uint8 (H, W, 3) by what they are called, by clip.
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


def plot(results: dict[str, Any], output: Path) -> list[str]:
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
    """Of long rollouts a row of plots a clip, otherwise one row for all; a line a video."""
    drift = results["curves"]["drift"]["generated"]
    if max(len(video["start"]) for video in drift.values()) < 2:
        return None
    names = [name for name in CURVES if any(name in video for video in drift.values())]
    long = results["settings"]["seconds"] is not None
    clips = list(dict.fromkeys(video["clip"] for video in drift.values())) if long else [None]
    figure = make(figsize=(3.6 * len(names), 0.6 + 2.2 * len(clips)), layout="constrained")
    axes = figure.subplots(len(clips), len(names), squeeze=False, sharex=True, sharey="col")
    for row, clip in zip(axes, clips, strict=True):
        for axis, name in zip(row, names, strict=True):
            for video in drift.values():
                if name in video and clip in (None, video["clip"]):
                    whole = max(1, round(video["seconds"] / results["curves"]["interval"]))  # the rest is a rest
                    curve = video[name][:whole]
                    axis.plot(video["start"][: len(curve)], curve, marker=".")
        row[0].set_ylabel(clip or "")
    for axis, name in zip(axes[0], names, strict=True):
        axis.set_title(CURVES[name])
        axis.set_ylim(0, 1.05 * axis.get_ylim()[1])  # of a column, whose rows share it
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
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
