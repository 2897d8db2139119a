"""The portrait that all tabs share: the upload, what is found in it, and how it is cropped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from asymtalker.generation import load_pipeline, portrait_note
from asymtalker.media.faces import find_faces
from asymtalker.media.portrait import PortraitCrop
from asymtalker.ui.faces import CROP_SCRIPT, CROP_TEMPLATE, DRAGGED, SHIFTS, ZOOMS, holds_face, read_face, show_crop
from asymtalker.ui.inputs import PRIVATE, Upload, name_example, read_crop
from asymtalker.ui.words import in_page_words

NO_CROP = {"text": "A photograph, a painting or a drawing in which a face looks at you."}
OUTSIDE = "The box does not hold the face, so nothing can be animated: drag it over the face, or press Reset."
NO_FACE = "No face is seen in this part. It is treated as one all the same, because “Find the face” is off."
RESET_CROP = """(portrait, ...crop) => {
  const shown = (window.portraits ??= {}), another = portrait && shown.last && shown.last !== portrait.path;
  if (portrait) shown.last = portrait.path;
  return another ? [true, 1, 0, 0, null] : crop;
}"""
"""The crop belongs to a portrait: another one begins anew, but the first keeps what a link has set."""


@dataclass(frozen=True)
class PortraitInput:
    """A portrait, and how it is cropped.

    Attributes:
        image: the upload.
        adjustments: whether the face is found, zoom, shift to the right and down, number of the face; what `read_crop`
            takes after it.
        usable: whether there is a portrait that can be animated, a `gr.State`.
        judged: the event after which that may have changed.
    """

    image: gr.Image
    adjustments: list[gr.components.Component]
    usable: gr.State
    judged: gr.events.Dependency

    @property
    def components(self) -> list[gr.components.Component]:
        """All of it, in the order in which `read_crop` takes it."""
        return [self.image, *self.adjustments]


def build_portrait(checkpoint: str | None) -> PortraitInput:
    """Lays out the portrait, what of it is animated, and what adjusts that."""
    image = gr.Image(
        label="Portrait",
        sources=["upload", "webcam", "clipboard"],
        type="filepath",
        height=250,
        buttons=["fullscreen"],
        elem_id="portrait",
    )
    name_example(image, "nora.jpg")
    preview = gr.HTML(NO_CROP, html_template=CROP_TEMPLATE, js_on_load=CROP_SCRIPT, elem_id="crop")
    usable = gr.State(False)
    with gr.Accordion("Adjust the crop", open=False, elem_id="adjust"):
        crop = gr.Checkbox(label="Find the face and crop around it", value=True)
        zoom = gr.Slider(*ZOOMS, 1, step=0.01, label="Zoom", buttons=[])
        with gr.Row():
            right = gr.Slider(*SHIFTS, 0, step=0.01, label="Left – right", buttons=[], min_width=120)
            down = gr.Slider(*SHIFTS, 0, step=0.01, label="Up – down", buttons=[], min_width=120)
        with gr.Row():
            face = gr.Number(None, label="Face", info="1 is the largest", precision=0, minimum=1, min_width=90)
            reset = gr.Button("Reset", size="sm", min_width=90)
    adjustments = [crop, zoom, right, down, face]
    image.change(None, [image, *adjustments], adjustments, js=RESET_CROP, api_visibility="private")
    reset.click(None, None, adjustments, js="() => [true, 1, 0, 0, null]", api_visibility="private")
    preview.release(None, None, [zoom, right, down], js=DRAGGED, api_visibility="private")
    preview.select(read_face, None, face, **PRIVATE)
    judged = gr.on(
        [component.change for component in (image, *adjustments)],
        partial(judge_portrait, checkpoint),
        [image, *adjustments],
        [preview, usable],
        preprocess=False,
        trigger_mode="always_last",
        **PRIVATE,
    )
    return PortraitInput(image, adjustments, usable, judged)


def judge_portrait(checkpoint: str | None, portrait: Upload | None, *adjustments: Any) -> tuple[dict[str, Any], bool]:
    """What of the portrait will be animated, or why nothing can be; and whether it can."""
    if not portrait:
        return NO_CROP, False
    try:
        found = read_crop(portrait, *adjustments)
    except (ValueError, OSError) as error:
        return {"state": "trouble", "text": in_page_words(str(error))}, False
    shown = show_crop(found)
    if found.face and not holds_face(found):
        return shown | {"state": "trouble", "text": OUTSIDE, "alt": "The part that was chosen, without the face"}, False
    if not found.face and not find_faces(found.image):
        return shown | {"state": "doubt", "text": NO_FACE, "alt": "The part that was chosen"}, True
    return shown | {"text": _praise(checkpoint, found), "alt": "The part of the portrait that is animated"}, True


def _praise(checkpoint: str | None, found: PortraitCrop) -> str:
    note = in_page_words(portrait_note(load_pipeline(checkpoint), found))
    return note or "This face will do well."
