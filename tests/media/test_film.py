import av
import numpy as np
import pytest

from asymtalker.media.film import write_side_by_side
from asymtalker.media.speech import read_speech
from asymtalker.media.video import MARK, VideoWriter, read_frames

FPS, RATE = 25, 16_000


def write_plain(path, color, side, click, height=None):
    samples = np.zeros(RATE, np.float32)
    samples[round(click * RATE) :][:32] = 0.9
    height = height or side
    with VideoWriter(path, (side, height), FPS, RATE, label=False) as writer:
        writer.write(np.full((FPS, height, side, 3), color, np.uint8))
        writer.write_speech(samples)


def test_shows_both_with_the_sound_of_the_left(tmp_path):
    left, right = tmp_path / "left.mp4", tmp_path / "right.mp4"
    write_plain(left, (200, 40, 40), 64, click=0.3)
    write_plain(right, (40, 40, 200), 128, click=0.7)
    film = write_side_by_side(left, right, tmp_path / "film.mp4", ("A · steps 1", "B · steps 2"))
    frames = np.stack(list(read_frames(film)))
    assert len(frames) == FPS
    height, width = frames.shape[1:3]
    assert width == 512  # both as high as the film, and square
    np.testing.assert_allclose(frames[12, height - 60, width // 4], (200, 40, 40), atol=14)
    np.testing.assert_allclose(frames[12, height - 60, 3 * width // 4], (40, 40, 200), atol=14)
    for half in (slice(0, width // 2), slice(width // 2, width)):
        assert frames[12, : height - 256, half].max() > 150  # the caption's letters
    assert np.abs(read_speech(film, RATE)).argmax() / RATE == pytest.approx(0.3, abs=0.03)
    with av.open(str(film)) as container:
        assert container.metadata["comment"] == MARK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "left.mp4", "right.mp4"]


@pytest.mark.parametrize(("size", "shown"), [((1200, 120), (960, 96)), ((120, 1200), (120, 1200))])
def test_long_pictures_beside_each_other_fit_a_screen(tmp_path, size, shown):
    for name in ("left", "right"):
        write_plain(tmp_path / f"{name}.mp4", (200, 40, 40), size[0], 0.3, height=size[1])
    film = write_side_by_side(tmp_path / "left.mp4", tmp_path / "right.mp4", tmp_path / "film.mp4", ("A", "B"))
    frame = next(read_frames(film))
    assert frame.shape[1] == 2 * shown[0]
    assert shown[1] + 20 < frame.shape[0] < 1.2 * shown[1] + 30
    np.testing.assert_allclose(frame[-shown[1] // 2, shown[0] // 2], (200, 40, 40), atol=14)
