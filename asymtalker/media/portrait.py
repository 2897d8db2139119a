"""Portraits: read any photograph safely, find the face in it, and crop a square around the face."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms, ImageOps

from asymtalker.media.faces import Face, FaceBox, find_faces
from asymtalker.media.hints import describe_face

CROP_MARGIN = 1.55  # side of the crop, in widths of the face box
MIN_FACE = 48  # pixels; below this there is no face to animate, only a blur
MIN_SIDE = 64  # pixels; the smallest image that can hold such a face
MAX_SIDE = 4096  # pixels; larger images are reduced while they are read

# Only formats that Pillow decodes by itself: some others start external programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
DECODING_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    struct.error,
    zlib.error,
)
MID_GREY = (128, 128, 128, 255)

Image.init()  # registers all of FORMATS: Pillow alone would do so only once a common one has failed


class CropBox(NamedTuple):
    """A square inside an image, in pixels of the image."""

    left: int
    top: int
    side: int


@dataclass
class PortraitCrop:
    """The square part of a portrait that is animated.

    Attributes:
        image: the crop, RGB, `box.side` × `box.side` pixels (native resolution).
        box: where it was taken.
        faces: every face found in the portrait, largest first; empty when none was looked for.
        note: a few sentences for the user, or "" when there is nothing to say.
        picture: the whole portrait, RGB.
        face: number of the face that is used, 1 for the largest; 0 when none was looked for.
    """

    image: Image.Image
    box: CropBox
    faces: list[Face]
    note: str
    picture: Image.Image
    face: int = 0


def read_portrait(source: str | Path | Image.Image) -> Image.Image:
    """Reads a photograph as an upright RGB image of at most `MAX_SIDE` pixels a side.

    EXIF orientation is applied, embedded colour profiles are converted to sRGB, 16-bit images are scaled to 8 bits,
    transparency is laid over mid grey, and of an animation the first frame is taken (of an open `PIL.Image` the
    current one; the caller's image is not changed).

    Raises:
        ValueError: not an image that can be read, damaged, or too small or too large.
        OSError: the file cannot be opened.
    """
    if isinstance(source, Image.Image):
        return _decode(source)
    with open(source, "rb") as file:
        try:
            image = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError as error:
            limit = 2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise ValueError(f"The image is too large: the limit is {limit} megapixels. Reduce it first.") from error
        except DECODING_ERRORS as error:
            raise ValueError(
                f"{Path(source).name!r} is not an image that can be read. Save it as JPEG, PNG or WebP."
            ) from error
        image.draft(None, (MAX_SIDE, MAX_SIDE))  # JPEG only: decodes at 1/2, 1/4 or 1/8, never below this size
        return _decode(image)


def _decode(image: Image.Image) -> Image.Image:
    width, height = image.size
    try:
        image = _to_rgb(ImageOps.exif_transpose(image))
    except DECODING_ERRORS as error:
        raise ValueError(f"The image is damaged or incomplete ({error}). Save or upload it again.") from error
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    if min(image.size) < MIN_SIDE:
        raise ValueError(
            f"The image is too small: {width} × {height} pixels. At least {MIN_SIDE} × {MIN_SIDE} are needed."
        )
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Returns a new 8-bit sRGB image."""
    if image.mode == "F":
        raise ValueError("floating-point pixels; 8 or 16 bits are needed")
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips instead of scaling
        levels = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode != "CMYK":
        image = image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, MID_GREY), image)
    return image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Converts from the embedded ICC profile; an unusable profile (a grey one, a broken one) is ignored."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return image


def crop_box(face: FaceBox, size: tuple[int, int], margin: float = CROP_MARGIN) -> CropBox:
    """The square of `margin` face widths centred on the face, moved (and where needed reduced) to lie inside the image.

    Arithmetic only; training crops its clips with this same function.

    Args:
        face: the face box, in pixels.
        size: (width, height) of the image, in pixels.
        margin: side of the square in widths of the face box.
    """
    width, height = size
    side = min(round(margin * face.width), width, height)
    left = round(face.left + face.width / 2 - side / 2)
    top = round(face.top + face.height / 2 - side / 2)
    return CropBox(min(max(left, 0), width - side), min(max(top, 0), height - side), side)


def center_crop_box(size: tuple[int, int]) -> CropBox:
    """The largest square in the middle of an image of `size` (width, height)."""
    width, height = size
    side = min(width, height)
    return CropBox((width - side) // 2, (height - side) // 2, side)


def adjusted_box(
    box: CropBox, size: tuple[int, int], zoom: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> CropBox:
    """The square `zoom` times as close and moved by `shift`, kept inside the image and no smaller than `MIN_SIDE`.

    Args:
        size: (width, height) of the image, in pixels.
        shift: to the right and down, in sides of `box`.
    """
    side = max(min(round(box.side / zoom), *size), MIN_SIDE)
    left, top = (
        round(start + (box.side - side) / 2 + part * box.side) for start, part in zip(box[:2], shift, strict=True)
    )
    return CropBox(min(max(left, 0), size[0] - side), min(max(top, 0), size[1] - side), side)


def crop_portrait(
    image: Image.Image,
    find_face: bool = True,
    zoom: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    face: int | None = None,
) -> PortraitCrop:
    """Crops the square around a face, or with `find_face=False` the middle of the image.

    Args:
        image: RGB, as `read_portrait` returns it.
        zoom, shift: adjust the square, see `adjusted_box`.
        face: which one, 1 for the largest; None takes the largest. Without `find_face` it has no effect.

    Raises:
        ValueError: no face was found, or fewer than `face`, or it is under `MIN_FACE` pixels wide; `zoom` is not 0.1
            to 10, or `shift` not -5 to 5.
    """
    for name, value, low, high in (("zoom", zoom, 0.1, 10), ("shift", shift[0], -5, 5), ("shift", shift[1], -5, 5)):
        if not (isinstance(value, (int, float)) and low <= value <= high):
            raise ValueError(f"{name} must be a number from {low} to {high}, not {value!r}.")
    faces = find_faces(image) if find_face else []
    number = _choose(faces, face) if find_face else 0
    box = crop_box(faces[number - 1].box, image.size) if number else center_crop_box(image.size)
    if zoom != 1 or any(shift):
        box = adjusted_box(box, image.size, zoom, shift)
    square = image.crop((box.left, box.top, box.left + box.side, box.top + box.side))
    note = _note(image, faces, number) if number else ""
    return PortraitCrop(square, box, faces, note, image, number)


def _choose(faces: list[Face], face: int | None) -> int:
    """The number of the face that is meant; raises ValueError where there is none that can be used."""
    if not faces:
        raise ValueError(
            "No face was found. Use a photograph in which the face is seen from the front, well lit and not covered, "
            "or turn off the face crop if the image is already a close portrait."
        )
    count = max(usable_faces(faces), 1)
    if face is not None and not (isinstance(face, int) and 1 <= face <= count):
        found = "1 face was found" if count == 1 else f"{count} faces were found"
        raise ValueError(f"face must be a whole number from 1 to {count}, not {face!r}: {found}.")
    number = face or 1
    width = faces[number - 1].box.width
    if width < MIN_FACE:
        raise ValueError(
            f"The face is too small: {width} pixels wide, at least {MIN_FACE} are needed. "
            "Use a larger photograph or one taken closer."
        )
    return number


def usable_faces(faces: list[Face]) -> int:
    """How many of the faces, largest first, are large enough to be animated."""
    return sum(face.box.width >= MIN_FACE for face in faces)


def _note(image: Image.Image, faces: list[Face], number: int) -> str:
    sentences = describe_face(np.asarray(image), faces[number - 1])
    if (count := usable_faces(faces)) > 1:
        used = "the largest is used" if number == 1 else f"number {number} by size is used"
        sentences.insert(0, f"{count} faces were found; {used}. Another can be chosen by its number (face).")
    return " ".join(sentences)
