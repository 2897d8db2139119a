"""The same portrait and speech through two settings, and what differs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
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
from asymtalker.media.film import Place, SideBySide
from asymtalker.media.portrait import PortraitCrop
from asymtalker.media.synthesis import SpokenText
from asymtalker.track import Reading, Speech

SIDES = ("left", "right")
COMPARED = ("checkpoint", "steps", "reference_mode", "color_match", "guidance_scale", "size")
"""Settings in which the two sides may differ."""


@dataclass(frozen=True)
class Comparison:
    """Two videos of one portrait and speech.

    Attributes:
        left, right: each with its figures; their times are those of both together, for both are made at once.
        film: an mp4 that shows them beside each other.
        places: where in the film each is: left, top, width and height in pixels.
    """

    left: GenerateResult
    right: GenerateResult
    film: Path
    places: list[Place]


def compare_videos(
    crop: PortraitCrop,
    speech: Speech,
    folder: str | Path,
    pair: tuple[GenerateOptions, GenerateOptions],
    apart: bool = True,
) -> Iterator[GenerateProgress | Comparison]:
    """Makes two videos in step, from the same noise: yields the progress, and the comparison at the end.

    Args:
        speech: mono speech in [−1, 1] at the pipelines' sampling rate, float32 (samples,), or a text, which is read
            once for both.
        folder: where side-by-side.mp4 is written.
        pair: the left settings and the right ones; the left's seed is used for both.
        apart: write left.mp4 and right.mp4 as well. Without it they are not there, and it takes less time.
    """
    seed, folder, started = draw_seed(pair[0]), Path(folder), time.monotonic()
    frames, results = [0, 0], {}
    with ExitStack() as opened:
        if isinstance(speech, SpokenText):
            rate = load_pipeline(pair[0].checkpoint).sampling_rate
            speech = opened.enter_context(closing(Reading(speech, rate, pair[0].max_seconds)))
        film = opened.enter_context(SideBySide(folder / "side-by-side.mp4", describe_difference(*pair)))
        sides = []
        for index, (name, options) in enumerate(zip(SIDES, pair, strict=True)):
            pipeline, path = load_pipeline(options.checkpoint), folder / f"{name}.mp4"
            stream = stream_video(pipeline, crop, speech, path, replace(options, seed=seed), film.side(index, apart))
            sides.append(opened.enter_context(closing(stream)))
        while len(results) < len(sides):
            index = min((side for side in range(len(sides)) if side not in results), key=frames.__getitem__)
            step = next(sides[index])
            if isinstance(step, GenerateResult):
                results[index] = step
            else:
                frames[index] = step.frames
                yield GenerateProgress(sum(frames), 2 * step.total, time.monotonic() - started)
    yield Comparison(results[0], results[1], folder / "side-by-side.mp4", film.places)


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
