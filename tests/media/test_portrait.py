"""Portraits: photographs of every kind, the crop around one of the faces, and what is said about it."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFilter

from asymtalker.media.faces import Face, FaceBox
from asymtalker.media.hints import describe_face
from asymtalker.media.portrait import (
    MAX_SIDE,
    MIN_FACE,
    CropBox,
    adjusted_box,
    center_crop_box,
    crop_box,
    crop_portrait,
    read_portrait,
)

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))
RED, GREEN, GREY = (255, 0, 0), (0, 255, 0), (128, 128, 128)


def face(side):
    """A photograph of one person, `side` pixels a side."""
    return read_portrait(EXAMPLES[0]).resize((side, side), Image.Resampling.LANCZOS)


def side_by_side(*images):
    canvas = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), GREY)
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width
    return canvas


def two_halves(mode="RGB", size=(96, 64)):
    """Red on the left, green on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(GREEN, (size[0] // 2, 0, *size))
    return image.convert(mode)


def pixel(image, x, y):
    return np.array(image.getpixel((x, y)))


# Reading


@pytest.mark.parametrize("source", [str, Path, Image.open])
def test_sources(source):
    image = read_portrait(source(EXAMPLES[0]))
    assert image.mode == "RGB"
    assert image.size == (640, 640)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tiff", "avif"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_formats_and_modes(tmp_path, suffix, mode):
    path = tmp_path / f"portrait.{suffix}"
    image = two_halves("RGB" if mode == "P" and suffix in ("jpg", "webp", "avif") else mode)
    image.save(path)
    expected = np.asarray(image.convert("RGB"), dtype=int)
    found = read_portrait(path)
    assert found.mode == "RGB"
    np.testing.assert_allclose(pixel(found, 10, 32), expected[32, 10], atol=8)
    np.testing.assert_allclose(pixel(found, 86, 32), expected[32, 86], atol=8)


@pytest.mark.parametrize("orientation, red_at", [(1, (0, 32)), (3, (95, 32)), (6, (32, 0)), (8, (32, 95))])
def test_exif_orientation(tmp_path, orientation, red_at):
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_halves().save(tmp_path / "portrait.jpg", exif=exif, quality=95, subsampling=0)
    image = read_portrait(tmp_path / "portrait.jpg")
    assert image.size == ((96, 64) if orientation in (1, 3) else (64, 96))
    np.testing.assert_allclose(pixel(image, *red_at), RED, atol=8)


@pytest.mark.parametrize("alpha, expected", [(255, RED), (0, GREY), (128, (192, 64, 64))])
def test_transparency_shows_mid_grey(tmp_path, alpha, expected):
    Image.new("RGBA", (64, 64), (*RED, alpha)).save(tmp_path / "portrait.png")
    np.testing.assert_allclose(pixel(read_portrait(tmp_path / "portrait.png"), 32, 32), expected, atol=1)


def test_transparent_colour_of_a_palette(tmp_path):
    two_halves().quantize(2).save(tmp_path / "portrait.gif", transparency=0)
    image = read_portrait(tmp_path / "portrait.gif")
    assert tuple(pixel(image, 10, 32)) == GREY or tuple(pixel(image, 86, 32)) == GREY


def test_cmyk(tmp_path):
    two_halves("CMYK").save(tmp_path / "portrait.jpg", quality=95)
    image = read_portrait(tmp_path / "portrait.jpg")
    np.testing.assert_allclose(pixel(image, 10, 32), RED, atol=8)
    np.testing.assert_allclose(pixel(image, 86, 32), GREEN, atol=8)


@pytest.mark.parametrize("level, expected", [(0, 0), (32896, 128), (65535, 255)])
def test_sixteen_bits_are_scaled(tmp_path, level, expected):
    Image.fromarray(np.full((64, 64), level, np.uint16)).save(tmp_path / "portrait.png")
    assert tuple(pixel(read_portrait(tmp_path / "portrait.png"), 32, 32)) == (expected,) * 3


def test_colour_profiles_are_converted(tmp_path):
    """In a profile whose red and green primaries have changed places, (200, 100, 50) looks as (100, 200, 50)."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    Image.new("RGB", (64, 64), (200, 100, 50)).save(tmp_path / "portrait.png", icc_profile=profile)
    np.testing.assert_allclose(pixel(read_portrait(tmp_path / "portrait.png"), 32, 32), (100, 200, 50), atol=2)


def test_a_broken_colour_profile_is_ignored(tmp_path):
    two_halves().save(tmp_path / "portrait.png", icc_profile=b"no profile")
    assert tuple(pixel(read_portrait(tmp_path / "portrait.png"), 10, 32)) == RED


def test_the_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (64, 64), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "portrait.gif", save_all=True, append_images=frames[1:])
    assert tuple(pixel(read_portrait(tmp_path / "portrait.gif"), 32, 32)) == RED


def test_an_open_image_is_not_changed():
    image = Image.new("RGB", (MAX_SIDE + 100, 100), RED)
    assert read_portrait(image).width == MAX_SIDE
    assert image.size == (MAX_SIDE + 100, 100)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_large_images_are_reduced(tmp_path, suffix):
    two_halves(size=(6000, 1500)).save(tmp_path / f"portrait.{suffix}")
    image = read_portrait(tmp_path / f"portrait.{suffix}")
    assert image.size == (MAX_SIDE, MAX_SIDE // 4)
    np.testing.assert_allclose(pixel(image, 100, 100), RED, atol=8)


def test_huge_images_are_refused_before_they_are_decoded(tmp_path):
    Image.new("1", (20_000, 10_000)).save(tmp_path / "portrait.png")
    with pytest.raises(ValueError, match=r"too large: the limit is \d+ megapixels"):
        read_portrait(tmp_path / "portrait.png")


@pytest.mark.parametrize("size", [(1, 1), (63, 200)])
def test_small_images_are_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "portrait.png")
    with pytest.raises(ValueError, match=f"too small: {size[0]} × {size[1]}"):
        read_portrait(tmp_path / "portrait.png")


@pytest.mark.parametrize("content", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_refused(tmp_path, content):
    (tmp_path / "portrait.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"'portrait\.jpg' is not an image"):
        read_portrait(tmp_path / "portrait.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp"])
def test_truncated_images_are_refused(tmp_path, suffix):
    buffer = io.BytesIO()
    face(200).save(buffer, {"jpg": "jpeg"}.get(suffix, suffix))
    path = tmp_path / f"portrait.{suffix}"
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    with pytest.raises(ValueError, match=r"damaged or incomplete|not an image"):
        read_portrait(path)


def test_a_missing_file_is_named():
    with pytest.raises(OSError, match=r"nothing\.png"):
        read_portrait("nothing.png")


# Faces


def test_of_several_faces_the_largest_is_taken_and_it_says_so():
    crop = crop_portrait(side_by_side(face(240), face(400)))
    assert (len(crop.faces), crop.face) == (2, 1)
    assert crop.faces[0].box.width > crop.faces[1].box.width
    assert crop.box.left + crop.box.side / 2 > 240
    assert crop.note.startswith("2 faces were found; the largest is used. Another can be chosen by its number (face).")


def test_another_face_can_be_taken():
    image = side_by_side(face(300), face(400))
    crop = crop_portrait(image, face=2)
    assert crop.face == 2
    assert crop.box == crop_box(crop.faces[1].box, image.size)
    assert crop.box.left + crop.box.side / 2 < 300
    assert "number 2 by size is used" in crop.note


@pytest.mark.parametrize("wrong", [0, 3, -1, 1.5, "1"])
def test_a_face_that_is_not_there_is_refused(wrong):
    with pytest.raises(ValueError, match=r"face must be a whole number from 1 to 2, not .*: 2 faces were found"):
        crop_portrait(side_by_side(face(300), face(400)), face=wrong)


def test_one_face_needs_no_note():
    crop = crop_portrait(face(640))
    assert crop.note == ""
    assert crop.image.size == (crop.box.side, crop.box.side)
    found = crop.faces[0].box
    assert crop.box.left <= found.left and crop.box.top <= found.top
    assert crop.box.side >= found.width


def test_the_crop_is_the_part_of_the_picture_it_says():
    image = face(400)
    crop = crop_portrait(image)
    left, top, side = crop.box
    np.testing.assert_array_equal(crop.image, np.asarray(image)[top : top + side, left : left + side])
    np.testing.assert_array_equal(crop.picture, image)


def test_no_face_is_refused_with_a_way_out():
    with pytest.raises(ValueError, match=r"No face was found.*turn off the face crop"):
        crop_portrait(two_halves(size=(200, 200)))


def test_a_small_face_of_a_large_photograph_is_taken_with_a_hint():
    canvas = Image.new("RGB", (4000, 2600), (90, 110, 130))
    canvas.paste(face(150), (2600, 1400))
    crop = crop_portrait(canvas)
    assert crop.faces[0].box.width == pytest.approx(64, abs=12)
    assert 2600 < crop.box.left + crop.box.side / 2 < 2750
    assert "The face is small" in crop.note


def test_a_face_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match=rf"too small: \d\d pixels wide, at least {MIN_FACE}"):
        crop_portrait(face(90))


def test_without_the_face_crop_the_middle_is_taken():
    crop = crop_portrait(two_halves(size=(200, 100)), find_face=False, face=7)
    assert crop.box == CropBox(50, 0, 100)
    assert (crop.faces, crop.face, crop.note) == ([], 0, "")
    assert tuple(pixel(crop.image, 49, 50)) == RED
    assert tuple(pixel(crop.image, 50, 50)) == GREEN


# Hints


def test_a_blurred_face():
    assert "blurred" in crop_portrait(face(640).filter(ImageFilter.GaussianBlur(9))).note


def test_a_face_that_is_cut_off():
    image = face(640)
    found = crop_portrait(image).faces[0].box
    cut = image.crop((found.left + found.width // 4, 0, 640, 640))
    assert "cut off by the picture's edge" in crop_portrait(cut).note
    assert "cut off" not in crop_portrait(image).note


def test_a_tilted_head():
    assert "tilted" in crop_portrait(face(640).rotate(40, fillcolor=GREY)).note


@pytest.mark.parametrize("nose, turned", [(0.0, False), (0.25, True), (-0.25, True)])
def test_a_face_that_is_turned_away(nose, turned):
    """The nose of a frontal face lies on the line from between the eyes to the mouth."""
    points = np.array([(150, 150), (250, 150), (200 + 141 * nose, 200), (160, 250), (240, 250)], np.float32)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    hints = describe_face(noise, Face(FaceBox(100, 100, 200, 200), 1.0, points))
    assert any("turned away" in hint for hint in hints) == turned


# The square


@pytest.mark.parametrize(
    "size, box",
    [((100, 100), (0, 0, 100)), ((200, 100), (50, 0, 100)), ((100, 201), (0, 50, 100))],
)
def test_center_crop(size, box):
    assert center_crop_box(size) == box


@pytest.mark.parametrize(
    "found, margin, box",
    [
        (FaceBox(400, 400, 200, 200), 1.5, (350, 350, 300)),  # room all around
        (FaceBox(0, 400, 200, 200), 1.5, (0, 350, 300)),  # pushed in from the left
        (FaceBox(800, 800, 200, 200), 1.5, (700, 700, 300)),  # and from the lower right
        (FaceBox(100, 100, 900, 900), 1.5, (0, 0, 1000)),  # no room for the margin
    ],
)
def test_crop_box_lies_in_the_image(found, margin, box):
    assert crop_box(found, (1000, 1000), margin) == box


@pytest.mark.parametrize(
    ("zoom", "shift", "expected"),
    [
        (1, (0, 0), CropBox(100, 100, 200)),
        (2, (0, 0), CropBox(150, 150, 100)),
        (1, (0.25, -0.25), CropBox(150, 50, 200)),
        (1, (5, 5), CropBox(300, 200, 200)),  # no further than the edge
        (0.1, (0, 0), CropBox(0, 0, 400)),  # no more than there is
        (50, (0, 0), CropBox(168, 168, 64)),
    ],
)
def test_the_crop_is_adjusted_within_the_image(zoom, shift, expected):
    assert adjusted_box(CropBox(100, 100, 200), (500, 400), zoom, shift) == expected


def test_an_adjusted_crop_shows_that_part():
    image = two_halves(size=(256, 128))
    assert pixel(crop_portrait(image, find_face=False, shift=(0.5, 0)).image, 30, 64) == pytest.approx(GREEN)
    for wrong in ({"zoom": 0}, {"zoom": float("nan")}, {"zoom": "near"}, {"shift": (0, 9)}, {"shift": (None, 0)}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a number from"):
            crop_portrait(image, find_face=False, **wrong)
