"""The window contract: a real clip through the inference path and through the training loader is the same clip."""

import numpy as np
import PIL.Image
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.conditioning import continuity_reference, encode_window, speech_span
from tests.tiny import tiny_pipeline
from train.clips import Clip
from train.data import ClipStream, to_unit

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


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
@torch.no_grad()
def test_inference_and_training_see_the_same_windows(clip, kind):
    pipeline = tiny_pipeline(kind)
    layout = pipeline.layout
    stream = ClipStream(clip, FIRST, layout, speech_span(pipeline.speech_encoder, layout), SIZE, seed=None)

    seen = []
    pipeline.transformer.register_forward_pre_hook(lambda module, args, kwargs: seen.append(args), with_kwargs=True)
    portrait = PIL.Image.fromarray(clip.frames[FIRST])
    state = pipeline.prepare_stream(portrait, (SIZE, SIZE), steps=1)
    state.speech.append(torch.from_numpy(clip.speech[FIRST * SAMPLES_PER_FRAME :].astype(np.float32) / 32768))
    real = to_unit(torch.from_numpy(clip.frames[FIRST:])[None])

    assert stream.chunks >= 3
    for chunk in range(3):
        pipeline.next_chunk(state)
        hidden, _, speech = seen[-1]
        row = stream.window(chunk)
        window = encode_window(
            pipeline.vae,
            pipeline.speech_encoder,
            to_unit(row["window"][None]),
            to_unit(stream.window(0)["portrait"][None]),
            row["segment"][None],
            layout,
        )
        noisy, reference = hidden.chunk(2, dim=1)
        torch.testing.assert_close(reference, window.reference)
        torch.testing.assert_close(noisy[:, :, : layout.continuity_latents], window.continuity)
        torch.testing.assert_close(speech, window.speech)
        assert noisy.shape[2] == window.continuity.shape[2] + window.latents.shape[2]
        # The student's next κ comes from the frames that the clip has there, encoded as the pipeline encodes.
        state.continuity = continuity_reference(pipeline.vae, real[:, :, : (chunk + 1) * layout.new_frames], layout)


@pytest.mark.parametrize("kind", ["patch", "wan", "ltx"])
@torch.no_grad()
def test_reference_has_the_layout_of_a_real_window(clip, kind):
    """Position i of z_ref holds the same kind of latent as position i of a window: a still clip encodes to z_ref."""
    pipeline = tiny_pipeline(kind)
    layout = pipeline.layout
    portrait = torch.from_numpy(clip.frames[:1])
    still = portrait.expand(layout.window_frames, -1, -1, -1)
    segment = torch.zeros(1, sum(speech_span(pipeline.speech_encoder, layout)) * SAMPLES_PER_FRAME)
    window = encode_window(
        pipeline.vae, pipeline.speech_encoder, to_unit(still[None]), to_unit(portrait), segment, layout
    )
    assert window.reference.shape[2] == layout.latent_frames
    torch.testing.assert_close(torch.cat([window.continuity, window.latents], dim=2), window.reference)
