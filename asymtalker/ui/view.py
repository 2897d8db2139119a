"""What a video shows of its portrait: how much of it, how large, and whether it smiles at rest. All tabs ask that."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from asymtalker.generation import GenerateOptions
from asymtalker.media.picture import View

VIEWS = dict(zip(get_args(View), ("Whole picture", "Square around the face"), strict=True))
SIDES = (512, 720, 1080, 1920)
"""Offered, in pixels; work grows with their square."""
LARGEST_SIDE = max(SIDES)
SIDE = GenerateOptions.max_side
LIVE_SIDE = 512
"""Where no other is asked for: a live video is made in the time that it takes."""


def build_view(side: int = SIDE) -> list[gr.components.Component]:
    """Lays out the choices; their values are what `read_view` takes."""
    with gr.Row():
        shown = [(label, view) for view, label in VIEWS.items()]
        view = gr.Radio(shown, value=GenerateOptions.view, label="Video shows", min_width=160)
        sides = [(f"{offered} pixels", offered) for offered in SIDES]
        info = "smaller pictures keep their size"
        max_side = gr.Dropdown(sides, value=side, label="Longest side at most", info=info, min_width=160)
    smile = gr.Checkbox(label="Keep the portrait's smile in silence", value=GenerateOptions.keep_smile)
    return [view, max_side, smile]


def read_view(view: View, max_side: int | str, keep_smile: bool) -> dict[str, Any]:
    """The choices as `GenerateOptions` takes them.

    Raises:
        ValueError: the video would be too large for a page that is shared.
    """
    if isinstance(max_side, str) and max_side.isdecimal():  # as Gradio tells clients
        max_side = int(max_side)
    if isinstance(max_side, int) and max_side > LARGEST_SIDE:
        raise ValueError(f"max_side must be at most {LARGEST_SIDE} here, not {max_side}.")
    return {"view": view, "max_side": max_side, "keep_smile": keep_smile}
