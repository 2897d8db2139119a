"""Which of a portrait's faces is animated: the preview shows them in numbered boxes, and a click chooses one."""

from __future__ import annotations

import base64
import io
from typing import Any

import gradio as gr
from PIL import Image

from asymtalker.media.portrait import MIN_FACE, PortraitCrop

SIDE = 480  # pixels; long side of the picture in which faces are chosen

CROP_TEMPLATE = """
<div class="crop {{value.state}}">
  {{#if value.image}}<img src="{{value.image}}" alt="The part of the portrait that is animated">{{else}}<i></i>{{/if}}
  <p role="status">{{value.text}}</p>
</div>
{{#if value.faces}}<div class="faces" role="group" aria-label="Faces that were found">
  <img src="{{value.picture}}" alt="">
  {{#each value.faces}}<button type="button" data-face="{{this.number}}" aria-label="Face {{this.number}}"
    aria-pressed="{{this.pressed}}" style="{{this.place}}"><span>{{this.number}}</span></button>{{/each}}
</div>{{/if}}
"""
FACES_SCRIPT = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-face]');
  if (!button) return;
  for (const each of element.querySelectorAll('button[data-face]')) each.ariaPressed = each === button;
  trigger('select', {face: Number(button.dataset.face)});
});
"""


def read_face(event: gr.EventData) -> int:
    """The number of the face that was clicked; what is wrong with it is said when the portrait is cropped."""
    return getattr(event, "face", 1)


def show_faces(found: PortraitCrop) -> dict[str, Any]:
    """What the preview shows to choose from; nothing where there is one face only."""
    usable = [number for number, face in enumerate(found.faces, 1) if face.box.width >= MIN_FACE]
    if len(usable) < 2:
        return {}
    picture = found.picture.copy()
    picture.thumbnail((SIDE, SIDE))
    faces = [
        {"number": number, "pressed": str(number == found.face).lower(), "place": _place(found, number)}
        for number in usable
    ]
    return {"picture": as_address(picture), "faces": faces}


def _place(found: PortraitCrop, number: int) -> str:
    """CSS of the box of a face, in the picture."""
    (left, top, width, height), (across, down) = found.faces[number - 1].box, found.picture.size
    shares = {"left": left / across, "top": top / down, "width": width / across, "height": height / down}
    return "; ".join(f"{name}: {share:.2%}" for name, share in shares.items())


def as_address(picture: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
