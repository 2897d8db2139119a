import dataclasses

import numpy as np
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.models.motion import FACE_POINTS, move_face, warp
from train.clips import Clip
from train.data import (
    ClipStream,
    WindowDataset,
    WindowLaw,
    draw_window,
    facial_movement,
    head_displacement,
    mouth_weights,
    quiet_frames,
    to_unit,
)

LAYOUT = WindowLayout(21, 5, 4)
SPAN = (24, 2)
FRAMES = 60
SIZE = 16


@pytest.fixture
def clip():
    """Frame i is a flat grey of value i, and the sound of frame i is i / 32768: both tell their time."""
    frames = np.broadcast_to(np.arange(FRAMES, dtype=np.uint8)[:, None, None, None], (FRAMES, SIZE, SIZE, 3))
    speech = np.repeat(np.arange(FRAMES, dtype=np.int16), SAMPLES_PER_FRAME)
    return Clip("clip", np.ascontiguousarray(frames), speech, crop=(0, 0, SIZE), face=(4, 4, 8, 8))


def sound_frames(segment: torch.Tensor) -> list[int]:
    return (segment[::SAMPLES_PER_FRAME] * 32768).round().int().tolist()


def picture_frames(frames: torch.Tensor) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


def test_a_cold_start_holds_the_portrait_in_silence(clip):
    stream = ClipStream(clip, 10, LAYOUT, SPAN, SIZE, seed=None)
    row = stream.window(0)
    assert picture_frames(row["window"]) == [10] * 5 + list(range(10, 26))
    assert sound_frames(row["segment"]) == [0] * 8 + list(range(10, 28))
    assert stream.window(0)["portrait"][0, 0, 0] == 10


def test_later_windows_carry_the_real_past(clip):
    stream = ClipStream(clip, 10, LAYOUT, SPAN, SIZE, seed=None)
    row = stream.window(1)
    assert picture_frames(row["window"]) == list(range(21, 42))
    assert sound_frames(row["segment"]) == list(range(18, 44))
    assert stream.chunks == 3


def test_sound_past_the_end_is_silence(clip):
    row = ClipStream(clip, 11, LAYOUT, SPAN, SIZE, seed=None).window(2)
    assert picture_frames(row["window"])[-1] == 58
    assert sound_frames(row["segment"])[-2:] == [59, 0]


def test_the_reference_is_never_in_the_window():
    rng = np.random.default_rng(0)
    law = WindowLaw(cold_start=0.3, reference_reach=20)
    cold = 0
    for _ in range(2000):
        start, portrait, is_cold = draw_window(FRAMES, LAYOUT, rng, law)
        if is_cold:
            cold += 1
            assert portrait == start + LAYOUT.continuity_frames
            assert portrait + LAYOUT.new_frames <= FRAMES
        else:
            assert not start <= portrait < start + LAYOUT.window_frames
            assert 0 <= portrait < FRAMES
            assert portrait - start >= -20 and portrait - (start + LAYOUT.window_frames) < 20
    assert cold / 2000 == pytest.approx(0.3, abs=0.05)


def test_windows_are_random_but_repeatable(clip):
    def batch(seed):
        windows = WindowDataset([clip], LAYOUT, SPAN, SIZE, WindowLaw(), seed)
        return torch.stack([windows[number]["segment"] for number in range(4)])

    torch.testing.assert_close(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


def test_clips_that_are_too_short_are_refused(clip):
    short = Clip("short", clip.frames[:21], clip.speech, clip.crop, clip.face)
    with pytest.raises(ValueError, match="22 frames"):
        WindowDataset([short], LAYOUT, SPAN, SIZE, WindowLaw(), 0)


def test_jitter_keeps_size_and_stays_inside(clip):
    roomy = Clip("roomy", clip.frames, clip.speech, crop=(1, 1, 14), face=(4, 4, 8, 8))
    for seed in range(20):
        row = ClipStream(roomy, 3, LAYOUT, SPAN, SIZE, (seed,)).window(0)
        assert row["window"].shape == (21, SIZE, SIZE, 3)
        assert picture_frames(row["window"])[0] == 3


def test_the_mouth_is_in_the_lower_half_of_the_face(clip):
    mask = ClipStream(clip, 0, LAYOUT, SPAN, SIZE, seed=None).window(0)["mouth"]
    rows, columns = mask.nonzero(as_tuple=True)
    assert rows.min() >= 8 and rows.max() <= 12
    assert columns.min() >= 4 and columns.max() < 12


def test_mouth_weights_have_mean_one(clip):
    mask = ClipStream(clip, 0, LAYOUT, SPAN, SIZE, seed=None).window(0)["mouth"]
    weights = mouth_weights(mask[None], (4, 4), 5.0)
    assert weights.shape == (1, 1, 1, 4, 4)
    assert weights.mean().item() == pytest.approx(1)
    assert weights.max().item() / weights.min().item() == pytest.approx(5)


def test_to_unit_puts_channels_first():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1).expand(1, 2, 4, 6, 3)
    unit = to_unit(frames)
    assert unit.shape == (1, 3, 2, 4, 6)
    assert unit[0, 0, :, 0, 0].tolist() == [-1, 1]


def test_quiet_frames_are_those_with_silence_all_around():
    rng = np.random.default_rng(0)
    speech = rng.normal(0, 3000, FRAMES * SAMPLES_PER_FRAME)
    speech[: 20 * SAMPLES_PER_FRAME] = rng.normal(0, 30, 20 * SAMPLES_PER_FRAME)  # a noise floor 40 dB below
    clip = Clip("clip", np.zeros((FRAMES, 1, 1, 3), np.uint8), speech.astype(np.int16), (0, 0, 1), (0, 0, 1, 1))
    assert quiet_frames(clip).tolist() == list(range(17))


def test_references_come_from_quiet_moments():
    rng, quiet = np.random.default_rng(0), np.arange(5)
    law = WindowLaw(cold_start=0.5, reference_reach=10, quiet_reference=1.0)
    for _ in range(500):
        start, portrait, cold = draw_window(FRAMES, LAYOUT, rng, law, quiet)
        assert portrait < 5 or start < 5  # a window over the quiet frames takes its reference elsewhere
        assert cold or not start <= portrait < start + LAYOUT.window_frames
    law = WindowLaw(cold_start=0.5, reference_reach=10, quiet_reference=0.0)
    assert max(draw_window(FRAMES, LAYOUT, rng, law, quiet)[1] for _ in range(500)) > 40


def test_motion_belongs_to_its_frames_and_to_the_crop(clip):
    numbers = np.arange(FRAMES, dtype=np.float32)[:, None]
    places = np.full((FRAMES, 2 * FACE_POINTS), 8, np.float32)
    motion = np.concatenate([np.repeat(numbers, 80, 1), numbers / 100, places], axis=1)
    measured = dataclasses.replace(clip, crop=(1, 1, 14), motion=motion)
    row = ClipStream(measured, 10, LAYOUT, SPAN, SIZE, seed=None).window(1)
    assert row["lips"][:, 0].tolist() == list(range(21, 42))
    torch.testing.assert_close(row["lids"], torch.arange(21, 42) / 100)
    torch.testing.assert_close(row["points"], torch.full((21, FACE_POINTS, 2), (8 - 1) * 16 / 14))
    row = WindowDataset([measured], LAYOUT, SPAN, SIZE, WindowLaw(jitter=False), seed=0)[0]
    assert (row["portrait_lips"] == float(row["portrait"][0, 0, 0])).all()
    assert row["portrait_lids"] == pytest.approx(float(row["portrait"][0, 0, 0]) / 100)
    assert row["portrait_points"].shape == (FACE_POINTS, 2)
    row = ClipStream(clip, 10, LAYOUT, SPAN, SIZE, seed=None).window(1)
    assert all(row[name].isnan().all() for name in ("lips", "lids", "points"))


def test_movement_counts_from_the_portrait():
    batch = {
        "lips": torch.arange(3.0).view(1, 3, 1).expand(-1, -1, 80),
        "portrait_lips": torch.full((1, 80), 0.5),
        "lids": torch.tensor([[0.0, 0.6, 1.0]]),
        "portrait_lids": torch.tensor([0.2]),
    }
    lips, lids = facial_movement(batch, [1, 2])
    assert lips[0, :, 0].tolist() == [0.5, 1.5]
    torch.testing.assert_close(lids, torch.tensor([[0.5, 1.0]]))
    torch.testing.assert_close(facial_movement(batch, [0])[1], torch.zeros(1, 1))  # wider open: as in the portrait


def test_the_heads_displacement_is_measured_without_that_of_the_lips():
    """A face that went two pixels to the left and opened its mouth: with the lips known, the two pixels are left."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    portrait = torch.stack([(x / 6).sin(), (y / 5).cos(), (x / 7 + y / 9).sin()]).unsqueeze(0) * 0.8
    lips = torch.stack([20 + torch.arange(40) * 0.6, 40 + 3 * torch.sign(torch.arange(40) % 2 - 0.5)], dim=-1)
    lids = torch.tensor([[20.0, 20.0]]).expand(28, -1)
    points = torch.cat([lips, torch.tensor([[12.0, 20.0], [52.0, 20.0]]), lids]).unsqueeze(0)
    move = torch.zeros(1, 1, 40, 2)
    move[..., 1] = 0.1 * torch.sign(points[:, :40, 1] - 40)
    move = move.flatten(2)
    still = torch.zeros(1, 2, 64, 64)
    still[:, 0] = 2.0
    awake = torch.zeros(1, 1)
    frame = warp(move_face(portrait, points, move[:, 0], awake[:, 0]), still)
    fields = [
        head_displacement(portrait, frame.unsqueeze(2), points, known, awake) for known in (move, move * torch.nan)
    ]
    errors = [(field[0, :, 0, 7:13, 5:11] - torch.tensor([2.0, 0.0]).view(2, 1, 1)).abs().mean() for field in fields]
    assert fields[0].shape == (1, 2, 1, 16, 16)
    assert errors[0] < 0.3 and errors[1] > 2 * errors[0]
