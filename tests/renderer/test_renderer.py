import numpy as np
import pytest
from PIL import Image

from asymtalker import AsymTalkerPipeline
from asymtalker.generation import load_pipeline
from asymtalker.renderer.landmarks import RIGID
from asymtalker.renderer.motion_frame import CHANNELS, measure
from asymtalker.renderer.renderer import FaceRenderer
from tests.renderer.conftest import SIDE, opened, still
from tests.renderer.heads import rotation
from tests.tiny import tiny_motion_pipeline, tiny_pipeline


@pytest.fixture(scope="module")
def shipped():
    return load_pipeline()


def speech(seconds):
    rng = np.random.default_rng(0)
    return (0.1 * rng.normal(size=round(16_000 * seconds))).astype(np.float32)


def test_a_motion_of_nothing_is_the_portrait(renderer, portrait, observed, head):
    (frame,) = renderer.render(portrait, observed, still(observed.points, head))
    assert np.abs(frame.astype(int) - portrait).mean() < 0.5


def test_an_open_mouth_is_dark_inside(renderer, portrait, observed, head):
    (frame,) = renderer.render(portrait, observed, opened(observed.points, head, 0.25))
    x, y = observed.points[[13, 14], :2].mean(0)
    mouth = (
        slice(int(y), int(y + 0.15 * head.unit)),
        slice(int(x - 0.1 * head.unit), int(x + 0.1 * head.unit)),
    )
    assert frame[mouth].min() < portrait[mouth].min()


def test_it_is_saved_and_loaded(renderer, portrait, observed, tmp_path):
    renderer.save_pretrained(tmp_path)
    loaded = FaceRenderer.from_pretrained(tmp_path)
    np.testing.assert_allclose(loaded.observe(portrait).points, observed.points, atol=1e-3)
    np.testing.assert_allclose(loaded.motion_frame(observed), renderer.motion_frame(observed), atol=1e-6)


def test_a_mean_face_is_what_motion_frames_are_measured_from(observed, head):
    """With this face's own for the mean, its motion frame says nothing; with another skull its head is turned."""
    renderer, skull = FaceRenderer(), head.to_face(observed.points[list(RIGID)])
    renderer.adopt(skull, measure(observed.points, head))
    np.testing.assert_allclose(renderer.head_pose(observed).angles, head.angles, atol=1e-4)
    np.testing.assert_allclose(renderer.motion_frame(observed), np.zeros((CHANNELS, 1, 1)), atol=1e-3)
    renderer.adopt(skull @ rotation(0.1, 0, 0).T, np.zeros(CHANNELS))
    assert renderer.head_pose(observed).angles[0] == pytest.approx(head.angles[0] - 0.1, abs=0.01)


def test_frames_are_as_large_as_the_portrait_and_still_at_its_border(shipped, portrait):
    frames = np.concatenate(list(shipped.stream(Image.fromarray(portrait), speech(1.0), generator=shipped.noise(1))))
    assert frames.shape == (25, SIDE, SIDE, 3)
    assert np.abs(np.diff(frames.astype(int), axis=0)).max() > 20
    np.testing.assert_allclose(frames[:, 0], np.broadcast_to(portrait[0], frames[:, 0].shape), atol=1)
    np.testing.assert_allclose(frames[:, :, -1], np.broadcast_to(portrait[:, -1], frames[:, :, -1].shape), atol=1)


def test_a_video_is_the_same_with_the_same_seed_streamed_or_whole(shipped, portrait):
    image = Image.fromarray(portrait).resize((128, 128))
    streamed = np.concatenate(list(shipped.stream(image, speech(0.8), generator=shipped.noise(3))))
    whole = shipped(image, speech(0.8), generator=shipped.noise(3)).frames
    np.testing.assert_array_equal((whole * 255).round().astype(np.uint8), streamed)


def test_portraits_in_step_are_those_alone(shipped, portrait):
    images = [Image.fromarray(portrait).resize((128, 128)), Image.fromarray(portrait[:, ::-1]).resize((128, 128))]
    together = shipped(
        images, np.stack([speech(0.5)] * 2), generator=[shipped.noise(seed) for seed in (1, 2)], output_type="np"
    ).frames
    alone = shipped(images[1], speech(0.5), generator=shipped.noise(2)).frames
    assert together.shape == (2, 13, 128, 128, 3)
    assert np.abs(together[1] - alone).mean() < 0.01


def test_chunks_may_be_rendered_later(shipped, portrait):
    chunks = list(shipped.stream_chunks(Image.fromarray(portrait), speech(1.0), generator=shipped.noise(1)))
    frames = np.concatenate([chunk.render() for chunk in chunks])
    streamed = np.concatenate(list(shipped.stream(Image.fromarray(portrait), speech(1.0), generator=shipped.noise(1))))
    np.testing.assert_array_equal(frames, streamed)


@pytest.mark.parametrize("window_frames", [9, 13, 21])
def test_windows_of_every_length_make_the_same_number_of_frames(portrait, window_frames):
    pipeline = tiny_motion_pipeline()
    options = {"window_frames": window_frames, "generator": pipeline.noise(1)}
    image = Image.fromarray(portrait).resize((64, 64))
    lengths = [chunk.frames for chunk in pipeline.stream_chunks(image, speech(0.8), **options)]
    new = window_frames - 5
    assert sum(lengths) == 20 and set(lengths[:-1]) <= {new} and len(lengths) == -(-20 // new)


def test_a_window_that_cannot_be_is_refused(portrait):
    with pytest.raises(ValueError, match="window_frames must be 1 plus a multiple of 4"):
        tiny_motion_pipeline().stream(Image.fromarray(portrait), speech(0.2), window_frames=12)


def test_a_portrait_that_is_not_square_is_refused(shipped):
    with pytest.raises(ValueError, match="square"):
        shipped.stream(Image.new("RGB", (100, 80)), speech(0.5))


def test_a_renderer_wants_an_autoencoder_of_motion_frames(renderer):
    parts = tiny_pipeline().components | {"renderer": renderer}
    with pytest.raises(ValueError, match="autoencoder of motion frames, of 93 channels, not of 3"):
        AsymTalkerPipeline(**parts)
