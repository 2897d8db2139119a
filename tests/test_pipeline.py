"""The pipeline: one stream of chunks, whichever way it is asked for."""

import itertools
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.conditioning import continuity_reference
from tests.tiny import tiny_motion_pipeline, tiny_pipeline

SIDE = 64
EXAMPLE = Path(__file__).parents[1] / "examples" / "nora.jpg"


@pytest.fixture(scope="module")
def pipe() -> AsymTalkerPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def portrait() -> PIL.Image.Image:
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 4, 3)).astype(np.uint8)
    return PIL.Image.fromarray(pixels).resize((80, 100), PIL.Image.BICUBIC)


def speech(frames: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, round(frames * SAMPLES_PER_FRAME)).astype(np.float32)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
def test_video_is_as_long_as_the_speech(portrait, kind):
    pipe = tiny_pipeline(kind)
    for frames in (1, pipe.layout.new_frames, pipe.layout.new_frames + 0.5):
        video = pipe(portrait, speech(frames), generator=seeded()).frames
        assert video.shape == (int(np.ceil(frames)), SIDE, SIDE, 3)
        assert np.isfinite(video).all() and 0 <= video.min() < video.max() <= 1


def test_stream_is_the_whole_video(pipe, portrait):
    blocks = list(pipe.stream(portrait, speech(37.2), generator=seeded()))
    assert [len(block) for block in blocks] == [16, 16, 6]
    assert {block.dtype for block in blocks} == {np.dtype(np.uint8)}
    whole = pipe(portrait, speech(37.2), generator=seeded()).frames
    np.testing.assert_allclose(np.concatenate(blocks) / 255, whole, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 10_239, 10_240, 10_241, 11_520, 11_521, 20_480, 21_761])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_every_length_has_its_number_of_frames(pipe, portrait, samples, in_pieces):
    """Around a frame, a chunk of 16, and a chunk with its lookahead of 2."""
    sound = speech(100)[:samples]
    sound = np.array_split(sound, 3) if in_pieces else sound
    frames = sum(len(block) for block in pipe.stream(portrait, sound, num_inference_steps=1))
    assert frames == -(-samples // SAMPLES_PER_FRAME)


def test_a_partial_chunk_is_the_start_of_a_whole_one(pipe, portrait):
    """After the speech there is silence, so frames do not depend on where the video ends."""
    sound = speech(37.2)
    padded = np.concatenate([sound, np.zeros(48 * SAMPLES_PER_FRAME - len(sound), np.float32)])
    short, long = (np.concatenate(list(pipe.stream(portrait, part, generator=seeded()))) for part in (sound, padded))
    assert len(long) == 48
    np.testing.assert_array_equal(short, long[:38])


def test_new_frames_follow_the_carried_ones(pipe, portrait, monkeypatch):
    decode, windows = pipe.vae.decode, []
    monkeypatch.setattr(pipe.vae, "decode", lambda latents: windows.append(decode(latents)) or windows[-1])
    state = pipe.prepare_stream(portrait, 2, size=(SIDE, SIDE), generator=seeded())
    state.speech.append(torch.zeros(40 * SAMPLES_PER_FRAME))
    for chunk in range(2):
        frames = pipe.next_chunk(state)
        assert frames.shape == (1, 3, pipe.layout.new_frames, SIDE, SIDE)
        torch.testing.assert_close(frames, windows[chunk].sample[:, :, pipe.layout.continuity_frames :])


def test_an_iterator_makes_a_whole_video(pipe, portrait):
    pieces = iter(np.array_split(speech(20), 7))
    from_pieces, from_array = (pipe(portrait, given, generator=seeded()).frames for given in (pieces, speech(20)))
    np.testing.assert_array_equal(from_pieces, from_array)


def test_progress_counts_chunks(pipe, portrait, capsys):
    pipe.set_progress_bar_config(disable=False)
    try:
        pipe(portrait, speech(37.2))
        pipe(portrait, iter([speech(20)]))
    finally:
        pipe.set_progress_bar_config(disable=True)
    shown = capsys.readouterr().err
    assert "3/3" in shown and "2it" in shown


def test_a_closed_stream_lets_go_of_the_microphone(pipe, portrait):
    events = []

    def microphone():
        try:
            for frame in itertools.count():
                events.append(frame)
                yield speech(1, seed=frame)
        finally:
            events.append("off")

    stream = pipe.stream(portrait, microphone())
    next(stream)
    heard = len(events)
    stream.close()
    assert events[heard:] == ["off"]
    assert next(stream, None) is None
    assert pipe(portrait, speech(2)).frames.shape[0] == 2


@pytest.mark.parametrize("piece", [100, SAMPLES_PER_FRAME, 7001])
def test_a_microphone_gives_what_a_file_gives(pipe, portrait, piece):
    sound = speech(37.2)
    pieces = (sound[start : start + piece] for start in range(0, len(sound), piece))
    streamed = np.concatenate(list(pipe.stream(portrait, pieces, generator=seeded())))
    whole = np.concatenate(list(pipe.stream(portrait, sound, generator=seeded())))
    np.testing.assert_array_equal(streamed, whole)


def test_chunks_come_before_the_speech_ends(pipe, portrait):
    """A chunk needs the sound of its own frames and the lookahead, and no more."""
    heard = []

    def microphone():
        for frame in range(100):
            heard.append(frame)
            yield speech(1, seed=frame)

    stream = pipe.stream(portrait, microphone())
    next(stream)
    assert len(heard) == pipe.layout.new_frames + pipe.speech_encoder.lookahead_frames
    stream.close()


def test_seeds(pipe, portrait):
    one, same, other = (pipe(portrait, speech(8), generator=seeded(seed)).frames for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.01


def test_streams_do_not_disturb_each_other(pipe, portrait):
    mirrored = portrait.transpose(PIL.Image.FLIP_LEFT_RIGHT)
    alone = [list(pipe.stream(image, speech(40), generator=seeded())) for image in (portrait, mirrored)]
    streams = [pipe.stream(image, speech(40), generator=seeded()) for image in (portrait, mirrored)]
    together = list(zip(*streams, strict=True))
    for index in range(2):
        np.testing.assert_array_equal(np.concatenate(alone[index]), np.concatenate([pair[index] for pair in together]))


def test_videos_in_step_are_those_of_each_alone(pipe, portrait):
    images = [portrait, portrait.transpose(PIL.Image.FLIP_LEFT_RIGHT)]
    sounds = np.stack([speech(37.2, seed) for seed in range(2)])
    alone = [pipe(images[i], sounds[i], generator=seeded(i), color_match=0.5).frames for i in range(2)]
    together = pipe(images, sounds, generator=[seeded(0), seeded(1)], color_match=0.5).frames
    np.testing.assert_allclose(together, alone, atol=1.5 / 255)
    assert np.abs(together[0] - together[1]).max() > 0.1
    pieces = (sounds[:, start : start + 5000] for start in range(0, sounds.shape[1], 5000))
    blocks = list(pipe.stream(images, pieces, generator=[seeded(0), seeded(1)], color_match=0.5))
    assert [block.shape for block in blocks] == [(2, frames, SIDE, SIDE, 3) for frames in (16, 16, 6)]
    np.testing.assert_allclose(np.concatenate(blocks, axis=1) / 255, together, atol=1e-6)


def test_videos_in_step_as_other_types(pipe, portrait):
    sounds = np.stack([speech(2, seed) for seed in range(3)])
    pictures = pipe([portrait] * 3, sounds, output_type="pil").frames
    assert [len(video) for video in pictures] == [2, 2, 2] and pictures[2][1].size == (SIDE, SIDE)
    assert pipe([portrait] * 3, sounds, output_type="pt").frames.shape == (3, 2, 3, SIDE, SIDE)
    with pytest.raises(ValueError, match=r"of shape \(2, samples\), not torch.float32 of shape \(3, 1280\)"):
        pipe([portrait] * 2, sounds)


def test_streams_keep_their_own_steps(pipe, portrait):
    def stream(steps):
        return pipe.stream(portrait, speech(40), generator=seeded(), num_inference_steps=steps)

    alone = [np.concatenate(list(stream(steps))) for steps in (1, 3)]
    together = zip(*zip(stream(1), stream(3), strict=True), strict=True)
    for blocks, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(np.concatenate(blocks), expected)


def test_visitors_may_come_at_once(portrait):
    """AutoencoderKLWan keeps a cache on the module while it works: two threads must not be inside it together."""
    pipe, images = tiny_pipeline("wan"), (portrait, portrait.transpose(PIL.Image.FLIP_LEFT_RIGHT))
    alone = [pipe(image, speech(24), generator=seeded()).frames for image in images]
    together = [None, None]

    def visit(index):
        together[index] = pipe(images[index], speech(24), generator=seeded()).frames

    visitors = [threading.Thread(target=visit, args=(index,)) for index in range(2)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    for expected, frames in zip(alone, together, strict=True):
        assert frames is not None
        np.testing.assert_allclose(frames, expected, atol=1.5 / 255)


def test_later_chunks_go_on_from_earlier_ones(pipe, portrait):
    """With the same noise and silence throughout, a chunk depends on the one before it, through κ alone."""
    state = pipe.prepare_stream(portrait, 2, size=(SIDE, SIDE), generator=seeded())
    state.speech.append(torch.zeros(100 * SAMPLES_PER_FRAME))
    first = pipe.next_chunk(state)
    torch.testing.assert_close(state.continuity, continuity_reference(pipe.vae, first, pipe.layout))
    kept, state.generator = state.continuity, seeded(5)
    second = pipe.next_chunk(state)
    state.continuity, state.chunk, state.generator = kept, 1, seeded(5)
    torch.testing.assert_close(pipe.next_chunk(state), second)
    state.continuity, state.chunk, state.generator = kept + 0.5, 1, seeded(5)
    assert (pipe.next_chunk(state) - second).abs().max() > 1e-3


def test_saved_and_loaded(pipe, portrait, tmp_path):
    pipe.save_pretrained(tmp_path)
    loaded = AsymTalkerPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert loaded.layout == pipe.layout
    assert loaded.config.num_inference_steps == pipe.config.num_inference_steps
    frames = (p(portrait, speech(20), generator=seeded()).frames for p in (pipe, loaded))
    np.testing.assert_array_equal(*frames)


def test_output_types(pipe, portrait):
    arrays, images, tensor = (
        pipe(portrait, speech(3), generator=seeded(), output_type=kind, return_dict=False)[0]
        for kind in ("np", "pil", "pt")
    )
    assert arrays.shape == (3, SIDE, SIDE, 3)
    assert tensor.shape == (3, 3, SIDE, SIDE)
    np.testing.assert_allclose(tensor.permute(0, 2, 3, 1), arrays)
    np.testing.assert_allclose(np.stack([np.asarray(image) for image in images]) / 255, arrays, atol=1e-6)


def test_callback_counts_chunks(pipe, portrait):
    """The total is known from the start with a recording, and at its end with a microphone."""
    whole, live = [], []
    pipe(portrait, speech(37.2), callback_on_chunk_end=lambda *counts: whole.append(counts))
    pipe(portrait, np.array_split(speech(37.2), 40), callback_on_chunk_end=lambda *counts: live.append(counts))
    assert whole == [(1, 3), (2, 3), (3, 3)]
    assert live == [(1, None), (2, None), (3, 3)]


def test_other_sizes(pipe, portrait):
    assert pipe(portrait, speech(2), width=96, height=64).frames.shape == (2, 64, 96, 3)


def test_the_checkpoint_says_what_is_not_asked_for(portrait):
    pipe = tiny_pipeline()
    trained = {"num_inference_steps": 3, "color_match": 0.5, "guidance_scale": 4.0}
    pipe.register_to_config(**trained)
    default, asked = (pipe(portrait, speech(20), generator=seeded(), **options).frames for options in ({}, trained))
    np.testing.assert_array_equal(default, asked)
    for other in ({"num_inference_steps": 1}, {"color_match": 0.0}, {"guidance_scale": 1.0}):
        assert np.abs(pipe(portrait, speech(20), generator=seeded(), **other).frames - default).max() > 1 / 255


def test_images_of_other_modes(pipe, portrait):
    grey = portrait.convert("L")
    videos = [pipe(grey.convert(mode), speech(2), generator=seeded()).frames for mode in ("RGB", "L", "RGBA")]
    np.testing.assert_array_equal(videos[0], videos[1])
    np.testing.assert_array_equal(videos[0], videos[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps must be 1 to 100, not 0"),
        ({"guidance_scale": -1.0}, "guidance_scale must be 0 or more, not -1.0"),
        ({"color_match": 1.5}, "color_match must be 0 to 1, not 1.5"),
        ({"width": 50}, "multiples of 16, not 50 x 64"),
        ({"height": 0}, "multiples of 16, not 64 x 0"),
        ({"reference_mode": "temporary"}, 'reference_mode must be "temporal" or "static", not "temporary"'),
        ({"output_type": "gif"}, 'output_type must be "np", "pil" or "pt", not "gif"'),
    ],
)
def test_options_out_of_range_are_named(pipe, portrait, options, message):
    with pytest.raises(ValueError, match=message):
        pipe(portrait, speech(2), **options)


def test_no_speech_is_refused(pipe, portrait):
    with pytest.raises(ValueError, match="speech is empty"):
        pipe(portrait, np.zeros(0, np.float32))
    with pytest.raises(ValueError, match="speech is empty"):
        pipe(portrait, iter([]))


def test_options_are_checked_before_the_first_frame_is_asked_for(pipe, portrait):
    with pytest.raises(ValueError, match="num_inference_steps"):
        pipe.stream(portrait, speech(2), num_inference_steps=101)


@pytest.mark.parametrize("wrong", [np.zeros((640, 2), np.float32), np.zeros(640, np.int16)])
def test_speech_of_another_form_is_refused(pipe, portrait, wrong):
    for given in (wrong, iter([wrong])):
        with pytest.raises(ValueError, match=r"speech must be floats in \[-1, 1\] of shape \(samples,\)"):
            pipe(portrait, given)


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 3.0},
        {"reference_mode": "static"},
        {"color_match": 1.0},
        {"num_inference_steps": 3},
    ],
)
def test_options_change_the_video(pipe, portrait, options):
    plain, changed = (pipe(portrait, speech(20), generator=seeded(), **chosen).frames for chosen in ({}, options))
    assert np.abs(plain - changed).max() > 1 / 255


def test_color_match_takes_the_colours_of_the_portrait(pipe):
    grey = PIL.Image.new("RGB", (SIDE, SIDE), (90, 120, 150))
    matched = pipe(grey, speech(16), generator=seeded(), color_match=1.0).frames
    free = pipe(grey, speech(16), generator=seeded(), color_match=0.0).frames
    wanted = np.array([90, 120, 150]) / 255
    assert np.abs(matched.mean((0, 1, 2)) - wanted).max() < 0.02 < np.abs(free.mean((0, 1, 2)) - wanted).max()


@pytest.mark.parametrize("frames", [0, 3, 9])
def test_a_first_window_that_cannot_be(frames):
    parts = tiny_pipeline("wan").components
    with pytest.raises(
        ValueError, match=f"first_continuity_frames must be 1 plus a multiple of 4, up to 5, not {frames}"
    ):
        AsymTalkerPipeline(**parts, window_frames=13, continuity_frames=5, first_continuity_frames=frames)


@pytest.fixture(scope="module")
def mover() -> AsymTalkerPipeline:
    return tiny_motion_pipeline()


@pytest.fixture(scope="module")
def nora() -> PIL.Image.Image:
    return PIL.Image.open(EXAMPLE).convert("RGB").resize((96, 96))


def test_motion_is_rendered_in_the_portraits_own_pixels(mover, nora):
    video = mover(nora, speech(6), generator=seeded()).frames
    assert video.shape == (6, 96, 96, 3)  # as large as the image, not as the checkpoint
    assert mover.frame_size == (256, 256)
    np.testing.assert_allclose(video[:, 0], np.repeat(np.asarray(nora)[None, 0] / 255, 6, axis=0), atol=1 / 255)
    assert np.abs(video[0] - video[5]).max() > 0.05
    enlarged = mover(nora.resize((128, 128)), speech(2), generator=seeded(), width=64, height=50).frames
    assert enlarged.shape == (2, 128, 128, 3)


def test_a_renderer_matches_no_colours(mover, nora):
    plain, matched = (mover(nora, speech(4), generator=seeded(), color_match=match).frames for match in (0.0, 1.0))
    np.testing.assert_array_equal(plain, matched)


def test_motion_saved_and_loaded(mover, nora, tmp_path):
    mover.register_to_config(live_window_frames=9)
    mover.save_pretrained(tmp_path)
    loaded = AsymTalkerPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    assert (loaded.live_layout.window_frames, loaded.live_layout.continuity_frames) == (9, 5)
    assert loaded.layout == mover.layout
    frames = (pipe(nora, speech(6), generator=seeded()).frames for pipe in (mover, loaded))
    np.testing.assert_array_equal(*frames)


def test_motion_streams_of_short_windows_are_repeatable_and_their_own(mover, nora):
    short, again, long = (
        mover(nora, speech(12), generator=seeded(), window_frames=frames).frames for frames in (9, 9, 21)
    )
    np.testing.assert_array_equal(short, again)
    assert len(short) == len(long) == 12 and np.abs(short - long).max() > 1 / 255
