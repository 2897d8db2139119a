"""The speech stage: that sound predicts lips, and what becomes of the encoder."""

import dataclasses

import numpy as np
import pytest
import torch

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.models import LandmarkSpeechEncoder
from asymtalker.renderer.landmarks import LIPS
from tests.tracks import tiny_track
from tests.train.tiny_stage import command
from train import autoencoder, speech, teacher
from train.animation.units import UNITS
from train.config import build_settings

ENCODER = {"hidden_dim": 16, "blocks": 2, "span_frames": 40, "batch_size": 4}


@pytest.fixture
def settings():
    places = {"dataset": "", "output": ""}
    return build_settings(speech.SpeechSettings, {**places, "max_steps": 200, "learning_rate": 5e-3, **ENCODER})


@pytest.fixture
def quiet_room(monkeypatch):
    """Sound as it is: a few steps do not learn to hear through rooms and noise."""
    monkeypatch.setattr(speech, "augment", lambda samples, rng: samples)


def humming(frames, seed):
    """A hum whose loudness opens the jaw, and nothing else moves."""
    rng = np.random.default_rng(seed)
    knots = np.arange(0, frames + 8, 8)
    loudness = np.interp(np.arange(frames), knots, rng.normal(0, 1, len(knots))).clip(0, 2)
    hum = np.sin(np.arange(frames * SAMPLES_PER_FRAME) * 0.08) * np.repeat(loudness, SAMPLES_PER_FRAME)
    track = tiny_track(frames, seed)
    units = np.zeros_like(track.source.units)
    units[:, UNITS.index("JawDrop")] = loudness / 2
    sound = (3000 * hum).astype(np.int16)
    return dataclasses.replace(track, source=dataclasses.replace(track.source, speech=sound, units=units))


def test_the_encoder_learns_how_sound_moves_lips(settings, quiet_room):
    torch.manual_seed(0)
    encoder = LandmarkSpeechEncoder(settings.hidden_dim, settings.blocks, len(LIPS))
    unheard = [humming(100, seed) for seed in (100, 101)]
    speech.train(encoder, [humming(120, seed) for seed in range(8)], settings)
    assert speech.correlation(encoder, unheard) > 0.9


def test_lips_are_those_of_the_mean_face_away_from_its_rest():
    track = humming(60, 0)
    lips = speech.lips_of(track, range(60))
    assert lips.shape == (60, len(LIPS), 2)
    drops = torch.from_numpy(track.source.units[:, UNITS.index("JawDrop")])
    assert torch.corrcoef(torch.stack([speech.opening(lips), drops]))[0, 1] > 0.99
    assert lips[drops == 0].abs().max() < 1e-4
    torch.testing.assert_close(speech.lips_of(track, range(20, 30)), lips[20:30], rtol=0, atol=0)


def test_a_batch_has_the_sound_of_its_lips(settings, quiet_room):
    track = humming(100, 1)
    sounds, lips = speech.draw_batch([track], settings, np.random.default_rng(0))
    assert sounds.shape == (4, 40 * SAMPLES_PER_FRAME) and lips.shape == (4, 40, len(LIPS), 2)
    loudness = sounds.unflatten(1, (40, -1)).square().mean(2).sqrt()
    for loud, opened in zip(loudness, speech.opening(lips), strict=True):
        assert torch.corrcoef(torch.stack([loud, opened]))[0, 1] > 0.99


def test_tracks_shorter_than_a_span_are_refused(settings):
    with pytest.raises(ValueError, match="shorter than 40 frames; give a smaller span_frames"):
        speech.train(LandmarkSpeechEncoder(16, 2, len(LIPS)), [humming(20, 0)], settings)


def test_without_a_face_model_it_says_what_it_learns_from(data, tmp_path):
    with pytest.raises(SystemExit, match="face_model: the speech encoder learns from performances"):
        speech.main(command("speech", **data, output=tmp_path / "never", **ENCODER))
    assert not (tmp_path / "never").exists()


def test_the_next_stages_hear_with_the_new_encoder(tracks, tmp_path):
    speech.main(command("speech", **tracks, output=tmp_path / "speech", max_steps=2, **ENCODER))
    settings = {"speech_encoder": tmp_path / "speech", "output": tmp_path / "autoencoder"}
    autoencoder.main(command("autoencoder", **tracks, **settings))
    pipeline = AsymTalkerPipeline.from_pretrained(tmp_path / "autoencoder")
    assert pipeline.speech_encoder.config.hidden_dim == 16
    assert pipeline.transformer.audio_proj.proj1.in_features == 5 * 16
    learnt = LandmarkSpeechEncoder.from_pretrained(tmp_path / "speech").state_dict()
    torch.testing.assert_close(pipeline.speech_encoder.state_dict(), learnt, rtol=0, atol=0)
    places = {"init": tmp_path / "autoencoder", "output": tmp_path / "teacher"}
    teacher.main(command("teacher", **tracks, **places, max_steps=1))
    trained = AsymTalkerPipeline.from_pretrained(tmp_path / "teacher" / "pipeline")
    torch.testing.assert_close(trained.speech_encoder.state_dict(), learnt, rtol=0, atol=0)
