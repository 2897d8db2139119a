import pytest

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout, latent_frame_count, video_frame_count

LAYOUTS = [WindowLayout(21, 5, 4), WindowLayout(33, 5, 4), WindowLayout(33, 9, 8)]


@pytest.mark.parametrize(
    ("layout", "latents", "carried", "new_latents", "new_frames"),
    [(LAYOUTS[0], 6, 2, 4, 16), (LAYOUTS[1], 9, 2, 7, 28), (LAYOUTS[2], 5, 2, 3, 24)],
)
def test_layouts_of_the_checkpoints(layout, latents, carried, new_latents, new_frames):
    assert (layout.latent_frames, layout.continuity_latents) == (latents, carried)
    assert (layout.new_latents, layout.new_frames) == (new_latents, new_frames)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("frames", range(1, 201))
def test_chunks_tile_a_video_of_any_length(layout, frames):
    chunks = layout.chunk_count(frames)
    kept = [layout.kept_frames(chunk, frames) for chunk in range(chunks)]
    assert sum(kept) == frames
    assert all(count == layout.new_frames for count in kept[:-1])
    assert 1 <= kept[-1] <= layout.new_frames
    assert layout.kept_frames(chunks, frames) == 0
    for chunk in range(chunks):
        first_new = layout.window_start(chunk) + layout.continuity_frames
        assert first_new == sum(kept[:chunk])


def test_the_first_window_starts_before_the_video():
    assert LAYOUTS[0].window_start(0) == -5
    assert LAYOUTS[0].window_start(1) == 11


@pytest.mark.parametrize(
    ("samples", "frames"), [(0, 0), (1, 1), (640, 1), (641, 2), (16_000, 25), (16_001, 26), (9_600_000, 15_000)]
)
def test_video_covers_the_speech(samples, frames):
    assert video_frame_count(samples) == frames
    assert (frames - 1) * SAMPLES_PER_FRAME < samples or frames == 0


def test_latent_frames_of_causal_autoencoders():
    assert [latent_frame_count(frames, 4) for frames in (1, 5, 21, 33)] == [1, 2, 6, 9]


@pytest.mark.parametrize("frames", [(20, 5), (21, 6), (21, 21), (5, 9)])
def test_impossible_windows_are_refused(frames):
    with pytest.raises(ValueError, match="frames"):
        WindowLayout(*frames, temporal_ratio=4)
