"""The gallery of examples: moving previews, of which a click gives portrait and recording to a tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from asymtalker.previews import preview_path
from asymtalker.ui.inputs import PRIVATE, shown_errors

GALLERY = """
<p class="label">{{label}}</p>
<div class="gallery" role="group" aria-label="{{label}}">
  {{#each value}}<button type="button" aria-label="Example: {{this.name}}" data-index="{{this.index}}">
    <picture>
      <source media="(prefers-reduced-motion: reduce)" srcset="{{this.still.url}}">
      <img src="{{this.preview.url}}" alt="{{this.name}} speaking" loading="lazy">
    </picture>
    <span aria-hidden="true">{{this.name}}</span>
  </button>{{/each}}
</div>
"""
GALLERY_SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('select', {index: Number(button.dataset.index)});
});
"""


@dataclass(frozen=True)
class Example:
    """A picture and a recording that belong together.

    Attributes:
        portrait: the picture, a JPEG.
        speech: the recording, a wav.
        preview: what the gallery shows: the moving preview, or the picture where none has been made.
    """

    portrait: Path
    speech: Path
    preview: Path

    @property
    def name(self) -> str:
        """What the gallery calls it: anna_maria.jpg is Anna maria."""
        return self.portrait.stem.replace("_", " ").capitalize()


def find_examples(folder: Path) -> list[Example]:
    """The examples in a folder (anna.jpg, anna.wav, previews/anna.webp), by name; pictures without a recording are
    left out."""
    found = []
    for portrait in sorted(folder.glob("*.jpg")):
        speech, preview = portrait.with_suffix(".wav"), preview_path(portrait)
        if speech.is_file():
            found.append(Example(portrait, speech, preview if preview.is_file() else portrait))
    return found


def build_examples(folder: Path, portrait: gr.Image, speech: gr.Audio, label: str) -> gr.events.Dependency | None:
    """The gallery of the examples in `folder`; returns the event of one being chosen, or None where there are none."""
    examples = find_examples(folder)
    if not examples:
        return None
    shown = [
        {"index": index, "name": example.name, "still": _file(example.portrait), "preview": _file(example.preview)}
        for index, example in enumerate(examples)
    ]
    gallery = gr.HTML(
        shown,
        html_template=GALLERY,
        js_on_load=GALLERY_SCRIPT,
        label=label,
        elem_id=f"examples-{speech.elem_id}",
        elem_classes="examples",
    )
    return gallery.select(_chooser(examples, portrait, speech), None, [portrait, speech], **PRIVATE)


def _chooser(
    examples: list[Example], portrait: gr.Image, speech: gr.Audio
) -> Callable[[gr.EventData], tuple[str, str]]:
    """What gives the files of the chosen example, as copies among the uploads: the tabs read no other files."""

    def choose(event: gr.EventData) -> tuple[str, str]:
        with shown_errors():
            chosen = examples[_read_index(event, len(examples))]
            return (
                save_file_to_cache(chosen.portrait, portrait.GRADIO_CACHE),
                save_file_to_cache(chosen.speech, speech.GRADIO_CACHE),
            )

    return choose


def _read_index(event: gr.EventData, count: int) -> int:
    """Which example the page says was chosen.

    Raises:
        ValueError: there is no such example.
    """
    index = getattr(event, "index", None)
    if type(index) is not int or not 0 <= index < count:
        raise ValueError(f"There is no example {index!r}: reload the page and choose one of {count}.")
    return index


def _file(path: Path) -> dict[str, Any]:
    """A file to which Gradio adds the address it serves it at."""
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()
