"""Which part of a portrait is animated: the whole picture with its faces in numbered boxes, and a box to drag."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from asymtalker.media.faces import FaceBox
from asymtalker.media.portrait import CropBox, PortraitCrop, center_crop_box, crop_box, usable_faces

SIDE = 480  # pixels; long side of the picture in which faces and the box are chosen
THUMBNAIL = 192  # pixels; side of the part that is animated, as it is shown
ZOOMS, SHIFTS = (0.5, 3.0), (-1.5, 1.5)
"""How far the sliders and the box go."""
LEAST_SEEN = 0.6  # share of a face's square that the box must hold for the face to be animated

CROP_TEMPLATE = """
<div class="crop {{value.state}}">
  {{#if value.image}}<img src="{{value.image}}" alt="{{value.alt}}">{{else}}<i></i>{{/if}}
  <p role="status">{{value.text}}</p>
</div>
{{#if value.picture}}<div class="stage {{value.several}}" role="group" aria-label="The whole portrait">
  <img src="{{value.picture}}" alt="" draggable="false">
  <div class="box" style="{{value.box}}" data-base="{{value.base}}"
    title="Drag to move, drag the corner to resize"><i></i></div>
  {{#each value.faces}}<button type="button" data-face="{{this.number}}" aria-label="Face {{this.number}}"
    aria-pressed="{{this.pressed}}" style="{{this.place}}"><span>{{this.number}}</span></button>{{/each}}
</div>{{/if}}
"""
CROP_SCRIPT = (
    (Path(__file__).parent / "crop.js")
    .read_text()
    .replace("ZOOMS", str(list(ZOOMS)))
    .replace("SHIFTS", str(list(SHIFTS)))
)
DRAGGED = "() => document.querySelector('#crop [data-dragged]').dataset.dragged.split(' ').map(Number)"
"""Zoom and shifts of the box when it has been dragged."""


def read_face(event: gr.EventData) -> int:
    """The number of the face that was clicked; what is wrong with it is said when the portrait is cropped."""
    return getattr(event, "face", 1)


def show_crop(found: PortraitCrop) -> dict[str, Any]:
    """What the preview shows of a portrait: the part that is animated, and the whole with its faces and the box."""
    picture = found.picture.copy()
    picture.thumbnail((SIDE, SIDE))
    numbers = range(1, usable_faces(found.faces) + 1)
    faces = [
        {
            "number": number,
            "pressed": str(number == found.face).lower(),
            "place": _place(found.faces[number - 1].box, found.picture.size),
        }
        for number in numbers
        if len(numbers) > 1
    ]
    return {
        "image": as_address(found.image.resize((THUMBNAIL, THUMBNAIL))),
        "picture": as_address(picture),
        "faces": faces,
        "several": "several" if faces else "",
        "box": _place(FaceBox(*found.box, found.box.side), found.picture.size),
        "base": " ".join(f"{length / found.picture.width:.5f}" for length in _unadjusted(found)),
    }


def holds_face(found: PortraitCrop) -> bool:
    """Whether enough of the chosen face is in the box."""
    face, box = found.faces[found.face - 1].box, found.box
    across = min(face.left + face.width, box.left + box.side) - max(face.left, box.left)
    down = min(face.top + face.height, box.top + box.side) - max(face.top, box.top)
    return max(across, 0) * max(down, 0) >= LEAST_SEEN * face.width * face.height


def _unadjusted(found: PortraitCrop) -> CropBox:
    """Where the box lies before it is zoomed and shifted."""
    size = found.picture.size
    return crop_box(found.faces[found.face - 1].box, size) if found.face else center_crop_box(size)


def _place(box: FaceBox, size: tuple[int, int]) -> str:
    """CSS of a box in a picture of `size` (width, height)."""
    (left, top, width, height), (across, down) = box, size
    shares = {"left": left / across, "top": top / down, "width": width / across, "height": height / down}
    return "; ".join(f"{name}: {share:.2%}" for name, share in shares.items())


def as_address(picture: Image.Image) -> str:
    """A picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
