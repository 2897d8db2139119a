import numpy as np
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from tests.tiny import tiny_speech_encoder
from tests.tracks import tiny_track
from train.clips import Clip
from train.data import (
    RecordingStream,
    WindowDataset,
    WindowLaw,
    draw_window,
    latent_weights,
    quiet_frames,
    to_unit,
    window_layouts,
)

LAYOUT = WindowLayout(21, 5, 4)
FRAMES = 60
SIZE = 16
ENCODER = tiny_speech_encoder()  # looks 2 frames ahead, and 3 back


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
    stream = RecordingStream(clip, 10, ENCODER, SIZE, seed=None)
    row = stream.window(0, LAYOUT)
    assert picture_frames(row["window"]) == [10] * 5 + list(range(10, 26))
    assert sound_frames(row["segment"]) == [0] * 8 + list(range(10, 28))
    assert stream.window(0, LAYOUT)["portrait"][0, 0, 0] == 10


def test_later_windows_carry_the_real_past(clip):
    stream = RecordingStream(clip, 10, ENCODER, SIZE, seed=None)
    row = stream.window(16, LAYOUT)
    assert picture_frames(row["window"]) == list(range(21, 42))
    assert sound_frames(row["segment"]) == list(range(18, 44))
    assert stream.frames == FRAMES - 10


def test_sound_past_the_end_is_silence(clip):
    row = RecordingStream(clip, 11, ENCODER, SIZE, seed=None).window(32, LAYOUT)
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
        windows = WindowDataset([clip], [LAYOUT], ENCODER, SIZE, WindowLaw(), seed)
        return torch.stack([windows[number]["segment"] for number in range(4)])

    torch.testing.assert_close(batch(1), batch(1))
    assert not torch.equal(batch(1), batch(2))


@pytest.mark.parametrize("recording", ["clip", "track"])
def test_a_batch_has_windows_of_one_length(recording, clip):
    """Of the lengths that are drawn, the same for the consecutive numbers of a batch, and each now and then."""
    recordings = [clip if recording == "clip" else tiny_track(FRAMES)]
    windows = WindowDataset(recordings, window_layouts(LAYOUT, (1, 2, 4)), ENCODER, SIZE, WindowLaw(), 0, batch=2)
    lengths = [[len(windows[2 * number + place]["window"]) for place in range(2)] for number in range(12)]
    assert all(first == second for first, second in lengths)
    assert {first for first, _ in lengths} == {9, 13, 21}
    kind = torch.uint8 if recording == "clip" else torch.float32
    assert windows[0]["window"].dtype == windows[0]["portrait"].dtype == kind
    assert ("mouth" in windows[0]) == (recording == "clip")


def test_layouts_carry_over_as_much_whatever_their_length():
    layouts = window_layouts(LAYOUT, (1, 2, 4))
    assert [layout.new_latents for layout in layouts] == [1, 2, 4]
    assert {layout.continuity_frames for layout in layouts} == {5}
    assert window_layouts(LAYOUT, ()) == [LAYOUT]


def test_clips_that_are_too_short_are_refused(clip):
    short = Clip("short", clip.frames[:21], clip.speech, clip.crop, clip.face)
    with pytest.raises(ValueError, match="22 frames"):
        WindowDataset([short], [LAYOUT], ENCODER, SIZE, WindowLaw(), 0)


def test_jitter_keeps_size_and_stays_inside(clip):
    roomy = Clip("roomy", clip.frames, clip.speech, crop=(1, 1, 14), face=(4, 4, 8, 8))
    for seed in range(20):
        row = RecordingStream(roomy, 3, ENCODER, SIZE, (seed,)).window(0, LAYOUT)
        assert row["window"].shape == (21, SIZE, SIZE, 3)
        assert picture_frames(row["window"])[0] == 3


def test_the_mouth_is_in_the_lower_half_of_the_face(clip):
    mask = RecordingStream(clip, 0, ENCODER, SIZE, seed=None).window(0, LAYOUT)["mouth"]
    rows, columns = mask.nonzero(as_tuple=True)
    assert rows.min() >= 8 and rows.max() <= 12
    assert columns.min() >= 4 and columns.max() < 12


def test_latent_weights_have_mean_one(clip):
    mask = RecordingStream(clip, 0, ENCODER, SIZE, seed=None).window(0, LAYOUT)["mouth"]
    weights = latent_weights(mask[None], (4, 4), 5.0)
    assert weights.shape == (1, 1, 1, 4, 4)
    assert weights.mean().item() == pytest.approx(1)
    assert weights.max().item() / weights.min().item() == pytest.approx(5)
    assert latent_weights(None, (1, 1), 5.0) == 1


def test_to_unit_puts_channels_first():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1, 1).expand(1, 2, 4, 6, 3)
    unit = to_unit(frames)
    assert unit.shape == (1, 3, 2, 4, 6)
    assert unit[0, 0, :, 0, 0].tolist() == [-1, 1]
    motion = torch.rand(2, 5, 1, 1, 93)  # motion frames are so already
    torch.testing.assert_close(to_unit(motion), motion.permute(0, 4, 1, 2, 3), rtol=0, atol=0)


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
