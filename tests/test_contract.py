"""The window contract: a recording through the inference path and through the training loader is the same recording."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.conditioning import (
    continuity_reference,
    decode_latents,
    encode_frames,
    encode_window,
    speech_span,
    still,
)
from asymtalker.renderer.motion_frame import CHANNELS
from tests.tiny import tiny_motion_pipeline, tiny_pipeline
from tests.tracks import tiny_track
from train.clips import Clip
from train.data import RecordingStream, to_unit, window_layouts
from train.views import as_floats

EXAMPLE = Path(__file__).parents[1] / "examples" / "nora.jpg"
SIZE = 64
FRAMES = 75
FIRST = 3


@pytest.fixture(scope="module")
def clip() -> Clip:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (FRAMES // 5 + 2, 8, 8, 3))
    frames = [
        np.asarray(PIL.Image.fromarray(coarse[i // 5].astype(np.uint8)).resize((SIZE, SIZE), PIL.Image.BICUBIC))
        for i in range(FRAMES)
    ]
    speech = rng.normal(0, 3000, FRAMES * SAMPLES_PER_FRAME).astype(np.int16)
    return Clip("clip", np.stack(frames), speech, crop=(0, 0, SIZE), face=(16, 16, 32, 32))


def assert_same_windows(pipeline, state, stream, layout, chunks):
    """Chunk by chunk, with what the recording has in the place of what is generated; returns its frames.

    Args:
        state: of a stream that starts from the portrait of `stream`, which is the recording as training reads it.
    """
    seen = []
    pipeline.transformer.register_forward_pre_hook(lambda module, args, kwargs: seen.append(args), with_kwargs=True)
    state.speech.append(torch.from_numpy(as_floats(stream._view._speech)[FIRST * SAMPLES_PER_FRAME :]))
    portrait = to_unit(stream.window(0, layout)["portrait"][None])
    past = still(portrait, layout.continuity_frames)
    for chunk in range(chunks):
        row = stream.window(chunk * layout.new_frames, layout)
        frames = to_unit(row["window"][None])
        encoders = pipeline.vae, pipeline.speech_encoder
        window = encode_window(*encoders, frames, portrait, row["segment"][None], layout)
        pipeline.next_chunk(state)
        hidden, _, speech = seen[-1]
        noisy, reference = hidden.chunk(2, dim=1)
        torch.testing.assert_close(reference, window.reference)
        torch.testing.assert_close(noisy[:, :, : layout.continuity_latents], window.continuity)
        torch.testing.assert_close(speech, window.speech)
        assert noisy.shape[2] == window.continuity.shape[2] + window.latents.shape[2]
        # The next κ comes from the frames that the recording has there, encoded as the pipeline encodes.
        past = torch.cat([past, frames[:, :, layout.continuity_frames :]], dim=2)
        state.continuity = continuity_reference(pipeline.vae, past, layout)
    return past


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
@torch.no_grad()
def test_inference_and_training_see_the_same_windows(clip, kind):
    pipeline = tiny_pipeline(kind)
    layout = pipeline.layout
    stream = RecordingStream(clip, FIRST, pipeline.speech_encoder, SIZE, seed=None)
    assert stream.frames >= 3 * layout.new_frames
    state = pipeline.prepare_stream(PIL.Image.fromarray(clip.frames[FIRST]), steps=1)
    past = assert_same_windows(pipeline, state, stream, layout, chunks=3)
    real = to_unit(torch.from_numpy(clip.frames[FIRST : FIRST + 3 * layout.new_frames])[None])
    torch.testing.assert_close(past[:, :, layout.continuity_frames :], real)


@pytest.mark.parametrize("new_latents", [1, 2, 4])
@pytest.mark.parametrize("seed", [None, (0, 1)])
@torch.no_grad()
def test_motion_is_the_same_in_inference_and_training(new_latents, seed):
    """On a person, drawn or the mean one, from the motion frame where the stream begins."""
    pipeline, track = tiny_motion_pipeline(), tiny_track(FRAMES)
    (layout,) = window_layouts(pipeline.layout, (new_latents,))
    assert (layout.new_frames, layout.continuity_frames) == (4 * new_latents, 5)
    stream = RecordingStream(track, FIRST, pipeline.speech_encoder, 1, seed)
    portrait = to_unit(stream.window(0, layout)["portrait"][None])
    state = pipeline.start_stream(portrait, steps=1, layout=layout)
    past = assert_same_windows(pipeline, state, stream, layout, chunks=4)
    assert past.shape == (1, CHANNELS, 5 + 4 * layout.new_frames, 1, 1)
    assert past.diff(dim=2)[:, :, 5:].abs().amax((0, 1, 3, 4)).min() > 0  # it moves


@torch.no_grad()
def test_continuity_reaches_back_into_that_of_a_short_window():
    """κ of five frames after only four new ones: the first is the last of those that the window carried over."""
    pipeline = tiny_motion_pipeline()
    (layout,) = window_layouts(pipeline.layout, (1,))
    image = PIL.Image.open(EXAMPLE).resize((SIZE, SIZE))
    state = pipeline.prepare_stream(image, 1, layout=layout, generator=torch.Generator().manual_seed(0))
    state.speech.append(torch.zeros(40 * SAMPLES_PER_FRAME))
    for _ in range(3):
        carried = decode_latents(pipeline.vae, state.continuity)
        frames = pipeline.next_chunk(state)
        assert (carried.shape[2], frames.shape[2]) == (5, 4)
        past = torch.cat([carried[:, :, -1:], frames], dim=2)
        torch.testing.assert_close(state.continuity, encode_frames(pipeline.vae, past))
        assert (encode_frames(pipeline.vae, frames[:, :, :1]) - state.continuity[:, :, :1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
@torch.no_grad()
def test_reference_has_the_layout_of_a_real_window(clip, kind):
    """Position i of z_ref holds the same kind of latent as position i of a window: a still clip encodes to z_ref."""
    pipeline = tiny_pipeline(kind)
    layout = pipeline.layout
    portrait = torch.from_numpy(clip.frames[:1])
    held = portrait.expand(layout.window_frames, -1, -1, -1)
    segment = torch.zeros(1, sum(speech_span(pipeline.speech_encoder, layout)) * SAMPLES_PER_FRAME)
    window = encode_window(
        pipeline.vae, pipeline.speech_encoder, to_unit(held[None]), to_unit(portrait), segment, layout
    )
    assert window.reference.shape[2] == layout.latent_frames
    torch.testing.assert_close(torch.cat([window.continuity, window.latents], dim=2), window.reference)
