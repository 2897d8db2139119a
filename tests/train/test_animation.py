"""That animated faces close their lips when they must, rest in silence, move smoothly and differ from each other."""

import dataclasses

import numpy as np
import pytest

from asymtalker.chunks import FPS, SAMPLES_PER_FRAME
from train.animation.coarticulation import mouth_track
from train.animation.head import blink_track, head_track
from train.animation.manner import Manner
from train.animation.performance import Performance, Utterance, animate, frame_loudness
from train.animation.phone_sets import PHONE_SETS, visemes_of
from train.animation.units import INDEX, UNITS, mouth_opening
from train.animation.visemes import VISEMES

SENTENCE = tuple(
    "pau m ay b r ah dh er m ey hh ae v b ih n m uw v ih ng f ay v p ey p er b aa k s ih z pau".split()  # noqa: SIM905
)
CLOSED = 0.2
"""Of the opening between its 5th and 95th percentiles."""


def utterance(phones=SENTENCE, seconds=0.07, pause=0.5, phone_set="arpabet", rng=None):
    """Each phone lasts so long, pauses longer; the sound is noise, loud in phones."""
    rng = rng or np.random.default_rng(0)
    lengths = [pause if phone in ("pau", "#") else seconds * rng.uniform(0.5, 1.5) for phone in phones]
    ends = np.cumsum(lengths)
    spans = np.stack([ends - lengths, ends], axis=1)
    samples = int(ends[-1] * FPS + 1) * SAMPLES_PER_FRAME
    speech = rng.normal(0, 0.1, samples).astype(np.float32)
    return Utterance(speech, list(phones), spans, phone_set, "test/noise", "en")


def nearest_frames(spans):
    return np.round(spans.mean(1) * FPS).astype(int)


def closures(performance):
    """Whether the lips are closed at the frame nearest the middle of each bilabial."""
    opening = mouth_opening(performance.units)
    low, high = np.percentile(opening, [5, 95])
    frames = nearest_frames(performance.phone_spans)
    return [
        (opening[frame] - low) / (high - low) < CLOSED
        for phone, frame in zip(performance.phones, frames, strict=True)
        if phone in ("p", "b", "m")
    ]


@pytest.mark.parametrize("seconds", [0.03, 0.05, 0.12])
def test_bilabials_close_whoever_speaks_and_however_fast(seconds):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        performance = animate(utterance(seconds=seconds, rng=rng), Manner.draw(rng), rng)
        closed = closures(performance)
        assert len(closed) == 8 and all(closed)
        middles = nearest_frames(performance.phone_spans)[np.isin(performance.phones, ["p", "b", "m"])]
        assert (mouth_opening(performance.units)[middles] < -0.15).all()  # pressed together, whatever the sampling


def test_bilabials_between_open_vowels_close():
    spoken = utterance(["aa", "p", "aa", "b", "aa", "m", "aa", "aa"], 0.13)
    performance = animate(spoken, Manner(jaw=1.2), np.random.default_rng(0))
    opening = mouth_opening(performance.units)
    frames = nearest_frames(performance.phone_spans)
    assert (opening[frames[[1, 3, 5]]] < 0).all() and (opening[frames[[2, 4]]] > 0.1).all()


def test_labiodentals_bring_the_lower_lip_to_the_teeth():
    spoken = utterance(["aa", "f", "aa", "v", "aa"], 0.09)
    weights = mouth_track(spoken.phones, spoken.spans, 12, np.ones(12), Manner())
    frames = nearest_frames(spoken.spans)[[1, 3]]
    assert (weights[frames, INDEX["lowerLipBackward"]] > 0.35).all()
    assert (weights[frames, INDEX["JawDrop"]] < 0.3).all()


def test_rounded_vowels_are_rounded_and_spread_ones_spread():
    weights = [
        mouth_track([phone], np.array([[0.0, 0.4]]), 10, np.ones(10), Manner())[5] for phone in ("uw", "iy", "aa")
    ]
    kiss, spread, jaw = (
        [weight[INDEX[name]] for weight in weights] for name in ("LipsKiss", "MouthLeftPullSide", "JawDrop")
    )
    assert kiss[0] > 0.8 and kiss[1] < 0.05
    assert spread[1] > 0.6 and spread[0] < 0.05
    assert jaw[2] == max(jaw)


def test_silence_is_shut_whatever_is_heard():
    rng = np.random.default_rng(0)
    for vowel in ("aa", "uw"):
        spoken = utterance(["pau", vowel, vowel, "pau"], 0.2, pause=2.0)
        weights = mouth_track(spoken.phones, spoken.spans, 110, np.full(110, 1.3), Manner(amount=1.2, width=1.25))
        ends = (spoken.spans[[1, 2], [0, 1]] * FPS + [-7, 8]).astype(int)
        assert np.abs(np.delete(weights, np.arange(*ends), axis=0)).max() < 0.03
    noise = dataclasses.replace(spoken, phones=[], spans=np.zeros((0, 2)))
    performance = animate(noise, Manner.draw(rng), rng)
    assert np.abs(mouth_opening(performance.units)).max() == 0


def test_nothing_jumps():
    rng = np.random.default_rng(1)
    performance = animate(utterance(SENTENCE * 4, rng=rng), Manner.draw(rng), rng)
    mouth = [INDEX[name] for name in ("JawDrop", "lowerLipDown", "LipsKiss", "MouthLeftPullSide", "MouthLeftPullUp")]
    assert np.abs(np.diff(performance.units[:, mouth], axis=0)).max() < 0.65
    assert np.abs(np.diff(performance.head_pose_deg, axis=0)).max() < 4
    assert np.isfinite(performance.units).all() and performance.units.min() > -0.05 and performance.units.max() <= 1.5


def test_people_differ():
    spoken = utterance(SENTENCE * 3)
    performances = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        performances.append(animate(spoken, Manner.draw(rng), rng))
    for values in (
        [mouth_opening(performance.units).std() for performance in performances],
        [performance.units[:, INDEX["LipsKiss"]].max() for performance in performances],
        [performance.head_pose_deg.std(0).mean() for performance in performances],
        [performance.units[:, INDEX["LeftInnerBrowUp"]].mean() for performance in performances],
    ):
        assert np.std(values) > 0.08 * np.mean(values)


def test_blinks_a_minute():
    rng = np.random.default_rng(0)
    minutes = 40
    counts = []
    for _ in range(minutes):
        closed = blink_track(60 * FPS, Manner.draw(rng), rng) > 0.5
        counts.append(np.count_nonzero(np.diff(closed.astype(int)) == 1))
    assert 15 < np.mean(counts) < 25 and np.std(counts) > 2


def test_nods_lower_the_head_on_loud_syllables():
    loudness = np.zeros(200)
    loudness[100:104] = 1.2
    nodding = Manner(nod=3, nod_share=1, head=0, breath=0, loud_pitch=0)
    pitch = head_track(loudness, nodding, np.random.default_rng(0))[:, 0]
    assert abs(int(pitch.argmax()) - 101) <= 1 and 1.4 < pitch.max() < 4 and abs(pitch[50]) < 0.01


def test_every_phone_has_visemes():
    for phone_set, table in PHONE_SETS.items():
        for phone in table:
            assert all(name in VISEMES for name in visemes_of(phone, phone_set))
    assert visemes_of("tʃ", "ipa") == ("postalveolar",)
    assert visemes_of("aɪ", "ipa") == ("open", "close front")
    assert visemes_of("mʲ", "ipa") == visemes_of("mː", "ipa") == ("bilabial",)
    assert visemes_of("", "ipa") == ("rest",)
    for phone, phone_set in (("qq", "arpabet"), ("ǃ", "ipa")):
        with pytest.raises(ValueError, match=phone):
            visemes_of(phone, phone_set)


def test_pause_is_rest_in_every_phone_set():
    assert all(visemes_of("#", phone_set) == ("rest",) for phone_set in PHONE_SETS)


def test_performances_are_stored_and_checked(tmp_path):
    rng = np.random.default_rng(0)
    performance = animate(utterance(rng=rng), Manner.draw(rng), rng)
    performance.save(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    loaded = Performance.load(tmp_path / "a.npz")
    assert loaded.units.shape[1] == len(UNITS) == 30 and loaded.seconds == performance.seconds
    assert loaded.phones == performance.phones and (loaded.voice, loaded.language) == ("test/noise", "en")
    np.testing.assert_array_equal(loaded.speech, performance.speech)
    np.testing.assert_allclose(loaded.head_pose_deg, performance.head_pose_deg, atol=0.02)
    with pytest.raises(ValueError, match="speech"):
        dataclasses.replace(performance, speech=performance.speech[1:])


def test_loudness_belongs_to_its_frame():
    speech = np.zeros(50 * SAMPLES_PER_FRAME)
    speech[20 * SAMPLES_PER_FRAME : 22 * SAMPLES_PER_FRAME] = 0.5
    loudness = frame_loudness(speech)
    assert loudness.shape == (50,) and loudness.argmax() in (20, 21) and loudness[10] == 0
