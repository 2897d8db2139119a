"""SyncNet's protocol on embeddings and crops made to measure; its published weights need a download."""

import numpy as np
import pytest
import torch

from asymtalker.metrics.sync import SyncNet, SyncScorer, crop_faces, sync_score


@pytest.mark.parametrize("late", [-4, 0, 7])
def test_a_shift_is_found_and_its_distance_is_the_smallest(late):
    sound = torch.randn(120, 32, generator=torch.Generator().manual_seed(0))
    lips = torch.roll(sound, late, 0)
    score = sync_score(lips[10:-10], sound[10:-10])
    assert score.offset == late
    assert score.distance < 4 < score.distance + score.confidence


def test_matching_embeddings_are_as_near_as_they_are():
    sound = torch.randn(60, 16, generator=torch.Generator().manual_seed(0)) * 10
    score = sync_score(sound + 1.0, sound)
    assert score.distance == pytest.approx(4.0, rel=1e-3)  # the root of 16 ones
    assert score.confidence > 10


def test_unrelated_embeddings_have_little_confidence():
    lips, sound = torch.randn(2, 400, 16, generator=torch.Generator().manual_seed(0))
    assert sync_score(lips, sound).confidence < 0.5


def test_the_network_has_the_published_shapes():
    torch.manual_seed(0)
    network = SyncNet().eval()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items() if name.endswith("weight")}
    assert shapes["netcnnlip.0.weight"] == (96, 3, 5, 7, 7) and shapes["netcnnlip.18.weight"] == (512, 256, 1, 6, 6)
    assert shapes["netcnnaud.18.weight"] == (512, 256, 5, 4) and shapes["netfclip.3.weight"] == (1024, 512)
    with torch.no_grad():
        assert network.embed_lips(torch.zeros(1, 3, 5, 224, 224)).shape == (1, 1024)
        assert network.embed_speech(torch.zeros(2, 1, 13, 20)).shape == (2, 1024)


def test_a_crop_is_centred_on_the_face_and_reaches_below_it():
    frames = np.zeros((14, 200, 200, 3), np.uint8)
    frames[:, 80:120, 80:120] = (255, 0, 0)
    points = np.zeros((14, 478, 3))
    points[:, :, :2] = np.random.default_rng(0).uniform(80, 120, (478, 2))
    points[:, 0, :2], points[:, 1, :2] = 80, 120
    crops = crop_faces(frames, points)
    assert crops.shape == (14, 224, 224, 3)
    blue_last = crops[0, :, :, 2] > 128  # BGR
    rows, columns = np.flatnonzero(blue_last.any(axis=1)), np.flatnonzero(blue_last.any(axis=0))
    assert rows[0] == 0 and rows[-1] == pytest.approx(224 * 40 / 56, abs=3)  # 20 + 20·1.8 pixels high
    assert columns[0] == pytest.approx(224 * 8 / 56, abs=3) and columns[-1] == pytest.approx(224 * 48 / 56, abs=3)


def test_a_clip_is_scored_and_a_short_one_refused():
    pytest.importorskip("python_speech_features")
    torch.manual_seed(0)
    scorer = SyncScorer(network=SyncNet())
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (24, 64, 64, 3), dtype=np.uint8)
    points = random.uniform(20, 44, (1, 478, 3)).repeat(24, axis=0)
    score = scorer.score(frames, points, random.normal(size=24 * 640) * 0.1)
    assert score.distance > 0 and score.confidence >= 0 and abs(score.offset) <= 15
    with pytest.raises(ValueError, match="21 frames or more"):
        scorer.score(frames[:20], points[:20], np.zeros(20 * 640))
