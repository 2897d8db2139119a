"""The inside of the mouth, on a portrait that is drawn here."""

import cv2
import numpy as np
import pytest

from asymtalker.renderer.landmarks import EYES, LIPS_INNER, LIPS_OUTER, OUTER_EYES, POINTS, UPPER_LIP
from asymtalker.renderer.mouth import Mouth, lips_around_teeth

SIDE = 256
UNIT = 100  # pixels between the outer corners of the eyes
MIDDLE = 128  # x of the face's middle
LIP = 170  # y of the corners of the mouth
HALF_WIDTH = 25
SKIN, LIPS, WHITES, TEETH, DARK = (200, 150, 130), (180, 90, 90), (220, 215, 210), (215, 200, 180), (30, 10, 10)
STILL = np.array([[1.0, 0, 0], [0, 1, 0]])
OPENINGS = 12, 16, 22, 28  # pixels


def ring(half_width, upper, lower, middle=(MIDDLE, LIP)):
    """Inner or outer lips whose middle is so many pixels above and below the corners, (20, 2)."""
    along = np.linspace(-1, 1, 11)
    bow = 1 - along**2
    below = np.stack([along * half_width, bow * lower], axis=1)
    above = np.stack([along * half_width, -bow * upper], axis=1)
    return np.concatenate([below, above[-2:0:-1]]) + middle


def inner_lips(opening, drawn_up=2):
    return ring(HALF_WIDTH, drawn_up, opening - drawn_up)


def landmarks(opening):
    points = np.zeros((POINTS, 3), np.float32)
    points[:, :2] = MIDDLE, 130
    for eye, x in zip(EYES, (MIDDLE - UNIT / 2, MIDDLE + UNIT / 2), strict=True):
        side = np.sign(MIDDLE - x)
        angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        points[list(eye), :2] = np.stack([x + side * 12 * (1 - np.cos(angles)), 90 + 6 * np.sin(angles)], axis=1)
    points[list(LIPS_INNER), :2] = inner_lips(opening)
    points[list(LIPS_OUTER), :2] = ring(HALF_WIDTH + 6, 10, 8 + opening)
    for cheek, x in ((50, 70), (280, 186), (117, 75), (346, 181), (205, 85), (425, 171)):
        points[cheek, :2] = x, 140
    points[[234, 454], :2] = (40, 120), (216, 120)
    return points


def fill(image, polygon, color):
    cv2.fillPoly(image, [np.round(np.asarray(polygon) * 16).astype(np.int32)], color, cv2.LINE_AA, 4)


def portrait(opening=0, upper_edge=None, lower_edge=None):
    """A face and its landmarks; its teeth end at these y, None: it shows none."""
    points = landmarks(opening)
    image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    for eye in EYES:
        fill(image, points[list(eye), :2], WHITES)
        cv2.circle(image, tuple(points[list(eye), :2].mean(0).astype(int).tolist()), 4, (60, 40, 30), -1)
    fill(image, points[list(LIPS_OUTER), :2], LIPS)
    inside = np.full_like(image, DARK)
    if upper_edge is not None:
        inside[:upper_edge] = TEETH
        for gap in range(MIDDLE - 36, MIDDLE + 37, 9):
            inside[:upper_edge, gap] = (150, 130, 115)
    if lower_edge is not None:
        inside[lower_edge:] = TEETH
    mask = np.zeros_like(image)
    fill(mask, points[list(LIPS_INNER), :2], (255, 255, 255))
    share = mask / 255
    return (image * (1 - share) + inside * share).round().astype(np.uint8), points


def face_without_mouth(opening):
    """What the inside of the mouth is drawn into: lips that are open so far, with nothing between them yet."""
    image = np.full((SIDE, SIDE, 3), SKIN, np.uint8)
    fill(image, ring(HALF_WIDTH + 6, 10, 8 + opening), LIPS)
    return image


def draw(mouth, opening, drop=0.0, shift=(0, 0)):
    canvas = np.roll(face_without_mouth(opening), shift[::-1], axis=(0, 1))
    skull, jaw = STILL.copy(), STILL.copy()
    skull[:, 2], jaw[:, 2] = shift, (shift[0], shift[1] + drop)
    mouth.draw(canvas, inner_lips(opening) + shift, skull, jaw)
    return canvas


def rows_of_teeth(frame, x=MIDDLE + 4):
    """First and last+1 row (n, 2) of each run of tooth in a column between two gaps."""
    bright = frame[:, x].astype(int)
    column = ((2 * bright[:, 1] - bright[:, 0] > 110) & (bright[:, 1] > 80)) & (np.arange(SIDE) > LIP - 8)
    column &= np.arange(SIDE) < LIP + 32
    skin = (np.abs(bright - SKIN) < 3).all(1)
    return np.flatnonzero(np.diff(np.concatenate([[0], (column & ~skin).astype(int), [0]]))).reshape(-1, 2)


def height_of_teeth(frame, x=MIDDLE + 4):
    """Height of the upper teeth in a column, in pixels and their fractions: where their whiteness is half as high."""
    start, end = rows_of_teeth(frame, x)[0]
    column = frame[:, x].astype(float)
    whiteness = 2 * column[:, 1] - column[:, 0]
    half = whiteness[start:end].max() / 2
    first = next(row for row in range(start + 1, 0, -1) if whiteness[row - 1] < half)
    last = next(row for row in range(end - 2, SIDE) if whiteness[row + 1] < half)
    above = (whiteness[first] - half) / (whiteness[first] - whiteness[first - 1])
    below = (whiteness[last] - half) / (whiteness[last] - whiteness[last + 1])
    return last - first + above + below


@pytest.fixture(scope="module")
def smile():
    return Mouth(*portrait(opening=16, upper_edge=LIP + 9))


@pytest.fixture(scope="module")
def closed():
    return Mouth(*portrait())


def test_own_teeth_keep_their_height_and_place(smile):
    frames = [draw(smile, opening, drop=opening - 16) for opening in OPENINGS]
    heights = [height_of_teeth(frame) for frame in frames]
    print("heights of the teeth:", np.round(heights, 2))
    assert max(heights) - min(heights) < 0.1 * max(heights)
    edges = [rows_of_teeth(frame)[0, 1] for frame in frames]
    assert max(edges) - min(edges) <= 1 and abs(edges[0] - (LIP + 9)) <= 1


def test_own_teeth_are_the_photographs_pixels(smile):
    image, _ = portrait(opening=16, upper_edge=LIP + 9)
    frame = draw(smile, 28, drop=12)
    row = slice(MIDDLE - 10, MIDDLE + 11)
    difference = np.abs(frame[LIP + 5, row].astype(int) - image[LIP + 5, row])
    assert difference.mean() < 6 and image[LIP + 5, row].std() > 15  # gaps between teeth included


def test_below_the_own_teeth_it_is_dark(smile):
    frame = draw(smile, 28, drop=12)
    assert frame[LIP + 12 : LIP + 16, MIDDLE - 6 : MIDDLE + 6].mean() < 60


def test_lower_teeth_go_with_the_jaw():
    mouth = Mouth(*portrait(opening=20, upper_edge=LIP + 5, lower_edge=LIP + 12))
    edges = []
    for drop in (2, 4, 8):
        runs = rows_of_teeth(draw(mouth, 20 + drop, drop))
        assert len(runs) == 2
        edges.append(runs[:, [1, 0]].diagonal())  # where the upper teeth end, where the lower begin
    upper, lower = np.transpose(edges)
    assert np.ptp(upper) <= 1
    np.testing.assert_allclose(np.diff(lower), [2, 4], atol=1)


def test_a_portraits_own_mouth_is_shown_as_it_is_where_nothing_has_moved():
    image, points = portrait(opening=16, upper_edge=LIP + 9)
    frame = image.copy()
    frame[LIP + 2 : LIP + 10, MIDDLE - 8 : MIDDLE + 8] = 0  # drawn over
    Mouth(image, points).draw(frame, points[list(LIPS_INNER), :2], STILL, STILL)
    assert np.abs(frame.astype(int) - image).max() <= 1


def test_shut_lips_are_left_alone(closed, smile):
    for mouth in (closed, smile):
        canvas = face_without_mouth(0)
        mouth.draw(canvas, inner_lips(0, drawn_up=0), STILL, STILL)
        np.testing.assert_array_equal(canvas, face_without_mouth(0))


def test_lips_that_pass_through_each_other_count_as_shut(closed):
    canvas = face_without_mouth(0)
    closed.draw(canvas, inner_lips(-6, drawn_up=0), STILL, STILL)
    np.testing.assert_array_equal(canvas, face_without_mouth(0))


def test_only_the_open_mouth_changes(closed):
    changed = (draw(closed, 20, drop=20) != face_without_mouth(20)).any(-1)
    inside = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(inside, [np.round(inner_lips(20)).astype(np.int32)], 1)
    near = cv2.dilate(inside, np.ones((7, 7), np.uint8))
    assert not (changed & (near == 0)).any()
    core = cv2.erode(inside, np.ones((5, 5), np.uint8))
    assert changed[core > 0].mean() > 0.99


def test_painted_teeth_and_the_dark_below_them(closed):
    frame = draw(closed, 24, drop=20).astype(int)
    teeth, dark = frame[LIP - 1, MIDDLE + 3], frame[LIP + 8, MIDDLE + 3]
    assert dark.max() < 80 < teeth.max()
    assert (2 * teeth[1] - teeth[0]) > 2 * LIPS[1] - LIPS[0]  # whiter than the lips
    assert frame[LIP - 2 : LIP + 20, MIDDLE - 20 : MIDDLE + 20].max() <= max(WHITES)


def test_painted_teeth_take_the_portraits_light(closed):
    image, points = portrait()
    dim = draw(Mouth((image * 0.4).astype(np.uint8), points), 24, drop=20).astype(float)
    bright = draw(closed, 24, drop=20).astype(float)
    ratio = dim[LIP - 1, MIDDLE - 6 : MIDDLE + 7].mean() / bright[LIP - 1, MIDDLE - 6 : MIDDLE + 7].mean()
    assert 0.3 < ratio < 0.5


def test_a_grey_portrait_has_a_grey_mouth():
    image, points = portrait()
    grey = np.repeat(image.mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    frame = np.repeat(face_without_mouth(24).mean(-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    Mouth(grey, points).draw(frame, inner_lips(24), STILL, STILL)
    assert np.ptp(frame.astype(int), axis=-1).max() <= 1


def test_the_mouth_moves_with_the_head(smile):
    for drop in (0, 12):
        still, moved = draw(smile, 28, drop), draw(smile, 28, drop, shift=(9, -5))
        difference = np.abs(np.roll(still, (-5, 9), axis=(0, 1)).astype(int) - moved)
        assert difference.max() <= 6  # the grid on which shade is computed does not move along


def test_teeth_fit_a_small_square():
    image, points = portrait()
    small = cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA)
    scale = 96 / SIDE
    mouth = Mouth(small, points * np.float32(scale))
    canvas = cv2.resize(face_without_mouth(24), (96, 96), interpolation=cv2.INTER_AREA)
    mouth.draw(canvas, inner_lips(24) * scale, STILL, STILL)
    large = draw(Mouth(image, points), 24)
    reduced = cv2.resize(large, (96, 96), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(reduced - canvas).mean(-1)[58:76, 38:58].mean() < 15


def test_a_mouth_at_the_edge_of_the_frame(closed):
    canvas, before = face_without_mouth(24), face_without_mouth(24)
    moved = STILL.copy()
    moved[0, 2] = MIDDLE - 4
    closed.draw(canvas, inner_lips(24) + moved[:, 2], moved, moved)
    assert (canvas[:, 240:] != before[:, 240:]).any() and (canvas[:, :200] == before[:, :200]).all()
    moved[0, 2] = 4 * SIDE
    canvas = face_without_mouth(24)
    closed.draw(canvas, inner_lips(24) + moved[:, 2], moved, moved)
    np.testing.assert_array_equal(canvas, before)


def test_the_same_portrait_gives_the_same_mouth(closed):
    np.testing.assert_array_equal(draw(closed, 20, 18), draw(Mouth(*portrait()), 20, 18))


def test_landmarks_that_lie_on_teeth_are_moved_to_the_lip():
    image, points = portrait(opening=16, upper_edge=LIP + 9)
    low, upper = points.copy(), list(LIPS_INNER[12:19])
    low[upper, 1] += 2.5  # of the 100 pixels between the eyes
    moved = lips_around_teeth(image, low)
    np.testing.assert_allclose(moved[upper], points[upper], atol=1.1)
    np.testing.assert_array_equal(low[upper, 1], points[upper, 1] + 2.5)  # those that were given stay
    np.testing.assert_allclose(moved[list(LIPS_INNER[:11])], points[list(LIPS_INNER[:11])], atol=1.1)
    others = [n for n in range(POINTS) if n not in LIPS_INNER]
    np.testing.assert_array_equal(moved[others], points[others])


def test_landmarks_of_lips_that_show_no_teeth_stay():
    image, points = portrait(opening=16)
    np.testing.assert_array_equal(lips_around_teeth(image, points), points)


@pytest.mark.parametrize("case", ["scattered", "one point", "outside", "upside down", "tiny", "one colour"])
def test_a_portrait_that_is_hardly_a_face_is_drawn_without_error(case):
    image, points = portrait(opening=16, upper_edge=LIP + 9)
    if case == "scattered":
        points = np.random.default_rng(0).normal(MIDDLE, 60, points.shape).astype(np.float32)
    elif case == "one point":
        points = np.full_like(points, 50)
    elif case == "outside":
        points = points - np.float32([2 * SIDE, 0, 0])
    elif case == "upside down":
        points = SIDE - points
    elif case == "tiny":
        image, points = cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA), points / 16
    else:
        image = np.full_like(image, 90)
    mouth = Mouth(image, lips_around_teeth(image, points))
    canvas = image.copy()
    mouth.draw(canvas, points[list(LIPS_INNER), :2], STILL, STILL)
    opened = points[list(LIPS_INNER), :2] + np.float32([[0, 6 * (0 < n < 10)] for n in range(20)])
    mouth.draw(canvas, opened, STILL, STILL)
    assert canvas.shape == image.shape


@pytest.mark.parametrize(
    ("image", "points", "wrong"),
    [
        (np.zeros((64, 64), np.uint8), np.zeros((POINTS, 3)), "portrait"),
        (np.zeros((64, 64, 3), np.float32), np.zeros((POINTS, 3)), "portrait"),
        (np.zeros((64, 64, 3), np.uint8), np.zeros((20, 2)), "landmarks"),
        (np.zeros((64, 64, 3), np.uint8), np.full((POINTS, 3), np.nan), "landmarks"),
    ],
)
def test_wrong_input_is_named(image, points, wrong):
    with pytest.raises(ValueError, match=wrong):
        Mouth(image, points)


def test_landmarks_drawn_here_are_a_face():
    points = landmarks(16)
    assert np.hypot(*(points[OUTER_EYES[1]] - points[OUTER_EYES[0]])[:2]) == pytest.approx(UNIT)
    assert points[UPPER_LIP, 1] == LIP - 2
