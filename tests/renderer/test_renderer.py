import numpy as np
import pytest
from PIL import Image

from asymtalker import AsymTalkerPipeline
from asymtalker.generation import load_pipeline
from asymtalker.renderer.landmarks import LIPS, Observation
from asymtalker.renderer.motion import Motion
from asymtalker.renderer.renderer import FaceRenderer
from asymtalker.renderer.stream import FaceStream
from tests.renderer.conftest import SIDE, opened, still
from tests.tiny import tiny_pipeline


@pytest.fixture(scope="module")
def shipped():
    return load_pipeline()


def speech(seconds):
    rng = np.random.default_rng(0)
    return (0.1 * rng.normal(size=round(16_000 * seconds))).astype(np.float32)


def test_a_motion_of_nothing_is_the_portrait(renderer, portrait, observed):
    (frame,) = renderer.render(portrait, Observation(observed.points, 1.0), still())
    assert np.abs(frame.astype(int) - portrait).mean() < 0.5


def test_an_open_mouth_is_dark_inside(renderer, portrait, observed):
    unit = np.hypot(*(observed.points[263] - observed.points[33])[:2])
    motion = Motion(3 * renderer.lips_basis[:1].numpy().reshape(1, len(LIPS), 2) * 0.3, np.zeros(1), np.zeros((1, 6)))
    if motion.lips[0, LIPS.index(14), 1] < 0:  # a principal movement has no sign
        motion = Motion(-motion.lips, motion.lids, motion.pose)
    (frame,) = renderer.render(portrait, Observation(observed.points, 1.0), motion)
    x, y = observed.points[[13, 14], :2].mean(0)
    mouth = (slice(int(y), int(y + 0.15 * unit)), slice(int(x - 0.1 * unit), int(x + 0.1 * unit)))
    assert frame[mouth].min() < portrait[mouth].min()


def test_uncertain_landmarks_move_less(renderer):
    motion = Motion(opened(0.1).lips, np.ones(1), np.full((1, 6), 0.1))
    sure, unsure = renderer.plausible(motion, 1.0), renderer.plausible(motion, 0.25)
    np.testing.assert_allclose(unsure.pose, 0.5 * sure.pose)
    np.testing.assert_allclose(unsure.lips, 0.5 * sure.lips)


def test_lips_stay_within_what_lips_can_do(renderer):
    wild = Motion(np.random.default_rng(0).normal(size=(1, len(LIPS), 2)), np.zeros(1), np.zeros((1, 6)))
    tame = renderer.plausible(wild).lips.reshape(-1)
    amounts = renderer.lips_basis.numpy() @ tame
    assert (np.abs(amounts) <= 2.51 * renderer.lips_scale.numpy()).all()
    assert np.abs(tame).max() < np.abs(wild.lips).max()


def test_it_is_saved_and_loaded(renderer, portrait, observed, tmp_path):
    renderer.save_pretrained(tmp_path)
    again = FaceRenderer.from_pretrained(tmp_path).observe(portrait)
    np.testing.assert_allclose(again.points, observed.points, atol=1e-3)


def test_a_pose_goes_on_from_chunk_to_chunk(renderer, portrait):
    stream = FaceStream(renderer, portrait, 128, keep_smile=False)
    first = stream._joined(np.linspace(0, 0.1, 16)[:, None] * np.ones(6))
    second = stream._joined(np.zeros((16, 6)))
    assert np.abs(second[0] - first[-1]).max() < 0.01
    assert np.abs(second[-1]).max() < 0.02


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


def test_a_portrait_that_is_not_square_is_refused(shipped):
    with pytest.raises(ValueError, match="square"):
        shipped.stream(Image.new("RGB", (100, 80)), speech(0.5))


def test_a_renderer_wants_a_network_that_says_motion(renderer):
    parts = tiny_pipeline().components | {"renderer": renderer}
    with pytest.raises(ValueError, match="motion_prior"):
        AsymTalkerPipeline(**parts)
