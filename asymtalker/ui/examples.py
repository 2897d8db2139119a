"""The gallery of examples: moving previews. A click gives portrait and voice to all tabs, and plays the video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from asymtalker.previews import preview_path, video_path

CAPTIONS = "captions.json"
GALLERY = """
<p class="label" id="gallery-label">
Click somebody: the video plays at once.</p>
<div class="gallery" role="group" aria-labelledby="gallery-label">
  {{#each value}}<button type="button" aria-label="Play the example {{this.name}}" data-index="{{this.index}}">
    <picture>
      <source media="(prefers-reduced-motion: reduce)" srcset="{{this.portrait.url}}">
      <img src="{{this.preview.url}}" alt="{{this.alt}}">
    </picture>
    <span aria-hidden="true">{{this.name}}</span>
  </button>{{/each}}
</div>
"""
GALLERY_SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (!button) return;
  for (const each of element.querySelectorAll('button[data-index]')) each.ariaPressed = String(each === button);
  element.dataset.chosen = button.dataset.index;
  trigger('select', {index: Number(button.dataset.index)});
});
"""
CHOSEN = "const chosen = examples[document.querySelector('#examples [data-chosen]').dataset.chosen];"
"""What scripts of the gallery's `select` begin with, which get its value as `examples`."""


@dataclass(frozen=True)
class Example:
    """A picture and a recording that belong together.

    Attributes:
        name: what the gallery calls it.
        alt: what the picture shows, in words.
        portrait: the picture, a JPEG.
        speech: the recording, a wav.
        preview: what the gallery shows: the moving preview, or the picture where none has been made.
        video: the finished video, or None where it has not been made.
    """

    name: str
    alt: str
    portrait: Path
    speech: Path
    preview: Path
    video: Path | None


def find_examples(folder: Path) -> list[Example]:
    """The examples in a folder (anna.jpg, anna.wav, previews/anna.webp and .mp4); pictures without a recording are left
    out. Those that captions.json names come first, in its order; the others go by their files' names."""
    captions = json.loads(path.read_text()) if (path := folder / CAPTIONS).is_file() else {}
    order = list(captions)
    portraits = [portrait for portrait in sorted(folder.glob("*.jpg")) if portrait.with_suffix(".wav").is_file()]
    portraits.sort(key=lambda portrait: order.index(portrait.stem) if portrait.stem in captions else len(order))
    return [_example(portrait, captions.get(portrait.stem, {})) for portrait in portraits]


def _example(portrait: Path, caption: dict[str, str]) -> Example:
    name = caption.get("name") or portrait.stem.replace("_", " ").capitalize()
    preview, video = preview_path(portrait), video_path(portrait)
    return Example(
        name=name,
        alt=caption.get("alt") or name,
        portrait=portrait,
        speech=portrait.with_suffix(".wav"),
        preview=preview if preview.is_file() else portrait,
        video=video if video.is_file() else None,
    )


def build_gallery(folder: Path) -> gr.HTML | None:
    """The gallery of the examples in `folder`, whose `select` says that one was chosen; None where there are none.

    Its value is a list of mappings: index, name, alt, and the files portrait, speech, preview and video.
    """
    examples = find_examples(folder)
    if not examples:
        return None
    shown = [
        {
            "index": index,
            "name": example.name,
            "alt": example.alt,
            "portrait": _file(example.portrait),
            "speech": _file(example.speech),
            "preview": _file(example.preview),
            "video": example.video and _file(example.video),
        }
        for index, example in enumerate(examples)
    ]
    return gr.HTML(
        shown,
        html_template=GALLERY,
        js_on_load=GALLERY_SCRIPT,
        label="Examples",
        elem_id="examples",
        apply_default_css=False,
    )


def _file(path: Path) -> dict[str, Any]:
    """A file that Gradio copies among the uploads, the only ones that the tabs read, and gives an address."""
    return gr.FileData(path=str(path), orig_name=path.name).model_dump()
