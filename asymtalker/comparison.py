"""The same portrait and speech through two settings, and what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from asymtalker.generation import (
    GenerateOptions,
    GenerateProgress,
    GenerateResult,
    draw_seed,
    load_pipeline,
    stream_video,
)
from asymtalker.media.film import write_side_by_side
from asymtalker.media.portrait import PortraitCrop
from asymtalker.track import Speech

SIDES = ("left", "right")
COMPARED = ("checkpoint", "steps", "reference_mode", "color_match", "guidance_scale", "size")
"""Settings in which the two sides may differ."""


@dataclass(frozen=True)
class Comparison:
    """Two finished videos of one portrait and speech.

    Attributes:
        left, right: each with its figures.
        film: an mp4 that shows them beside each other.
    """

    left: GenerateResult
    right: GenerateResult
    film: Path


def compare_videos(
    crop: PortraitCrop, speech: Speech, folder: str | Path, pair: tuple[GenerateOptions, GenerateOptions]
) -> Iterator[GenerateProgress | Comparison]:
    """Makes one video after the other, from the same noise: yields the progress, and the comparison at the end.

    Args:
        speech: mono speech in [−1, 1] at the pipelines' sampling rate, float32 (samples,), or a text.
        folder: where left.mp4, right.mp4 and side-by-side.mp4 are written.
        pair: the left settings and the right ones; the left's seed is used for both.
    """
    seed, results = draw_seed(pair[0]), []
    for name, options in zip(SIDES, pair, strict=True):
        options = replace(options, seed=seed)
        elapsed = sum(result.elapsed for result in results)
        for step in stream_video(
            load_pipeline(options.checkpoint), crop, speech, Path(folder) / f"{name}.mp4", options
        ):
            if isinstance(step, GenerateResult):
                results.append(step)
            else:
                done = step.frames + step.total * len(results)
                yield GenerateProgress(done, 2 * step.total, elapsed + step.elapsed)
    captions = describe_difference(*pair)
    film = write_side_by_side(results[0].path, results[1].path, Path(folder) / "side-by-side.mp4", captions)
    yield Comparison(*results, film)


def describe_difference(left: GenerateOptions, right: GenerateOptions) -> tuple[str, str]:
    """What to call the two sides: the settings in which they differ."""
    names = [name for name in COMPARED if getattr(left, name) != getattr(right, name)]
    titles = []
    for letter, options in zip("AB", (left, right), strict=True):
        values = [f"{name.replace('_', ' ')} {_shown(getattr(options, name))}" for name in names]
        titles.append(f"{letter} · {', '.join(values) or 'the same settings'}")
    return tuple(titles)


def _shown(value: object) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
