"""Rows from records whose curves are known."""

import numpy as np
import pytest

from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.evaluation.summary import summarize

FRAMES = 600
LAG = 2


def video(opening, **more):
    """What a measurement keeps of a video of 24 s: seams of 3 over 2 every 16 frames, one blink, a steady head."""
    frames = np.arange(FRAMES)
    eyes = np.where((frames >= 50) & (frames < 53), 0.02, 0.1)
    speaking = frames >= FRAMES // 2
    drift = {
        "start": [0, 10, 20],
        "lab": [[50, 0, 0], [50, 0, 0], [40, 0, 0]],
        "lab_distance": [1, 2, 3],
        "sharpness_to_reference": [1, 0.9, 0.8],
        "motion": [2, 2, 2],
    }
    return {
        "notes": {},
        "drift": drift,
        "differences": np.where(frames[1:] % 16 == 0, 3.0, 2.0).tolist(),
        "lip_opening": opening.tolist(),
        "eye_opening": eyes.tolist(),
        "head": np.stack([frames * 0.02, frames * 0], axis=1).tolist(),
        "silent": (~speaking).tolist(),
        "voiced": speaking.tolist(),
        "geometry": [],
    } | more


@pytest.fixture
def records():
    made = []
    for seed in range(4):
        noise = np.convolve(np.random.default_rng(seed).normal(size=FRAMES + 40), np.hanning(7), mode="same")
        real, late = noise[20 : FRAMES + 20], noise[20 - LAG : FRAMES + 20 - LAG]
        record = {
            "name": str(seed),
            "clip": str(seed),
            "person": str(seed),
            "frames": FRAMES,
            "elapsed": 12.0,
            "first_frame": 0.5,
        }
        made.append(record | {"period": 16, "generated": video(0.5 * late), "real": video(real)})
    return made


def rows(records, *metrics, **unavailable):
    found = summarize(records, EvaluationSettings("set", metrics=metrics), unavailable)
    return {row["label"]: row for row in found["rows"]}


def test_late_lips_are_found_at_their_lag_and_chance_is_near_zero(records):
    table = rows(records, "lips")
    at_zero = table["lip opening: correlation at lag 0"]
    assert table["lip opening: best common lag"]["generated"]["mean"] == LAG
    at_best = table["lip opening: correlation at the best common lag"]
    assert at_best["generated"]["mean"] == pytest.approx(1) and at_best["generated"]["low"] == pytest.approx(1)
    assert at_zero["shuffled"]["mean"] <= at_best["shuffled"]["mean"] < 0.2
    assert 0.3 < at_zero["generated"]["mean"] < 0.95
    assert abs(at_zero["shuffled"]["mean"]) < 0.2 and at_zero["shuffled"]["clips"] == 4
    late = [record["generated"]["lip_opening"][FRAMES // 2 :] for record in records]
    real = [record["real"]["lip_opening"][FRAMES // 2 :] for record in records]
    spoken = np.mean([np.corrcoef(*pair)[0, 1] for pair in zip(late, real, strict=True)])
    assert table["lip opening: correlation within speech"]["generated"]["mean"] == pytest.approx(spoken)
    assert table["lip opening: amplitude over the real one"]["generated"]["mean"] == pytest.approx(0.5, rel=0.05)


def test_known_curves_give_known_rows(records):
    table = rows(records, "seams", "blinks", "head", "silence", "drift")
    assert table["seam ratio"]["generated"]["mean"] == pytest.approx(1.5)
    assert table["blinks"]["generated"]["mean"] == pytest.approx(60 / 24)
    assert table["head motion energy"]["real"]["mean"] == pytest.approx(0.25)
    assert table["head motion energy over the real"]["generated"]["mean"] == pytest.approx(1)
    assert table["mouth motion in silence over that in speech"]["generated"]["mean"] == pytest.approx(1, rel=0.2)
    assert table["lightness: last over first"]["generated"]["mean"] == pytest.approx(1)  # 4 s are no interval of 10
    assert table["sharpness: last over first"]["generated"]["mean"] == pytest.approx(0.9)


def test_the_last_minute_is_compared_with_the_first(records):
    for record in records:
        part = record["generated"]
        part["differences"] = [1.0] * (300 * 25 - 1)
        part["drift"] = {name: [values[0]] * 30 for name, values in part["drift"].items()}
        part["drift"]["start"] = list(range(0, 300, 10))
        part["drift"]["motion"] = [1.0] * 6 + [9.0] * 18 + [2.0] * 6
    assert rows(records, "drift")["frame difference: last over first"]["generated"]["mean"] == pytest.approx(2)


@pytest.fixture
def articulated(records):
    """Two /b/ and two /f/ are said in each clip, at frames of its own; generated lips close in the first /b/ alone."""
    for index, record in enumerate(records):
        starts = [40 + 20 * index + 120 * phone for phone in range(4)]
        record["phones"] = [[name, frame / 25, (frame + 2) / 25] for name, frame in zip("bfbf", starts, strict=True)]
        record["phones_from"] = "text"
        for kind, closures in (("generated", starts[:1]), ("real", starts)):
            curve = np.tile([0.5, 0.6, 0.5, 1.0], FRAMES // 4)
            curve[:32] = 0
            for frame in closures:
                curve[frame : frame + 2] = 0
            record[kind] |= {name: curve.tolist() for name in ("lip_opening", "lower_lip", "mouth_width")}
    return records


def test_articulation_is_beside_the_truth_and_chance(articulated):
    table = rows(articulated, "articulation")
    closures = table["lips close in /p b m/"]
    assert figures(closures["generated"]) == [0.5, 0.5, 0.5, 4]
    assert closures["real"]["mean"] == 1
    assert closures["shuffled"]["mean"] == 0
    assert closures["note"] == "phones from the text" and closures["unit"] == "share"
    assert table["lower lip raised in /f v/"]["generated"]["mean"] == 0
    assert table["lower lip raised in /f v/"]["real"]["mean"] == 1
    assert "such phones" in table["mouth narrower in /uw ow w/ than in /iy ih ey/"]["note"]


def test_articulation_says_where_phones_are_guessed(articulated):
    articulated[0]["phones_from"] = "sound"
    silent = articulated[1] | {
        "name": "silent",
        "clip": "silent",
        "phones": [["sil", 0.0, 24.0]],
        "phones_from": "sound",
    }
    assert "in 1 of 4 clips" in rows([*articulated, silent], "articulation")["lips close in /p b m/"]["note"]
    for record in articulated:
        record["phones_from"] = "sound"
    assert rows(articulated, "articulation")["lips close in /p b m/"]["note"] == "phones guessed from the sound"


def figures(estimate):
    return [estimate[name] for name in ("mean", "low", "high", "clips")]


def test_videos_of_one_clip_are_one_clip(records):
    """Twice as many videos of the same clips make no interval narrower, and another seed is nobody else's lips."""
    again = [record | {"name": f"{record['name']}~1"} for record in records]
    for metric in ("lips", "seams", "blinks", "silence", "drift", "head"):
        once, twice = rows(records, metric), rows(records + again, metric)
        for label, row in once.items():
            assert figures(twice[label]["generated"]) == pytest.approx(figures(row["generated"]), nan_ok=True), label
            if row["shuffled"]:
                assert abs(twice[label]["shuffled"]["mean"]) < 0.2


def test_where_no_face_is_found_curves_have_gaps(records):
    random = np.random.default_rng(0)
    for record in records:
        record["portrait_landmarks"] = random.normal(size=(478, 3)).tolist()
        record["generated"]["geometry"], record["real"] = [1.0, None, 3.0], None
    change = "face geometry: distance to the portrait, last minus first"
    assert change not in rows(records, "geometry")  # 4 s are no interval of 10, and before them nothing is known
    for record in records:
        record["generated"]["geometry"] = [1.0, 3.0, None]
    results = summarize(records, EvaluationSettings("set", metrics=("geometry",)), {})
    found = {row["label"]: row["generated"] for row in results["rows"]}
    (first, last, gap), *_ = [video["geometry"] for video in results["curves"]["drift"]["generated"].values()]
    assert gap is None and last == pytest.approx(3 * first)
    assert found["face geometry: distance to the portrait"]["mean"] == pytest.approx(2 * first)
    assert found[change]["mean"] == pytest.approx(2 * first)


def test_speed_and_memory_are_read_at_their_marks(records):
    for index, record in enumerate(records):
        record["pace"] = [40.0, 30.0, 1.0]  # 4 s are no interval of 10
        record["memory"] = {"10": 700.0 + index, "60": 710.0}
    table = rows(records, "resources")
    assert table["speed: last over first"]["generated"]["mean"] == pytest.approx(0.75)
    assert table["peak memory at 10 s"]["generated"]["by_clip"] == {"0": 700, "1": 701, "2": 702, "3": 703}
    assert rows([record | {"pace": [], "memory": {}} for record in records], "resources") == {}


def test_what_is_missing_says_why(records):
    for record in records:
        del record["generated"]["lip_opening"]
        record["generated"]["notes"] = {"lip_opening": "A face was found in only 0 of 600 frames."}
    table = rows(records, "lips", "fid", fid="no weights")
    assert "only 0 of 600" in table["lip opening: correlation with the real clip"]["note"]
    assert table["fid"]["note"] == "no weights"


def test_clips_shorter_than_a_window_have_no_seams(records):
    for record in records:
        for kind in ("generated", "real"):
            record[kind]["differences"] = [1.0] * 10
    row = rows(records, "seams")["seam ratio"]
    assert row["generated"] is None and "long enough" in row["note"]


def test_identical_features_have_no_distance(records):
    random = np.random.default_rng(0)
    for record in records:
        features = random.normal(size=(50, 8))
        record["features"] = {"inception_generated": features, "inception_real": features}
    row = next(iter(rows(records, "fid").values()))
    assert row["generated"]["mean"] == pytest.approx(0, abs=1e-9)
    assert row["real"]["mean"] > 0 and "N = 200" in row["note"]


def test_no_usable_record_raises():
    with pytest.raises(ValueError, match="a: it is broken"):
        summarize([{"name": "a", "error": "it is broken"}], EvaluationSettings("set"), {})
