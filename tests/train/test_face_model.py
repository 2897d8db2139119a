"""The linear face model: what it finds in faces of known expression, and what it makes of it."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import save_file

from asymtalker.renderer.landmarks import BROWS, CHIN, EYES, IRISES, LIPS, RIGID, UPPER_LIDS
from asymtalker.renderer.motion_frame import (
    BROW_CHANNELS,
    CHANNELS,
    CHIN_CHANNELS,
    EYE_CHANNELS,
    GAZE_CHANNELS,
    LIP_CHANNELS,
    LOWER,
    POSE_CHANNELS,
    UPPER,
)
from tests.renderer.heads import rotation, skull_of
from tests.tracks import FACE_MODEL
from train.animation.units import UNITS
from train.face_model import FaceModel, Seen, fit, part_lips

NAMES = ("JawDrop", "upperLidClosed", "BrowUp")
JAW, LID, BROW = range(3)
DROP, CLOSED, RAISED, GLANCE = 0.3, 0.1, 0.08, 0.004
"""In eye distances: what each unit moves when it is 1, and a degree of gaze."""
PEOPLE, FRAMES = 4, 40


def made_people():
    """Faces of four people with known units, gaze and pose, in pixels."""
    rng = np.random.default_rng(0)
    face = skull_of(rng)
    lower, upper = (np.array(LIPS)[half] for half in (LOWER, UPPER))
    seen = []
    for person in range(PEOPLE):
        units = rng.uniform(0, 1, (FRAMES, 3))
        pose = rng.uniform(-10, 10, (FRAMES, 3))
        pose[:3] = rng.uniform(-1, 1, (3, 3))  # some look straight ahead
        gaze = rng.uniform(-10, 10, (FRAMES, 2))
        wide = 0.02 * person
        for unit, angles, look in zip(units, pose, gaze, strict=True):
            points = face.copy()
            points[lower[1:-1], 1] += DROP * unit[JAW]
            points[CHIN, 1] += DROP * unit[JAW]
            points[[point for pair in (lower, upper) for point in pair[[0]]], 0] -= wide
            points[list(UPPER_LIDS), 1] += CLOSED * unit[LID]
            points[[point for brow in BROWS for point in brow], 1] -= RAISED * unit[BROW]
            for eye, iris in zip(EYES, IRISES, strict=True):
                points[iris[0]] = points[[eye[0], eye[8]]].mean(0) + GLANCE * np.array([look[0], -look[1], 0])
            pitch, yaw, roll = np.radians(angles)
            turned = points @ rotation(-roll, -yaw, -pitch).T
            seen.append((person, turned * 80 + [128, 100, 0], unit, angles, look))
    return Seen(*(np.array(part) for part in zip(*seen, strict=True)))


@pytest.fixture(scope="module")
def model():
    return fit(made_people(), NAMES)


def test_what_units_do_is_found_through_pose_and_person(model):
    jaw = model.units[JAW, LIP_CHANNELS].reshape(-1, 2)
    np.testing.assert_allclose(jaw[LOWER[1:-1]], [[0, DROP]] * 9, atol=0.01)
    np.testing.assert_allclose(jaw[UPPER], 0, atol=0.01)
    np.testing.assert_allclose(model.units[JAW, CHIN_CHANNELS], [0, DROP], atol=0.01)
    np.testing.assert_allclose(model.units[LID, EYE_CHANNELS], [-CLOSED] * 2, atol=0.01)
    np.testing.assert_allclose(model.units[BROW, BROW_CHANNELS], [-RAISED] * 4, atol=0.01)
    np.testing.assert_allclose(model.gaze[:, GAZE_CHANNELS], [[GLANCE, 0], [0, -GLANCE]], atol=4e-4)


def test_units_move_nothing_but_their_part_of_the_face(model):
    assert not model.units[LID, LIP_CHANNELS].any() and not model.units[JAW, EYE_CHANNELS].any()
    assert not model.units[:, POSE_CHANNELS].any() and not model.units[:, GAZE_CHANNELS].any()


def test_the_mean_face_is_at_rest_with_its_lips_shut(model):
    lips = model.mean[LIP_CHANNELS].reshape(-1, 2)
    np.testing.assert_allclose(lips[LOWER, 1] - lips[UPPER, 1], 0, atol=1e-6)
    assert not model.mean[POSE_CHANNELS].any()
    assert model.mean[EYE_CHANNELS].min() > 0.05  # its eyes are open


def test_what_distinguishes_people_is_kept(model):
    assert model.people.shape == (PEOPLE, CHANNELS)
    corner = 2 * LIPS.index(78)
    assert np.abs(model.people[0, corner]) == pytest.approx(0.02 * np.std(range(PEOPLE)), rel=0.1)
    assert np.abs(model.people[1:]).max() < 0.2 * np.abs(model.people[0]).max()


def test_frames_show_what_they_are_made_of(model):
    units, pose = np.eye(3)[[JAW, JAW, LID]], np.array([[10.0, 0, 0], [0, -20, 0], [0, 0, 5]])
    frames = model.frames(units, pose, np.zeros((3, 2)), np.zeros(PEOPLE), effort=0.5)
    assert frames.shape == (3, CHANNELS) and frames.dtype == np.float32
    np.testing.assert_allclose(np.degrees(frames[:, POSE_CHANNELS]), [[0, 0, -10], [0, 20, 0], [-5, 0, 0]], atol=1e-4)
    lips = frames[:, LIP_CHANNELS].reshape(3, -1, 2)
    gaps = lips[:, LOWER[1:-1], 1] - lips[:, UPPER[1:-1], 1]
    np.testing.assert_allclose(gaps[:2], DROP / 2, atol=0.01)
    np.testing.assert_allclose(gaps[2], 0, atol=0.01)
    np.testing.assert_allclose(frames[2, EYE_CHANNELS] - model.mean[EYE_CHANNELS], -CLOSED, atol=0.01)  # not by effort


def test_lips_are_parted_and_shut_around_their_middle():
    frames = np.random.default_rng(0).normal(0, 0.1, (4, CHANNELS))
    before = frames.copy()
    part_lips(frames, 0.05, 0.1)
    lips, old = (values[:, LIP_CHANNELS].reshape(4, -1, 2) for values in (frames, before))
    gaps, were = (part[:, LOWER[1:-1], 1] - part[:, UPPER[1:-1], 1] for part in (lips, old))
    np.testing.assert_allclose(gaps, were.clip(0.05, 0.1), atol=1e-12)
    middles = [part[:, LOWER, 1] + part[:, UPPER, 1] for part in (lips, old)]
    np.testing.assert_allclose(*middles, atol=1e-12)


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = FaceModel.load(tmp_path / "model.safetensors")
    assert again.unit_names == NAMES
    for field in dataclasses.fields(model)[1:]:
        np.testing.assert_allclose(getattr(again, field.name), getattr(model, field.name), atol=1e-6)


def test_files_that_are_no_face_models_are_refused(model, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ValueError, match="is not a face model"):
        FaceModel.load(path)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="is not a face model"):
        FaceModel.load(path)
    save_file({"mean": np.zeros(CHANNELS)}, path, metadata={"unit_names": "[]"})
    with pytest.raises(ValueError, match="is not a face model"):
        FaceModel.load(path)
    dataclasses.replace(model, mean=np.zeros(7)).save(path)
    with pytest.raises(ValueError, match=rf"shape \(7,\), not \({CHANNELS},\): measure it anew"):
        FaceModel.load(path)


def test_the_face_model_of_the_repository_is_of_the_animators_units():
    model = FaceModel.load(FACE_MODEL)
    assert model.unit_names == UNITS
    assert model.units.shape == (len(UNITS), CHANNELS) and model.skull.shape == (len(RIGID), 3)
    lips = model.mean[LIP_CHANNELS].reshape(-1, 2)
    np.testing.assert_allclose(lips[LOWER, 1] - lips[UPPER, 1], 0, atol=1e-6)
    opened = model.units[UNITS.index("JawDrop"), LIP_CHANNELS].reshape(-1, 2)
    assert (opened[LOWER, 1] - opened[UPPER, 1])[5] > 0.1  # down is positive
