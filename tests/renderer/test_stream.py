"""The face of a stream: what motion frames make of a portrait."""

import numpy as np
import pytest
import torch

from asymtalker.renderer.head import NECK
from asymtalker.renderer.hints import CERTAIN
from asymtalker.renderer.landmarks import Observation
from asymtalker.renderer.motion_frame import (
    BROW_CHANNELS,
    CHIN_CHANNELS,
    EYE_CHANNELS,
    GAZE_CHANNELS,
    LIP_CHANNELS,
    LOWER,
    POSE_CHANNELS,
    UPPER,
    WEIGHTS,
    denormalize,
)
from asymtalker.renderer.stream import LID_REST, LID_WAY, RELAX, FaceStream
from tests.renderer.conftest import lip_moves

PARTS = {"eyes": EYE_CHANNELS, "pose": POSE_CHANNELS, "chin": CHIN_CHANNELS}
PARTS |= {"brows": BROW_CHANNELS, "gaze": GAZE_CHANNELS}

SETTLED = 24
"""Frames after which a head has followed."""


def started(renderer, portrait, **options):
    """A stream whose autoencoder gives the portrait's motion frame back as it is."""
    stream = FaceStream(renderer, portrait, **options)
    stream.hold(stream.motion_frame)
    return stream


@pytest.fixture
def stream(renderer, portrait):
    return started(renderer, portrait)


def frames_of(stream, changes):
    """Motion frames (93, F, 1, 1) that differ from the portrait's by (F, 93), in eye distances and radians."""
    own = stream.motion_frame[:, None]
    return own + torch.from_numpy(np.float32(changes * WEIGHTS)).T[:, :, None, None]


def changes(frames=1, **channels):
    made = np.zeros((frames, 93))
    for name, value in channels.items():
        made[:, PARTS[name]] = value
    return made


def opened(amount):
    """Inner lips that are so much farther apart, (1, 93)."""
    made = np.zeros((1, 93))
    made[:, LIP_CHANNELS].reshape(-1, 2)[LOWER[1:-1], 1] = amount
    return made


def test_the_portraits_own_motion_frame_is_the_portrait(stream, portrait):
    motion = stream.motion(frames_of(stream, changes(3)))
    assert len(motion) == 3
    for name in ("lips", "chin", "lids", "brows", "gaze", "pose"):
        np.testing.assert_allclose(getattr(motion, name), 0, atol=1e-6)
    np.testing.assert_allclose(motion.share, 1)
    rendered = stream.render(frames_of(stream, changes(2)))
    assert rendered.shape == (2, *portrait.shape) and rendered.dtype == np.uint8
    assert np.abs(rendered.astype(int) - portrait).mean() < 0.5


def test_motion_counts_from_what_the_autoencoder_gives_back(renderer, portrait):
    """It keeps not all of a motion frame: what it loses of the portrait must not move the face."""
    stream = FaceStream(renderer, portrait)
    lost = stream.motion_frame + 0.05 * torch.randn(93, 1, 1, generator=torch.Generator().manual_seed(0))
    stream.hold(lost)
    motion = stream.motion(lost[:, None].expand(-1, 2, -1, -1))
    assert max(np.abs(motion.lips).max(), np.abs(motion.pose).max(), np.abs(motion.chin).max()) < 1e-6


def test_gaps_are_those_of_the_motion_frame_whatever_the_portraits(stream):
    mean = stream._mean
    for amount in (0.1, 0.2):
        frames = frames_of(stream, opened(amount))
        lips = denormalize(frames[:, :, 0, 0].T.numpy(), mean)[:, LIP_CHANNELS].reshape(1, -1, 2)
        gaps = stream.motion(frames).gaps
        np.testing.assert_allclose(gaps, (lips[:, LOWER, 1] - lips[:, UPPER, 1]).clip(0), atol=1e-6)
        assert gaps.max() > amount / 2
    assert not stream.motion(frames_of(stream, opened(-0.5))).gaps.any()


@pytest.mark.parametrize(
    ("part", "value"), [("chin", (0.02, 0.1)), ("brows", (0.01, -0.02, 0.03, 0)), ("gaze", (0.02, -0.03))]
)
def test_chin_brows_and_gaze_are_those_of_the_motion_frame(stream, portrait, part, value):
    frames = frames_of(stream, changes(SETTLED, **{part: value}))
    motion = stream.motion(frames)
    np.testing.assert_allclose(getattr(motion, part)[SETTLED // 2], value, atol=1e-3)
    others = {"chin", "brows", "gaze", "lids", "pose", "lips"} - {part}
    assert all(np.abs(getattr(motion, other)).max() < 1e-6 for other in others)
    assert np.abs(stream.render(frames[:, :1])[0].astype(int) - portrait).max() > 10


def test_eyes_that_narrow_blink(stream):
    own = stream._still[EYE_CHANNELS].mean()
    narrower = np.array([0, LID_REST, LID_REST + LID_WAY / 2, LID_REST + LID_WAY, 1.0, -0.5])
    motion = stream.motion(frames_of(stream, changes(6, eyes=-own * narrower[:, None])))
    np.testing.assert_allclose(motion.lids, [0, 0, 0.5, 1, 1, 0], atol=1e-3)


def test_a_head_that_turns_goes_aside_with_its_neck(stream):
    """Tilted by a radian, 0.82 eye distances to the right; turned 1.05 to the left; nodding 0.97 upwards."""
    angles = np.array([[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]])
    held = np.repeat(angles, SETTLED, axis=0)
    pose = stream.motion(frames_of(stream, changes(len(held), pose=held))).pose[SETTLED // 2 :: SETTLED]  # midway
    np.testing.assert_allclose(pose[:, 3:], angles, atol=1e-3)
    np.testing.assert_allclose(pose[:, :2], 0.1 * NECK.T, atol=1e-3)
    assert (pose[0, 0], pose[1, 0], pose[2, 1]) == pytest.approx((0.082, -0.105, -0.097), abs=1e-3)
    assert not pose[:, 2].any()  # heads come no nearer


def test_the_head_follows_without_a_jerk_from_chunk_to_chunk(stream):
    turned = frames_of(stream, changes(4, pose=np.array([0.1, 0, 0])))
    tilt = np.concatenate([stream.motion(turned).pose[:, 3] for _ in range(6)])
    assert np.abs(np.diff(tilt, n=2, prepend=[0, 0])).max() < 0.04  # what is asked for is 0.1 at once
    assert tilt[-4:] == pytest.approx(0.1, abs=5e-3)


def test_the_head_moves_in_the_picture_as_the_motion_frame_says(renderer, portrait, stream):
    """Landmarks that are found in a rendered frame have the pose that was asked for."""
    asked = np.array([0.12, 0.0, 0.0])
    frame = stream.render(frames_of(stream, changes(SETTLED, pose=asked)))[-1]
    found, own = (renderer.head_pose(renderer.observe(image)).angles for image in (frame, portrait))
    assert found[0] - own[0] == pytest.approx(asked[0], abs=0.03)


def test_landmarks_that_are_uncertain_move_less(renderer, portrait, observed, monkeypatch):
    monkeypatch.setattr(renderer, "observe", lambda image: Observation(observed.points, 0.25))
    unsure, other = started(renderer, portrait), started(renderer, portrait)
    monkeypatch.undo()
    motion = other.motion(frames_of(other, changes(pose=0.1)))
    np.testing.assert_allclose(motion.share, 0.25 / CERTAIN)
    sure = started(renderer, portrait)
    asked = opened(0.25) + changes(pose=0.05)
    less, more = (np.abs(one.render(frames_of(one, asked)).astype(int) - portrait).mean() for one in (unsure, sure))
    assert 0 < less < 0.8 * more


@pytest.fixture
def smiling(renderer, portrait, observed, head, monkeypatch):
    """A portrait whose lips are found apart."""
    points = observed.points.copy()
    points[:, :2] += lip_moves(points, head, 0.15)
    monkeypatch.setattr(renderer, "observe", lambda image: Observation(points, 1.0))
    return portrait


def shut(stream, frames):
    """Lips that meet, (F, 93)."""
    own = denormalize(stream.motion_frame[:, :, 0].T.numpy(), stream._mean)
    lips = own[:, LIP_CHANNELS].reshape(-1, 2)
    made = np.zeros((1, 93))
    moved = made[:, LIP_CHANNELS].reshape(-1, 2)
    moved[LOWER[1:-1], 1] = (lips[UPPER, 1] - lips[LOWER, 1])[1:-1]
    return np.repeat(made, frames, axis=0)


def test_a_smile_is_kept_while_nothing_is_said(renderer, smiling):
    kept, plain = started(renderer, smiling, keep_smile=True), started(renderer, smiling)
    at_rest = shut(kept, 60)
    np.testing.assert_allclose(plain.motion(frames_of(plain, at_rest)).share, 1)
    share = kept.motion(frames_of(kept, at_rest)).share
    np.testing.assert_allclose(share, 0, atol=1e-6)  # nothing moved since the first frame
    assert np.abs(plain.motion(frames_of(plain, at_rest)).gaps).max() < 1e-6


def test_a_smile_goes_as_the_mouth_speaks_and_comes_back_slowly(renderer, smiling):
    stream = started(renderer, smiling, keep_smile=True)
    talk = shut(stream, 20)
    talk[10] += opened(0.2)[0]
    share = stream.motion(frames_of(stream, talk)).share
    np.testing.assert_allclose(share[:10], 0, atol=1e-6)
    np.testing.assert_allclose(share[10:12], 1)
    np.testing.assert_allclose(share[12:], RELAX ** np.arange(1, 9), atol=1e-6)
    following = stream.motion(frames_of(stream, shut(stream, 4))).share  # the next chunk goes on
    np.testing.assert_allclose(following, RELAX ** np.arange(9, 13), atol=1e-6)
