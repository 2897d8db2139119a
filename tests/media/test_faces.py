"""Finding faces: in what sizes, lights, places and positions, and where there is none."""

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from asymtalker.media import faces
from asymtalker.media.faces import find_faces

WHOLE = {"lisa": 1, "manuel": 1, "pauline": 1, "trio": 3}
"""Of the examples two paintings and a group: how many faces they show. The others are portraits of one person."""
FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = [path for path in sorted(FOLDER.glob("*.jpg")) if path.stem not in WHOLE]


def photograph(side=640, number=0):
    """A photograph of one person, uint8 (side, side, 3)."""
    return np.asarray(Image.open(EXAMPLES[number]).convert("RGB").resize((side, side), Image.Resampling.LANCZOS))


def placed(picture, size, corner, colour=(90, 110, 130)):
    """A picture on a canvas of `size` (width, height), its upper left corner at `corner`."""
    canvas = np.full((size[1], size[0], 3), colour, np.uint8)
    left, top = corner
    canvas[top : top + len(picture), left : left + picture.shape[1]] = picture
    return canvas


def turned(image, degrees):
    """The image turned anticlockwise around its middle, and the 2 × 3 matrix that does so to its points."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), matrix


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_has_one_face_in_its_middle(path):
    image = Image.open(path).convert("RGB")
    (found,) = find_faces(image)
    box = found.box
    assert 0.3 * image.width < box.width < 0.6 * image.width
    assert box.left + box.width / 2 == pytest.approx(image.width / 2, abs=0.15 * image.width)
    assert 0.9 < found.confidence <= 1
    left_eye, right_eye, nose, left_mouth, right_mouth = found.points
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert ((found.points > (box.left, box.top)) & (found.points < (box.left + box.width, box.top + box.height))).all()


@pytest.mark.parametrize(("name", "faces"), WHOLE.items())
def test_the_faces_of_whole_pictures_are_found(name, faces):
    found = find_faces(Image.open(FOLDER / f"{name}.jpg").convert("RGB"))
    assert len(found) == faces
    assert found[0].box.width >= 110


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_box_is_where_the_haar_detector_puts_it(path):
    """The framing of all training crops."""
    image = np.asarray(Image.open(path).convert("RGB"))
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    (haar,) = cascade.detectMultiScale(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 1.1, 8, minSize=(120, 120))
    (found,) = find_faces(image)
    assert found.box.width / haar[2] == pytest.approx(1, abs=0.15)
    middle = np.array(found.box[:2]) + found.box.width / 2
    np.testing.assert_allclose(middle, haar[:2] + haar[2:] / 2, atol=0.05 * haar[2])


def test_faces_are_in_pixels_of_the_image_whatever_its_size():
    (small,), (large,) = find_faces(photograph(640)), find_faces(photograph(1920))
    np.testing.assert_allclose(large.points, 3 * small.points, atol=0.04 * large.box.width)
    np.testing.assert_allclose(large.box, 3 * np.array(small.box), atol=0.05 * large.box.width)


@pytest.mark.parametrize(
    ("size", "side", "corner"),
    [
        ((3000, 2000), 110, (2400, 300)),  # 1.5 % of the width
        ((3000, 300), 240, (1800, 40)),  # a panorama
        ((240, 2400), 200, (20, 1900)),
    ],
)
def test_small_faces_of_large_pictures(size, side, corner):
    (found,) = find_faces(placed(photograph(side), size, corner))
    middle = np.array(found.box[:2]) + found.box.width / 2
    assert (middle > corner).all() and (middle < np.array(corner) + side).all()
    assert 0.3 * side < found.box.width < 0.6 * side


def test_several_faces_come_largest_first():
    pictures = [photograph(side, number) for number, side in enumerate((200, 360, 280))]
    canvas = placed(pictures[0], (900, 400), (0, 0))
    canvas[:360, 220:580], canvas[:280, 600:880] = pictures[1:]
    found = find_faces(canvas)
    assert [220 * (face.box.left > 200) + 380 * (face.box.left > 580) for face in found] == [220, 600, 0]


@pytest.mark.parametrize("share", [0.2, 0.08, 0.04])
def test_dark_photographs(share):
    (bright,), (dark,) = find_faces(photograph()), find_faces((photograph() * share).astype(np.uint8))
    np.testing.assert_allclose(dark.points, bright.points, atol=0.06 * bright.box.width)


@pytest.mark.parametrize("degrees", [20, -45, 75, -90, 120, 180])
def test_rolled_heads(degrees):
    """The points turn with the head: the left eye stays the left one of the face."""
    image, matrix = turned(photograph(480), degrees)
    (upright,), (found,) = find_faces(photograph(480)), find_faces(image)
    expected = upright.points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found.points, expected, atol=0.08 * upright.box.width)


def test_grey_and_soft_photographs():
    grey = cv2.cvtColor(photograph(), cv2.COLOR_RGB2GRAY)
    for image in (np.repeat(grey[..., None], 3, 2), cv2.GaussianBlur(photograph(), (0, 0), 8)):
        assert len(find_faces(image)) == 1


def test_a_face_at_the_picture_s_edge():
    whole = photograph()
    (found,) = find_faces(whole)
    start = found.box.left + found.box.width // 5
    (cut,) = find_faces(whole[:, start:])
    np.testing.assert_allclose(cut.points, found.points - (start, 0), atol=0.08 * found.box.width)


def drawing():
    """Shapes such as a face has, in other places."""
    image = Image.new("RGB", (500, 400), (200, 190, 170))
    pen = ImageDraw.Draw(image)
    for x in range(20, 500, 90):
        pen.ellipse((x, 40, x + 50, 90), fill=(40, 30, 30))
        pen.rectangle((x, 150, x + 60, 180), fill=(170, 60, 60))
        pen.polygon([(x, 380), (x + 30, 260), (x + 60, 380)], fill=(60, 90, 160))
    return np.asarray(image)


def noise(height, width, coarseness=1):
    levels = np.random.default_rng(height + width + coarseness).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.resize(levels, None, fx=coarseness, fy=coarseness, interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize(
    "image",
    [
        drawing(),
        noise(200, 300),
        noise(12, 16, 24),
        noise(30, 40, 10),
        np.full((300, 200, 3), 128, np.uint8),
        np.zeros((64, 64, 3), np.uint8),
        np.kron(np.indices((8, 8)).sum(0)[..., None] % 2 * 255, np.ones((40, 40, 3))).astype(np.uint8),
        noise(1, 500),
        noise(700, 1),
        noise(1, 1),
        noise(70, 1400),
    ],
    ids=["shapes", "noise", "coarse", "fine", "grey", "black", "chessboard", "row", "column", "pixel", "strip"],
)
def test_pictures_without_people(image):
    assert find_faces(image) == []


def test_the_lower_half_of_a_face_is_none():
    image = photograph()
    (found,) = find_faces(image)
    assert find_faces(image[round(found.points[2, 1]) :]) == []


def test_what_is_known_of_a_picture_is_not_changed_by_who_asked(monkeypatch):
    image = photograph(320)
    first = find_faces(image)
    monkeypatch.setattr(faces, "_attempts", lambda pixels: pytest.fail("looked for again"))
    first.clear()
    (found,) = find_faces(image)
    with pytest.raises(ValueError, match="read-only"):
        found.points[0] = 0


def test_threads_do_not_disturb_one_another(monkeypatch):
    images = [photograph(320, number) for number in range(len(EXAMPLES))] * 2
    expected = [find_faces(image)[0].points for image in images]
    monkeypatch.setattr(faces, "KEPT", 0)
    monkeypatch.setattr(faces, "_known", OrderedDict())
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(find_faces, images))
    for found, points in zip(results, expected, strict=True):
        np.testing.assert_array_equal(found[0].points, points)
