"""The speech stage: what is read from landmarks, that sound predicts it, and what becomes of the pipeline."""

import numpy as np
import pytest
import torch

from asymtalker import AsymTalkerPipeline
from asymtalker.chunks import SAMPLES_PER_FRAME
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE
from asymtalker.models import LandmarkSpeechEncoder
from asymtalker.renderer.landmarks import LOWER_LIDS, OUTER_EYES, POINTS, UPPER_LIDS
from asymtalker.renderer.lips import HEARD_LIPS
from tests.train.tiny_stage import command
from train import painter, speech, teacher
from train.clips import MOTION_SUFFIX, load_clips
from train.config import build_settings

LOWER_LIPS = (17, 14)  # outer and inner, in the middle
ENCODER = {"hidden_dim": 16, "blocks": 2, "span_frames": 40, "batch_size": 4}


@pytest.fixture
def settings():
    return build_settings(
        speech.SpeechSettings,
        {"dataset": "", "init": "", "output": "", "max_steps": 300, "learning_rate": 5e-3, **ENCODER},
    )


def talking(frames, opening, seed=0):
    """A face that turns, comes nearer and opens its mouth: landmarks (F, 478, 2)."""
    rng = np.random.default_rng(seed)
    face = rng.uniform(20, 100, (POINTS, 2))
    face[list(OUTER_EYES)] = (30, 50), (90, 50)
    points = np.repeat(face[None], frames, axis=0)
    points[:, LOWER_LIPS, 1] += opening[:, None]
    turn = np.radians(8 * np.sin(np.arange(frames) / 11))
    scale = 1 + 0.1 * np.cos(np.arange(frames) / 17)
    turns = scale[:, None, None] * np.stack(
        [np.stack([np.cos(turn), np.sin(turn)], -1), np.stack([-np.sin(turn), np.cos(turn)], -1)], 1
    )
    return points @ turns + np.stack([np.arange(frames) / 9, np.arange(frames) / 7], -1)[:, None]


def test_lip_movement_is_what_is_left_without_the_head():
    opening = np.zeros(60)
    opening[20:40] = 6 * np.sin(np.arange(20) / 20 * np.pi)
    still = speech.lip_movement(talking(60, 0 * opening), np.arange(10))
    moved = speech.lip_movement(talking(60, opening), np.arange(10))
    assert np.abs(still).max() < 0.01
    inner = HEARD_LIPS.index(14)
    eyes = 60 * np.median(1 + 0.1 * np.cos(np.arange(60) / 17))
    np.testing.assert_allclose(moved[:, inner, 1] * eyes, opening, atol=0.8)
    assert np.corrcoef(moved[:, inner, 1], opening)[0, 1] > 0.99
    elsewhere = [number for number, point in enumerate(HEARD_LIPS) if point not in LOWER_LIPS]
    assert np.abs(moved[:, elsewhere]).max() < 0.01


def test_the_rest_is_that_of_quiet_frames():
    opening = np.full(60, 5.0)
    opening[:8] = 0
    inner = HEARD_LIPS.index(14)
    assert speech.lip_movement(talking(60, opening), np.arange(8))[30, inner, 1] > 0.05
    assert abs(speech.lip_movement(talking(60, opening), np.empty(0, dtype=int))[30, inner, 1]) < 0.01


def talk(frames, seed):
    """A hum whose loudness opens the lips."""
    rng = np.random.default_rng(seed)
    knots = np.arange(0, frames + 8, 8)
    loudness = np.interp(np.arange(frames), knots, rng.normal(0, 1, len(knots))).clip(0, 2)
    hum = np.sin(np.arange(frames * SAMPLES_PER_FRAME) * 0.08) * np.repeat(loudness, SAMPLES_PER_FRAME) / 10
    lips = np.zeros((frames, len(HEARD_LIPS), 2), np.float32)
    lips[:, [HEARD_LIPS.index(point) for point in LOWER_LIPS], 1] = loudness[:, None] / 10
    return speech.Talk(torch.from_numpy(hum.astype(np.float32)), torch.from_numpy(lips))


def test_the_encoder_learns_how_sound_moves_lips(settings):
    torch.manual_seed(0)
    encoder = LandmarkSpeechEncoder(settings.hidden_dim, settings.blocks, len(HEARD_LIPS))
    unheard = [talk(100, seed) for seed in (100, 101)]
    speech.train(encoder, [talk(120, seed) for seed in range(8)], settings)
    assert speech.correlation(encoder, unheard) > 0.9


def test_lids_are_shut_as_far_as_they_are_less_open_than_usual():
    shares = np.ones(50)
    shares[20:24] = 0.6, 0.25, 0.1, 1.3
    landmarks = talking(50, np.zeros(50))
    landmarks[:, LOWER_LIDS] = landmarks[:, UPPER_LIDS] + np.float64([0, 4]) * shares[:, None, None]
    landmarks[:, list(OUTER_EYES)] = (30, 50), (90, 50)
    shut = speech.shut_lids(landmarks)
    np.testing.assert_allclose(shut[20:24], [0.4 / 0.75, 1, 1, 0], atol=1e-6)
    assert np.abs(shut[:20]).max() < 1e-6


def test_clips_shorter_than_a_span_are_refused(settings):
    with pytest.raises(ValueError, match="smaller span_frames"):
        speech.train(LandmarkSpeechEncoder(16, 2, len(HEARD_LIPS)), [talk(20, 0)], settings)


@pytest.fixture(scope="module")
def measured(data, initial):
    """Movements of lips, where the stage keeps those that it has measured."""
    rng = np.random.default_rng(0)
    folder = speech.store_folder(str(data["dataset"]), "train", 64, data["store"])
    for clip in load_clips(str(data["dataset"]), "train", 64, data["store"]):
        landmarks = talking(len(clip.frames), 4 * rng.random(len(clip.frames)))
        np.save(folder / f"{clip.name}{MOTION_SUFFIX}", speech.clip_motion(clip, landmarks))
    yield
    for path in folder.glob(f"*{MOTION_SUFFIX}"):
        path.unlink()


def test_lips_are_measured_over_frames_without_a_face(data, initial):
    clip = load_clips(str(data["dataset"]), "train", 64, data["store"])[0]
    opening = np.linspace(0, 6, len(clip.frames))
    landmarks = talking(len(clip.frames), opening)
    whole = speech.clip_motion(clip, landmarks)
    assert whole.shape == (len(clip.frames), 80 + 1 + 140) and whole.dtype == np.float32
    np.testing.assert_allclose(whole[:, 81:].reshape(-1, 70, 2)[:, 40:42], landmarks[:, list(OUTER_EYES)], rtol=1e-6)
    gap = landmarks.copy()
    gap[7] = np.nan
    np.testing.assert_allclose(speech.clip_motion(clip, gap)[:, :80], whole[:, :80], atol=0.01)
    gap[10:] = np.nan
    assert speech.clip_motion(clip, gap).shape == (0, 221)


def test_the_pipeline_hears_with_the_new_encoder_and_keeps_the_rest(data, initial, runs, measured):
    speech.main(command("speech", **data, init=initial, output=runs / "speech", max_steps=2, **ENCODER))
    before, after = (AsymTalkerPipeline.from_pretrained(folder) for folder in (initial, runs / "speech"))
    assert after.speech_encoder.config.hidden_dim == 16
    assert after.transformer.audio_proj.proj1.in_features == 5 * 16
    old, new = before.transformer.state_dict(), after.transformer.state_dict()
    changed = {name for name in old if old[name].shape != new[name].shape}
    assert changed == {"audio_proj.proj1.weight", "audio_proj.proj1_vf.weight", "motion.painter.lips.weight"}
    for name in set(old) - changed - {"motion.painter.lips.bias"}:
        torch.testing.assert_close(new[name], old[name], rtol=0, atol=0)
    features = after.speech_encoder(torch.randn(1, 5 * SAMPLES_PER_FRAME))
    heard = after.transformer.motion.painter.listen(features.unsqueeze(1))[0, 0]
    torch.testing.assert_close(heard, 1.25 * after.speech_encoder.landmarks(features)[0, 2].flatten())
    teacher.main(command("teacher", **data, init=runs / "speech", output=runs / "after-speech", max_steps=1))
    assert (runs / "after-speech/pipeline/model_index.json").exists()


def test_the_painter_goes_by_measured_lips(data, initial, runs, measured):
    """What is heard does not count for clips whose lips were measured: the layer that listens learns nothing."""
    painter.main(command("painter", **data, init=initial, output=runs / "painter-of-lips", max_steps=2))
    before, after = (
        AsymTalkerPipeline.from_pretrained(folder).transformer.motion.painter
        for folder in (initial, runs / "painter-of-lips/pipeline")
    )
    torch.testing.assert_close(after.lips.weight, before.lips.weight, rtol=0, atol=0)
    assert (after.colour.weight - before.colour.weight).abs().max() > 0


def test_without_a_face_mesh_it_says_how_to_get_one(data, initial, runs, tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    places = {"dataset": data["dataset"], "store": tmp_path / "store", "init": initial, "output": tmp_path / "never"}
    with pytest.raises(SystemExit, match=PYTHON_VARIABLE):
        speech.main(command("speech", **places, **ENCODER))
    assert not (tmp_path / "never").exists()
