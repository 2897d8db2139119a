"""A film of two videos beside each other."""

import av
import numpy as np
import pytest

from asymtalker.media.film import SideBySide
from asymtalker.media.speech import read_speech
from asymtalker.media.video import MARK, read_frames

FPS, RATE = 25, 16_000
RED, BLUE = (200, 40, 40), (40, 40, 200)


def write_film(folder, sizes, captions=("A", "B"), apart=False, clicks=(0.3, 0.7), moving=None):
    """A second of a red and a blue video, the right one in pieces that come late; returns the film and its places."""
    path = folder / "film.mp4"
    with SideBySide(path, captions) as film:
        options = {"label": False, "moving": moving}
        names = [folder / "left.mp4", folder / "right.mp4"]
        with (
            film.side(0, apart)(names[0], sizes[0], FPS, RATE, **options) as left,
            film.side(1, apart)(names[1], sizes[1], FPS, RATE, **options) as right,
        ):
            for side, size, color, click in zip((left, right), sizes, (RED, BLUE), clicks, strict=True):
                samples = np.zeros(RATE, np.float32)
                samples[round(click * RATE) :][:32] = 0.9
                frames = np.full((FPS, size[1], size[0], 3), color, np.uint8)
                side.write(frames[:10])
                side.write(frames[10:])
                side.write_speech(samples)
    return path, film.places


def test_shows_both_with_the_sound_of_the_left(tmp_path):
    film, places = write_film(tmp_path, [(64, 64), (128, 128)], ("A · steps 1", "B · steps 2"), apart=True)
    frames = np.stack(list(read_frames(film)))
    assert len(frames) == FPS
    assert frames.shape[2] == 512  # both as high as the film, and square
    for (left, top, width, height), color in zip(places, (RED, BLUE), strict=True):
        assert (width, height) == (256, 256)
        np.testing.assert_allclose(frames[12, top + height // 2, left + width // 2], color, atol=14)
        assert frames[12, :top, left : left + width].max() > 150  # the caption's letters
    assert np.abs(read_speech(film, RATE)).argmax() / RATE == pytest.approx(0.3, abs=0.03)
    with av.open(str(film)) as container:
        assert container.metadata["comment"] == MARK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "left.mp4", "right.mp4"]
    assert next(read_frames(tmp_path / "right.mp4")).shape == (128, 128, 3)


def test_what_stands_still_is_drawn_once_but_both_sides_move(tmp_path):
    film, places = write_film(tmp_path, [(256, 256)] * 2, moving=(100, 100, 150, 150))
    last = np.stack(list(read_frames(film)))[-1]
    for (left, top, _, _), color in zip(places, (RED, BLUE), strict=True):
        np.testing.assert_allclose(last[top + 125, left + 125], color, atol=14)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


@pytest.mark.parametrize(("size", "shown"), [((1200, 120), (960, 96)), ((120, 1200), (120, 1200))])
def test_long_pictures_beside_each_other_fit_a_screen(tmp_path, size, shown):
    film, places = write_film(tmp_path, [size, size])
    assert [place[2:] for place in places] == [shown, shown]
    frame = next(read_frames(film))
    assert frame.shape[1] == 2 * shown[0]
    assert shown[1] + 20 < frame.shape[0] < 1.2 * shown[1] + 30


def test_a_long_caption_is_made_to_fit(tmp_path):
    film, places = write_film(tmp_path, [(256, 256)] * 2, ("A · " + "steps 1, " * 9, "B"))
    top = places[0][1]
    assert next(read_frames(film))[:top, 246:256].max() < 60  # nothing runs into B's half


def test_a_film_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="could not broadcast"), SideBySide(tmp_path / "film.mp4", ("A", "B")) as film:
        sides = [film.side(index, False)(None, (64, 64), FPS, RATE) for index in (0, 1)]
        for side in sides:
            side.write(np.zeros((1, 64, 64, 4), np.uint8))
    assert list(tmp_path.iterdir()) == []
