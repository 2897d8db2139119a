import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.conditioning import (
    SpeechBuffer,
    continuity_reference,
    cut_speech,
    decode_latents,
    encode_frames,
    latent_statistics,
    null_speech,
    speech_span,
    speech_windows,
    still,
    temporal_reference,
)
from tests.tiny import LATENT_CHANNELS, tiny_ltx_vae, tiny_speech_encoder, tiny_vae, tiny_wan_vae

LAYOUT = WindowLayout(window_frames=21, continuity_frames=5, temporal_ratio=4)
VAES = {"patch": tiny_vae, "wan": tiny_wan_vae, "ltx": tiny_ltx_vae}


@pytest.mark.parametrize("kind", VAES)
@torch.no_grad()
def test_temporal_reference_is_the_portrait_held_still(kind):
    vae, portrait = VAES[kind](), torch.rand(1, 3, 64, 64) * 2 - 1
    layout = WindowLayout(17, 9, 8) if kind == "ltx" else LAYOUT
    reference = temporal_reference(vae, portrait, layout)
    held = portrait.unsqueeze(2).repeat(1, 1, layout.window_frames, 1, 1)
    torch.testing.assert_close(reference, encode_frames(vae, held))
    assert reference.shape[1:3] == (LATENT_CHANNELS, layout.latent_frames)


@torch.no_grad()
def test_static_reference_is_one_latent_and_zeros():
    portrait = torch.rand(1, 3, 64, 64) * 2 - 1
    static, temporal = (temporal_reference(tiny_vae(), portrait, LAYOUT, mode) for mode in ("static", "temporal"))
    torch.testing.assert_close(static[:, :, :1], temporal[:, :, :1])
    assert not static[:, :, 1:].any()
    assert temporal[:, :, 1:].abs().min(dim=1)[0].max() > 0


@torch.no_grad()
def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match='reference_mode must be "temporal" or "static", not "still"'):
        temporal_reference(tiny_vae(), torch.zeros(1, 3, 32, 32), LAYOUT, "still")


@torch.no_grad()
def test_continuity_reference_forgets_all_but_the_last_frames():
    vae, past = tiny_vae(), torch.rand(1, 3, 30, 32, 32) * 2 - 1
    reference = continuity_reference(vae, past, LAYOUT)
    assert reference.shape == (1, LATENT_CHANNELS, 2, 2, 2)
    other = past.clone()
    other[:, :, :-5] = 0
    torch.testing.assert_close(continuity_reference(vae, other, LAYOUT), reference)
    other[:, :, -5] = 0
    assert (continuity_reference(vae, other, LAYOUT) - reference).abs().max() > 0.01


@torch.no_grad()
def test_reencoding_loses_nothing():
    """What the linear autoencoder decoded encodes to the same latents, however often."""
    vae = tiny_vae()
    latents = 0.05 * torch.randn(1, LATENT_CHANNELS, 6, 2, 2)
    latents[:, :, 0] = encode_frames(vae, still(0.05 * torch.randn(1, 3, 32, 32), 21))[:, :, 0]
    frames = decode_latents(vae, latents)
    for _ in range(3):
        frames = decode_latents(vae, encode_frames(vae, frames))
    torch.testing.assert_close(encode_frames(vae, frames)[:, :, 1:], latents[:, :, 1:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", VAES)
@torch.no_grad()
def test_latents_are_normalised_as_the_autoencoder_says(kind):
    vae = VAES[kind]()
    frames = torch.rand(1, 3, 9, 64, 64) * 2 - 1
    mean, std = latent_statistics(vae, torch.zeros(1))
    raw = vae.encode(frames).latent_dist.mode()
    torch.testing.assert_close(encode_frames(vae, frames), (raw - mean) / std)
    expected = {"patch": (0.0, 1.0), "wan": None, "ltx": None}[kind]
    if expected is None:
        assert std.std() > 0  # per channel, from the configuration or the buffers
    else:
        assert (float(mean), float(std)) == expected


@pytest.mark.parametrize("kind", VAES)
@torch.no_grad()
def test_decoding_undoes_the_normalisation(kind):
    vae = VAES[kind]()
    raw = torch.randn(1, LATENT_CHANNELS, 2, 2, 2)
    mean, std = latent_statistics(vae, raw)
    expected = vae.decode(raw).sample.clamp(-1, 1)
    torch.testing.assert_close(decode_latents(vae, (raw - mean) / std), expected, atol=1e-4, rtol=1e-4)
    assert decode_latents(vae, 100 * raw).abs().max() <= 1


def test_statistics_come_from_where_each_autoencoder_keeps_them():
    wan, ltx = tiny_wan_vae(), tiny_ltx_vae()
    ltx.register_to_config(scaling_factor=0.5)  # diffusers: (latents − mean) · scaling_factor / std
    for vae, expected in (
        (tiny_vae(), (torch.zeros(1), torch.ones(1))),
        (wan, (torch.tensor(wan.config.latents_mean), torch.tensor(wan.config.latents_std))),
        (ltx, (ltx.latents_mean, ltx.latents_std / 0.5)),
    ):
        for value, wanted in zip(latent_statistics(vae, torch.zeros(1)), expected, strict=True):
            torch.testing.assert_close(value.flatten(), wanted)


def test_silence_outside_the_speech():
    speech = torch.arange(1.0, 10 * SAMPLES_PER_FRAME + 1)
    segment = cut_speech(speech, -5, LAYOUT, (24, 2))
    frames = segment.view(26, SAMPLES_PER_FRAME)
    # The window covers frames −5 … 15; the context reaches back to −8, the lookahead on to 17.
    assert not frames[:8].any()
    torch.testing.assert_close(frames[8:18].flatten(), speech)
    assert not frames[18:].any()


@pytest.mark.parametrize("start", [-200, 300])
def test_silence_far_outside_the_speech(start):
    segment = cut_speech(torch.ones(1000), start, LAYOUT, (24, 2))
    assert segment.shape == (26 * SAMPLES_PER_FRAME,) and not segment.any()


@pytest.mark.parametrize("span", [(24, 2), (60, 0), (21, 5)])
def test_a_running_recording_is_cut_like_a_whole_one(span):
    speech = torch.randn(200 * SAMPLES_PER_FRAME + 123)
    buffer, given, longest = SpeechBuffer(), 0, 0
    for chunk in range(14):  # the last two are past its end
        start = LAYOUT.window_start(chunk)
        needed = (start + LAYOUT.window_frames + span[1]) * SAMPLES_PER_FRAME + 17 * chunk
        buffer.append(speech[given:needed])
        given = min(needed, len(speech))
        expected = cut_speech(speech[:given], start, LAYOUT, span)
        torch.testing.assert_close(buffer.cut(start, LAYOUT, span), expected)
        longest = max(longest, len(buffer._tail))
    assert buffer.samples == given
    assert longest < (sum(span) + 2 * LAYOUT.window_frames) * SAMPLES_PER_FRAME


def test_speech_windows_reach_two_frames_either_way():
    encoder = tiny_speech_encoder()
    span = speech_span(encoder, LAYOUT)
    segments = torch.randn(2, sum(span) * SAMPLES_PER_FRAME)
    windows, features = speech_windows(encoder, segments, LAYOUT), encoder(segments)
    assert windows.shape == (2, 21, 5, encoder.layers, encoder.feature_dim)
    first = span[0] - LAYOUT.window_frames
    for frame in (0, 7, 20):
        centre = first + frame
        last = features.shape[1] - 1
        for offset in range(-2, 3):
            torch.testing.assert_close(windows[:, frame, offset + 2], features[:, min(centre + offset, last)])


@pytest.mark.parametrize("start", [-5, 0, 11, 43])
def test_a_window_hears_what_the_whole_recording_says_there(start):
    """The sound that is cut for a window is enough: its features are those of the recording encoded at once."""
    encoder, speech = tiny_speech_encoder(), torch.randn(80 * SAMPLES_PER_FRAME)
    silence = torch.zeros(40 * SAMPLES_PER_FRAME)
    features = encoder(torch.cat([silence, speech])[None])[0]
    windows = speech_windows(encoder, cut_speech(speech, start, LAYOUT, speech_span(encoder, LAYOUT))[None], LAYOUT)[0]
    for frame in range(LAYOUT.window_frames):
        centre = 40 + start + frame
        torch.testing.assert_close(windows[frame], features[centre - 2 : centre + 3])


def test_null_speech_is_not_silence():
    """Guidance needs a condition that says nothing, which differs from hearing silence."""
    encoder = tiny_speech_encoder()
    silent = speech_windows(encoder, torch.zeros(1, sum(speech_span(encoder, LAYOUT)) * SAMPLES_PER_FRAME), LAYOUT)
    assert not null_speech(silent).any() and silent.abs().min() > 0
