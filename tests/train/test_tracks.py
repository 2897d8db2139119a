"""Tracks on people drawn at random: who they are, what they show as a stream begins, and which folders are refused."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from asymtalker.chunks import SAMPLES_PER_FRAME, WindowLayout
from asymtalker.conditioning import speech_span
from asymtalker.renderer.landmarks import LIPS, LOWER_LIP, RIGID, UPPER_LIP
from asymtalker.renderer.motion_frame import CHANNELS, EYE_CHANNELS, LIP_CHANNELS, POSE_CHANNELS, denormalize
from asymtalker.renderer.motion_frame import LAYOUT as LANDMARKS
from tests.renderer.heads import rotation, skull_of
from tests.tiny import tiny_speech_encoder
from tests.tracks import FACE_MODEL, tiny_track, write_performances
from train.animation.units import UNITS
from train.face_model import FaceModel
from train.motion_store import MeasuredMotion, measure_clip
from train.tracks import SETTLE, TEETH, PersonView, load_tracks
from train.views import View

LAYOUT = WindowLayout(21, 5, 4)
SPAN = speech_span(tiny_speech_encoder(), LAYOUT)
FRAMES = 60


@pytest.fixture(scope="module")
def track():
    return tiny_track(FRAMES)


@pytest.fixture(scope="module")
def silent():
    """A face that does nothing at all."""
    track = tiny_track(FRAMES)
    still = {name: 0 * getattr(track.source, name) for name in ("speech", "units", "head_pose_deg", "gaze_deg")}
    return dataclasses.replace(track, source=dataclasses.replace(track.source, **still))


def person(track, seed):
    return PersonView(track, None if seed is None else np.random.default_rng(seed))


def measures(view, track, indices, origin=0):
    """Motion frames (F, 93) in eye distances and radians."""
    return denormalize(view.frames(indices, origin).numpy()[:, 0, 0], track.model.mean)


def gaps(frames):
    """How far apart the middle of the lips is, (F,)."""
    lips = frames[:, LIP_CHANNELS].reshape(len(frames), -1, 2)
    return lips[:, LIPS.index(LOWER_LIP), 1] - lips[:, LIPS.index(UPPER_LIP), 1]


def smiling_and_earnest(track):
    """The first seeds of people who show their teeth in their portrait and who do not."""
    shows = [gaps(measures(person(track, seed), track, [0]))[0] > TEETH[0] / 2 for seed in range(20)]
    return shows.index(True), shows.index(False)


def test_people_differ_by_seed_and_not_within_one(silent):
    one, same, other, mean = (person(silent, seed).frames([0, 59], -100) for seed in (0, 0, 1, None))
    assert one.shape == (2, 1, 1, CHANNELS) and one.dtype == torch.float32
    torch.testing.assert_close(one, same, rtol=0, atol=0)
    torch.testing.assert_close(one[0], one[1], rtol=0, atol=1e-6)
    assert (one - other).abs().max() > 0.02 and (one - mean).abs().max() > 0.02
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-6, rtol=0)  # networks see what differs from it


def test_the_head_turns_alike_on_every_face_and_lips_as_far_as_the_person_moves_them(track):
    view, mean = (measures(person(track, seed), track, list(range(FRAMES)), -100) for seed in (3, None))
    np.testing.assert_allclose(view[:, POSE_CHANNELS], mean[:, POSE_CHANNELS], atol=1e-6)
    np.testing.assert_allclose(
        np.diff(view[:, EYE_CHANNELS], axis=0), np.diff(mean[:, EYE_CHANNELS], axis=0), atol=1e-5
    )
    assert np.corrcoef(gaps(view), gaps(mean))[0, 1] > 0.99


def test_the_jaw_opens_the_mouth_and_lips_never_pass_through_each_other(track):
    frames = measures(person(track, None), track, list(range(FRAMES)))
    drops = track.source.units[:, UNITS.index("JawDrop")]
    assert np.corrcoef(gaps(frames), drops)[0, 1] > 0.9
    assert gaps(frames).min() > -1e-6 and gaps(frames).max() > 0.1


def test_the_teeth_of_a_portrait_fade_from_where_the_stream_begins(silent):
    smiling, earnest = smiling_and_earnest(silent)
    view = person(silent, smiling)
    portrait = view.portrait(30)["portrait"]
    shown = gaps(denormalize(portrait.numpy()[0], silent.model.mean))[0]
    assert shown > TEETH[0] / 2
    rest = gaps(measures(view, silent, [59], -1000))[0]
    found = gaps(measures(view, silent, list(range(30, 45)), origin=30)) - rest
    np.testing.assert_allclose(found, (shown - rest) * SETTLE ** np.arange(15), atol=1e-4)
    torch.testing.assert_close(view.frames([20], origin=30)[0], portrait)  # before it, the portrait is held
    frames = measures(person(silent, earnest), silent, [0, 20])
    np.testing.assert_allclose(frames[0], frames[1], atol=1e-6)


def test_a_cold_start_begins_as_the_portrait_is(track):
    for seed in range(5):
        view = View(track, 1, np.random.default_rng(seed))
        row = view.portrait(10) | view.window(5, LAYOUT, SPAN, origin=10)
        for frame in range(6):
            torch.testing.assert_close(row["window"][frame], row["portrait"], rtol=0, atol=0)
        assert (row["window"][6] - row["portrait"]).abs().max() > 0


@pytest.mark.parametrize("whole", [True, False])
def test_sound_is_changed_once_for_a_stream_and_anew_for_each_window(track, whole):
    view = View(track, 1, np.random.default_rng(0), whole=whole)
    segments = [view.window(start, LAYOUT, SPAN)["segment"] for start in (20, 24)]
    overlap = segments[0][4 * SAMPLES_PER_FRAME :], segments[1][: -4 * SAMPLES_PER_FRAME]
    assert overlap[0].dtype == torch.float32
    assert torch.equal(*overlap) == whole
    plain = View(track, 1, None).window(20, LAYOUT, SPAN)["segment"]
    assert not torch.equal(plain, segments[0])
    first = (41 - SPAN[0]) * SAMPLES_PER_FRAME
    np.testing.assert_array_equal((plain.numpy() * 32768).round(), track.speech[first : first + len(plain)])


def test_a_folder_of_performances_is_loaded(tmp_path):
    tracks = load_tracks(write_performances(tmp_path, 3, 40, fps=25), FACE_MODEL)
    assert [track.name for track in tracks] == ["noise-00000", "noise-00001", "noise-00002"]
    assert [len(track) for track in tracks] == [40] * 3
    np.testing.assert_array_equal(tracks[1].speech, tiny_track(40, 1).speech)
    np.testing.assert_allclose(tracks[1].source.units, tiny_track(40, 1).source.units, atol=1e-3)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no performances"):
        load_tracks(tmp_path, FACE_MODEL)
    folder = write_performances(tmp_path / "fast", 2, 30, fps=30)
    with pytest.raises(ValueError, match=r"noise-00000\.npz .* has 30 frames a second; 25 are needed"):
        load_tracks(folder, FACE_MODEL)
    model = FaceModel.load(FACE_MODEL)
    other = dataclasses.replace(model, unit_names=("Grin", *UNITS[1:]))
    other.save(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"other\.safetensors is of other expression units"):
        load_tracks(write_performances(tmp_path / "good", 1, 30), tmp_path / "other.safetensors")
    assert json.loads((tmp_path / "good" / "metadata.jsonl").read_text())["file_name"] == "noise-00000.npz"


@pytest.fixture
def measured(track):
    """Motion of the mean face, as if it had been measured on somebody."""
    frames = measures(person(track, None), track, list(range(FRAMES)))
    return MeasuredMotion(track.speech, frames)


def test_measured_motion_is_a_track_of_one_person(track, measured, tmp_path):
    measured.save(tmp_path / "somebody.npz")
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "somebody.npz", "kind": "motion"}) + "\n")
    (loaded,) = load_tracks(tmp_path, FACE_MODEL)
    assert len(loaded) == FRAMES
    np.testing.assert_array_equal(loaded.speech, track.speech)
    for seed in (None, 0, 1):
        np.testing.assert_allclose(measures(person(loaded, seed), loaded, [3, 9]), measured.frames[[3, 9]], atol=1e-6)
    row = View(loaded, 1, np.random.default_rng(0)).window(5, LAYOUT, SPAN)
    assert row["window"].shape == (21, 1, 1, CHANNELS)


def test_measured_motion_of_other_channels_or_another_rate_is_refused(measured, tmp_path):
    for changed, message in ({"layout": "version 0"}, "other landmarks"), ({"fps": 30}, "30 frames a second"):
        written = {"speech": measured.speech, "frames": measured.frames, "layout": LANDMARKS, "fps": 25} | changed
        np.savez(tmp_path / "other.npz", **written)
        with pytest.raises(ValueError, match=message):
            MeasuredMotion.load(tmp_path / "other.npz")


def test_frames_without_a_face_are_bridged_unless_they_are_many():
    rng = np.random.default_rng(0)
    face = skull_of(rng)
    landmarks = np.stack([face @ rotation(0.01 * frame, 0, 0).T * 80 + 100 for frame in range(30)])
    landmarks[5:9] = np.nan
    frames = measure_clip(landmarks, face[list(RIGID)])
    np.testing.assert_allclose(frames[:, POSE_CHANNELS.start], 0.01 * np.arange(30), atol=1e-3)
    landmarks[5:14] = np.nan
    with pytest.raises(ValueError, match="lost for 9 frames in a row; at most 8"):
        measure_clip(landmarks, face[list(RIGID)])
