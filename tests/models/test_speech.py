"""Speech encoders: rates, causality, equality with the libraries they build on, saving and loading."""

import pytest
import torch
import torch.nn.functional as F
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor

from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.models.speech import LandmarkSpeechEncoder, LogMelSpeechEncoder, Wav2Vec2SpeechEncoder

TINY_WAV2VEC2 = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
}


def speech(frames: int, seed: int = 0) -> torch.Tensor:
    """Noise with an offset, (2, 640·frames)."""
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(2, frames * SAMPLES_PER_FRAME, generator=generator) + 0.05


@pytest.fixture
def wav2vec2() -> Wav2Vec2SpeechEncoder:
    torch.manual_seed(0)
    return Wav2Vec2SpeechEncoder(TINY_WAV2VEC2, context_frames=30)


@pytest.mark.parametrize("frames", [1, 5, 30])
def test_log_mel_has_one_row_per_video_frame(frames):
    encoder = LogMelSpeechEncoder()
    features = encoder(speech(frames))
    assert features.shape == (2, frames, encoder.layers, encoder.feature_dim)
    assert features.dtype == torch.float32


def test_log_mel_depends_on_nothing_later():
    waveform = speech(12)
    cut = waveform.clone()
    cut[:, 8 * SAMPLES_PER_FRAME :] = 0
    encoder = LogMelSpeechEncoder()
    torch.testing.assert_close(encoder(waveform)[:, :8], encoder(cut)[:, :8], rtol=0, atol=0)


@pytest.fixture
def landmark_encoder() -> LandmarkSpeechEncoder:
    torch.manual_seed(0)
    return LandmarkSpeechEncoder(hidden_dim=8, blocks=4, points=3, lookahead_frames=2, context_frames=26)


def test_landmark_features_and_landmarks_have_one_row_per_video_frame(landmark_encoder):
    assert (landmark_encoder.layers, landmark_encoder.feature_dim) == (1, 8)
    assert (landmark_encoder.context_frames, landmark_encoder.lookahead_frames) == (26, 2)
    for frames in (1, 12):
        features = landmark_encoder(speech(frames))
        assert features.shape == (2, frames, 1, 8)
        assert landmark_encoder.landmarks(features).shape == (2, frames, 3, 2)


def test_landmark_features_see_two_frames_ahead_and_no_more(landmark_encoder):
    waveform = speech(12)
    cut = waveform.clone()
    cut[:, 8 * SAMPLES_PER_FRAME :] = 0
    whole, half = landmark_encoder(waveform), landmark_encoder(cut)
    torch.testing.assert_close(whole[:, :6], half[:, :6], rtol=0, atol=0)
    assert (whole[:, 6] - half[:, 6]).abs().max() > 1e-3


def test_landmark_encoder_survives_saving(landmark_encoder, tmp_path):
    landmark_encoder.save_pretrained(tmp_path)
    loaded = LandmarkSpeechEncoder.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(speech(10)), landmark_encoder(speech(10)), rtol=0, atol=0)
    half = LandmarkSpeechEncoder.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half(speech(10)).dtype == torch.bfloat16
    torch.testing.assert_close(half(speech(10)).float(), loaded(speech(10)), rtol=0, atol=0.1)


def test_wav2vec2_shapes_and_properties(wav2vec2):
    assert (wav2vec2.layers, wav2vec2.feature_dim) == (3, 16)
    assert (wav2vec2.context_frames, wav2vec2.lookahead_frames) == (30, 0)
    for frames in (1, 30, 31):
        assert wav2vec2(speech(frames)).shape == (2, frames, 3, 16)


def test_wav2vec2_equals_its_modules_composed_by_hand(wav2vec2):
    frames = 30
    waveform = speech(frames)
    normalise = Wav2Vec2FeatureExtractor(do_normalize=True)
    values = normalise([row.numpy() for row in waveform], sampling_rate=16_000, return_tensors="pt").input_values

    model = wav2vec2.wav2vec2
    hidden = values[:, None]
    for layer in model.feature_extractor.conv_layers:
        hidden = layer(hidden)
    assert hidden.shape == (2, 8, 2 * frames - 1)
    hidden = F.interpolate(hidden, size=frames, mode="linear", align_corners=True)
    hidden, _ = model.feature_projection(hidden.transpose(1, 2))
    hidden = model.encoder.layer_norm(hidden + model.encoder.pos_conv_embed(hidden))
    outputs = []
    for layer in model.encoder.layers:
        hidden = layer(hidden)
        outputs.append(hidden)

    torch.testing.assert_close(wav2vec2(waveform), torch.stack(outputs, dim=2), rtol=1e-4, atol=1e-5)


def test_wav2vec2_ignores_loudness_and_takes_silence(wav2vec2):
    torch.testing.assert_close(wav2vec2(speech(10)), wav2vec2(3 * speech(10)), rtol=1e-3, atol=1e-4)
    assert wav2vec2(torch.zeros(1, 10 * SAMPLES_PER_FRAME)).isfinite().all()


def test_wav2vec2_is_frozen_and_never_in_training_mode(wav2vec2):
    wav2vec2.train()
    assert not any(module.training for module in wav2vec2.modules())
    assert not any(parameter.requires_grad for parameter in wav2vec2.parameters())
    torch.testing.assert_close(wav2vec2(speech(10)), wav2vec2(speech(10)), rtol=0, atol=0)


def test_wav2vec2_survives_saving(wav2vec2, tmp_path):
    wav2vec2.save_pretrained(tmp_path)
    loaded = Wav2Vec2SpeechEncoder.from_pretrained(tmp_path)
    assert loaded.context_frames == 30
    torch.testing.assert_close(loaded(speech(10)), wav2vec2(speech(10)), rtol=0, atol=0)
    half = Wav2Vec2SpeechEncoder.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half(speech(10)).dtype == torch.bfloat16


def test_wav2vec2_is_built_from_a_whole_transformers_config():
    config = Wav2Vec2Config(**TINY_WAV2VEC2)
    encoder = Wav2Vec2SpeechEncoder(config.to_dict())
    assert encoder.wav2vec2.config.conv_dim == config.conv_dim
    assert (encoder.layers, encoder.feature_dim, encoder.context_frames) == (3, 16, 200)


def test_default_is_wav2vec2_base():
    with torch.device("meta"):
        encoder = Wav2Vec2SpeechEncoder()
    assert (encoder.layers, encoder.feature_dim, encoder.context_frames) == (12, 768, 200)
