"""From the square's frames to the whole picture: sizes, borders, colours."""

import cv2
import numpy as np
import pytest
from PIL import Image

from asymtalker.media.picture import FEATHER, PictureView, fit_picture
from asymtalker.media.portrait import CropBox, PortraitCrop

NETWORK = (64, 64)


def photograph(width, height, seed=0):
    """Smooth colours with grain."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 12)
    fine = cv2.GaussianBlur(noise, (0, 0), 1)
    pixels = 120 + 40 * smooth / smooth.std() + 8 * fine / fine.std()
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def cropped(width, height, left, top, side):
    picture = photograph(width, height)
    square = picture.crop((left, top, left + side, top + side))
    return PortraitCrop(square, CropBox(left, top, side), [], "", picture)


def view_of(crop, view="picture", max_side=1080, frame_size=NETWORK, rendered=True):
    return PictureView(crop, view, max_side, frame_size, rendered)


def square_of(view, frame):
    left, top, right, bottom = view.moving
    return frame[top:bottom, left:right]


def moved(portrait):
    """What a renderer makes of a portrait: pixels that move in the middle, and not at the border."""
    pixels, side = np.asarray(portrait), portrait.width
    y, x = np.mgrid[:side, :side].astype(np.float32)
    bump = np.sin(np.pi * (x + 0.5) / side) * np.sin(np.pi * (y + 0.5) / side)
    bump = np.where(bump > 0.2, bump - 0.2, 0).astype(np.float32)
    return cv2.remap(pixels, x + 0.05 * side * bump, y, cv2.INTER_LINEAR)


@pytest.mark.parametrize(
    ("picture", "box", "max_side", "size", "square"),
    [
        ((400, 300), (100, 50, 200), 1080, (400, 300), (100, 50, 200)),  # nothing to do
        ((401, 301), (100, 50, 200), 1080, (400, 300), (100, 50, 200)),  # cut on the right and below
        ((401, 301), (201, 101, 200), 1080, (400, 300), (200, 100, 200)),  # the square is there: cut on the other side
        ((301, 401), (0, 50, 301), 1080, (300, 400), (0, 50, 300)),  # as wide as the picture
        ((301, 301), (0, 0, 301), 1080, (300, 300), (0, 0, 300)),
        ((2160, 1440), (600, 300, 500), 1080, (1080, 720), (300, 150, 250)),
        ((1000, 777), (700, 477, 300), 500, (500, 388), (350, 238, 150)),
        ((3000, 300), (1000, 0, 300), 1080, (1080, 108), (360, 0, 108)),  # a panorama
        ((300, 3000), (0, 1000, 300), 128, (12, 128), (0, 43, 13)),
        ((4000, 3000), (1950, 1400, 99), 1080, (1080, 810), (526, 378, 27)),  # a face of 64 pixels
        ((2000, 2000), (1999, 1999, 1), 128, (128, 128), (127, 127, 1)),
    ],
)
def test_a_picture_is_fitted(picture, box, max_side, size, square):
    fitted, found = fit_picture(photograph(*picture), CropBox(*box), max_side)
    assert fitted.size == size
    assert found.left >= 0 and found.left + found.side <= size[0]
    assert found.top >= 0 and found.top + found.side <= size[1]
    assert found == pytest.approx(square, abs=1)


def test_what_fits_keeps_the_photographs_pixels():
    picture = photograph(121, 95)
    fitted, box = fit_picture(picture, CropBox(61, 20, 60), 128)
    np.testing.assert_array_equal(np.asarray(fitted), np.asarray(picture)[:94, 1:])
    assert box == (60, 20, 60)


@pytest.mark.parametrize("max_side", [1080, 150])
def test_rendered_frames_are_put_back_as_they_are(max_side):
    crop = cropped(400, 300, 100, 50, 200)
    view = view_of(crop, max_side=max_side)
    assert view.size == ((400, 300) if max_side == 1080 else (150, 112))
    still = np.asarray(view.portrait)
    assert still.shape[:2] == view.frame_size[::-1]
    frame, unmoved = view.place([moved(view.portrait), still])
    np.testing.assert_array_equal(square_of(view, frame), moved(view.portrait))
    expected = np.asarray(fit_picture(crop.picture, crop.box, max_side)[0])
    np.testing.assert_array_equal(unmoved, expected)
    square_of(view, frame)[:] = square_of(view, unmoved)
    np.testing.assert_array_equal(frame, unmoved)  # outside the square nothing changes


def test_a_small_face_is_animated_larger_than_it_is_shown():
    crop = cropped(1500, 1200, 700, 500, 99)
    view = view_of(crop, max_side=300, frame_size=(128, 128))
    assert view.portrait.size == view.frame_size == (128, 128)
    still, frame = view.place([np.asarray(view.portrait), moved(view.portrait)])
    own = np.asarray(fit_picture(crop.picture, crop.box, 300)[0]).astype(int)
    assert np.abs(still - own).mean(axis=-1).max() < 8  # reduced twice
    assert np.abs(square_of(view, still) - square_of(view, own)).mean() < 2
    change = np.abs(frame.astype(int) - still).max(-1)
    left, top, right, bottom = view.moving
    assert (right - left, bottom - top) == (20, 20)
    assert change[top + 5 : bottom - 5, left + 5 : right - 5].max() > 3
    difference = np.abs(frame - own)
    difference[top + 1 : bottom - 1, left + 1 : right - 1] = 0
    assert difference.max() <= 1  # no border


@pytest.mark.parametrize("rendered", [True, False])
def test_the_square_alone(rendered):
    view = view_of(cropped(401, 301, 100, 50, 201), view="square", rendered=rendered)
    assert view.size == view.frame_size == ((200, 200) if rendered else NETWORK)
    assert view.moving == (0, 0, *view.size)
    frame = np.full((*view.size, 3), 7, np.uint8)
    np.testing.assert_array_equal(next(view.place([frame])), frame)


def test_the_square_alone_is_no_longer_than_max_side():
    view = view_of(cropped(801, 901, 0, 50, 801), view="square", max_side=200)
    assert view.portrait.size == view.size == (200, 200)


@pytest.mark.parametrize("rendered", [True, False])
def test_frames_of_another_size_are_refused(rendered):
    view = view_of(cropped(400, 300, 100, 50, 200), rendered=rendered)
    width = view.frame_size[0]
    with pytest.raises(ValueError, match=rf"Frames must be {width} × {width} pixels, not 40 × 50"):
        next(view.place(np.zeros((1, 50, 40, 3), np.uint8)))


def generated(crop, shift, gain=1.0, blur=0.0, move=0):
    """What a network without a renderer makes of the square: blurred, in other colours, and moved."""
    square = cv2.resize(np.asarray(crop.image), NETWORK, interpolation=cv2.INTER_AREA)
    square = np.roll(square, move, axis=1)
    if blur:
        square = cv2.GaussianBlur(square, (0, 0), blur)
    return (gain * square + shift).clip(0, 255).astype(np.uint8)


def gradient_across(frame, moving):
    """Mean absolute difference of the pixels on both sides of the square's border, in levels of 255."""
    left, top, right, bottom = moving
    frame = frame.astype(float)
    columns = [frame[top:bottom, at] - frame[top:bottom, at - 1] for at in (left, right)]
    rows = [frame[at, left:right] - frame[at - 1, left:right] for at in (top, bottom)]
    return np.mean([np.abs(steps).mean() for steps in columns + rows])


@pytest.mark.parametrize(
    ("shift", "gain", "blur", "move"),
    [
        ((0, 0, 0), 1, 0, 0),
        ((25, -10, 5), 1, 0, 0),
        ((-30, -30, -30), 1.2, 1.5, 0),
        ((10, 20, 30), 0.8, 3, 0),
        ((5, 5, 5), 1, 1, 3),
    ],
)
def test_no_line_is_seen_at_the_border(shift, gain, blur, move):
    crop = cropped(400, 300, 100, 50, 200)
    view = view_of(crop, rendered=False)
    frame = next(view.place([generated(crop, shift, gain, blur, move)]))
    own = np.asarray(crop.picture)
    left, top, right, bottom = view.moving
    assert gradient_across(frame, view.moving) <= 1.05 * gradient_across(own, view.moving)
    # nor inside of it, where generated pixels begin: all through the feather, steps are the photograph's or smaller
    for inwards in range(0, round(FEATHER * 200) + 2, 4):
        ring = (left + inwards, top + inwards, right - inwards, bottom - inwards)
        assert gradient_across(frame, ring) <= 1.05 * gradient_across(own, ring)


def test_generated_squares_take_the_photographs_colours():
    crop = cropped(400, 300, 100, 50, 200)
    own = np.asarray(crop.image).astype(float).mean((0, 1))
    view = view_of(crop, rendered=False)
    frames = [generated(crop, (25, -20, 10), 0.9), *[generated(crop, (-10, 30, 0), 1.1)] * 40]
    first, *_, last = view.place(frames)
    for frame in (first, last):  # at once, and when they have changed on the way
        np.testing.assert_allclose(square_of(view, frame).mean((0, 1)), own, atol=3)


def test_colours_do_not_flicker():
    crop = cropped(400, 300, 100, 50, 200)
    view = view_of(crop, rendered=False)
    calm, flash = generated(crop, 0), generated(crop, 0)
    flash[:12] = 255  # something bright passes at the border
    frames = [square_of(view, frame)[60:140, 60:140].mean() for frame in view.place([calm, flash, calm, calm])]
    assert max(frames) - min(frames) < 3


@pytest.mark.parametrize(("left", "top"), [(0, 0), (200, 100), (0, 40)])
def test_nothing_fades_at_the_pictures_own_edge(left, top):
    crop = cropped(400, 300, left, top, 200)
    view = view_of(crop, rendered=False)
    square = square_of(view, next(view.place([np.full((64, 64, 3), 255, np.uint8)])))
    own = np.asarray(crop.image)
    for at_edge, edge in (
        (left == 0, np.s_[60:140, 0]),
        (left == 200, np.s_[60:140, -1]),
        (top == 0, np.s_[0, 60:140]),
        (top == 100, np.s_[-1, 60:140]),
    ):
        assert (square[edge] == square[100, 100]).all() if at_edge else (square[edge] == own[edge]).all()


def test_a_square_that_is_the_whole_picture_is_shown_as_it_was_generated():
    crop = cropped(200, 200, 0, 0, 200)
    view = view_of(crop, rendered=False)
    assert view.moving == (0, 0, 200, 200)
    frame = next(view.place([np.full((64, 64, 3), (250, 10, 30), np.uint8)]))
    assert (frame == (250, 10, 30)).all()
