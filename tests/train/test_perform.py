"""That performances are made of a dataset, of synthetic voices and of what is not speech, and that runs go on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from asymtalker.chunks import SAMPLES_PER_FRAME
from tests.train.conftest import write_clip
from train import perform
from train.animation.performance import Performance, Utterance
from train.animation.units import UNITS, mouth_opening
from train.voices.espeak import phone_spans
from train.voices.festival import read_labels
from train.voices.flite import read_durations
from train.voices.joining import LEVEL, join
from train.voices.nonspeech import KINDS
from train.voices.recordings import Recording, coverage
from train.voices.sentences import sentences, split_sentences

CONFIG = Path(perform.__file__).parent / "configs" / "tiny" / "performances.yaml"


def run(output, **settings):
    """Runs the tool with no source but the given ones; returns its rows of metadata."""
    nothing = {f"{name}_hours": 0 for name in ("flite", "festival", "espeak", "hibari", "nonspeech")}
    settings = {"corpus": "null", "recordings": "null", **nothing, "output": output, **settings}
    perform.main(["--config", str(CONFIG), *(f"--set={key}={value}" for key, value in settings.items())])
    return [json.loads(line) for line in (output / "metadata.jsonl").read_text().splitlines()]


@pytest.fixture
def dataset(tmp_path):
    """A clip of 30 frames with its truth, as the corpus has them."""
    frames, rng = 30, np.random.default_rng(0)
    folder = tmp_path / "corpus"
    (folder / "clips").mkdir(parents=True)
    (folder / "truth").mkdir()
    write_clip(folder / "clips" / "00001.mp4", [np.zeros((200, 200, 3), np.uint8)] * frames, rng)
    np.savez(
        folder / "truth" / "00001.npz",
        unit_names=np.array(UNITS),
        units=rng.random((frames, 30)).astype(np.float16),
        head_pose_deg=rng.random((frames, 3)).astype(np.float16),
        gaze_deg=rng.random((frames, 2)).astype(np.float16),
        blink=rng.random(frames).astype(np.float16),
        phone=np.array(["SIL", "AA1", "b"]),
        phone_span=np.array([[0, 0.5], [0.5, 0.8], [0.8, 1.2]], np.float32),
    )
    row = {"file_name": "clips/00001.mp4", "speech": "somebody/1", "text": "AB"}
    (folder / "metadata.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_clips_of_a_dataset_keep_their_truth(dataset, tmp_path):
    (row,) = run(tmp_path / "out", corpus=dataset)
    assert (row["voice"], row["language"], row["seconds"], row["text"]) == ("somebody/1", "en", 1.2, "AB")
    performance = Performance.load(tmp_path / "out" / row["file_name"])
    truth = np.load(dataset / "truth" / "00001.npz")
    np.testing.assert_array_equal(performance.units, truth["units"].astype(np.float32))
    np.testing.assert_array_equal(performance.gaze_deg, truth["gaze_deg"].astype(np.float32))
    assert performance.phones == ["sil", "aa", "b"]
    assert len(performance.speech) == 30 * SAMPLES_PER_FRAME and np.abs(performance.speech).max() > 1000


def test_truth_with_other_units_is_refused(dataset, tmp_path):
    path = dataset / "truth" / "00001.npz"
    truth = dict(np.load(path))
    np.savez(path, **truth | {"unit_names": truth["unit_names"][::-1]})
    with pytest.raises(ValueError, match=r"00001\.mp4"):
        run(tmp_path / "out", corpus=dataset)


def test_runs_go_on_where_they_stopped(tmp_path):
    settings = {"seconds": 1.0, "seed": 3}
    first = run(tmp_path / "out", nonspeech_hours=3 / 3600, **settings)
    times = {row["file_name"]: (tmp_path / "out" / row["file_name"]).stat().st_mtime_ns for row in first}
    both = run(tmp_path / "out", nonspeech_hours=6 / 3600, **settings)
    assert both[:3] == first and [row["voice"] for row in both] == [f"nonspeech/{kind}" for kind in KINDS]
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == time for name, time in times.items())
    at_once = run(tmp_path / "again", nonspeech_hours=6 / 3600, **settings)
    assert at_once == both
    for row in both:
        here, there = (Performance.load(tmp_path / name / row["file_name"]) for name in ("out", "again"))
        np.testing.assert_array_equal(here.speech, there.speech)
        np.testing.assert_array_equal(here.units, there.units)
        assert np.abs(mouth_opening(here.units)).max() == 0 and not here.phones


@pytest.mark.skipif(
    not (shutil.which("flite") and Path("/usr/share/games/fortunes").exists()),
    reason="needs Debian's flite and fortunes",
)
def test_flite_reads_sentences(tmp_path):
    rows = run(tmp_path / "out", flite_hours=4 / 3600, seconds=2.0)
    performance = Performance.load(tmp_path / "out" / rows[0]["file_name"])
    assert rows[0]["voice"] == performance.voice == "flite/slt" and rows[0]["text"]
    loud = np.abs(performance.speech.reshape(-1, SAMPLES_PER_FRAME).astype(float)).mean(1) > 500
    spoken = coverage(
        performance.speech / 32767, ["sil" if p in "#pau" else p for p in performance.phones], performance.phone_spans
    )
    assert loud.mean() > 0.3 and spoken > 0.95
    opening = mouth_opening(performance.units)
    assert opening[loud].mean() > opening[~loud].mean() + 0.1


class Deaf:
    """A voice that reads nothing."""

    name, reads = "test/deaf", "en"

    def speak(self, text, rng):
        raise ValueError(f"cannot read {text}")


def test_voice_that_cannot_read_is_named():
    with pytest.raises(ValueError, match="test/deaf cannot read"):
        perform.speak_any(Deaf(), ["A sentence."], np.random.default_rng(0))


def test_short_recordings_of_one_voice_are_joined():
    recordings = [Recording(Path(f"{index}.wav"), "x" * 60, voice) for index, voice in enumerate("aaab")]
    groups = perform.group_recordings(recordings, seconds=9.0)
    assert sorted([recording.path.stem for recording in group] for group in groups) == [["0", "1"], ["2"], ["3"]]


def test_joined_phones_lie_where_their_sound_is():
    rng = np.random.default_rng(0)
    tone = 0.01 * np.sin(np.arange(8_000) / 3).astype(np.float32)
    spoken = Utterance(tone, ["aa", "b"], np.array([[0, 0.3], [0.3, 0.5]]), "arpabet", "test/tone", "en", "Ab.")
    joined = join([spoken, spoken], rng)
    assert joined.phones == ["#", "aa", "b", "#", "aa", "b", "#"] and joined.text == "Ab. Ab."
    np.testing.assert_allclose(joined.spans[1:, 0], joined.spans[:-1, 1])
    assert joined.spans[-1, 1] == pytest.approx(len(joined.speech) / 16_000)
    for phone, (start, end) in zip(joined.phones, joined.spans, strict=True):
        level = np.sqrt(np.square(joined.speech[int(start * 16_000) + 100 : int(end * 16_000) - 100]).mean())
        assert level < 0.01 if phone == "#" else level == pytest.approx(LEVEL, rel=0.05)


def test_coverage_is_low_where_the_text_does_not_fit():
    speech = np.r_[np.zeros(8_000), np.ones(8_000), np.zeros(8_000)].astype(np.float32)
    assert coverage(speech, ["sil", "aa", "sil"], np.array([[0, 0.5], [0.5, 1], [1, 1.5]])) == 1
    assert coverage(speech, ["sil", "aa", "sil"], np.array([[0, 0.5], [0.5, 0.75], [0.75, 1.5]])) == pytest.approx(0.6)


def test_lists_of_phones_are_read():
    phones, spans = read_durations("pau:0.2 hh:0.3 ax:0.3 l:0.45")
    assert phones == ["pau", "hh", "l"]
    np.testing.assert_allclose(spans, [[0, 0.2], [0.2, 0.3], [0.3, 0.45]])
    phones, spans = read_labels("separator ;\n#\n0.3000 100 #\n0.3715 100 t\n")
    assert phones == ["#", "t"]
    np.testing.assert_allclose(spans, [[0, 0.3], [0.3, 0.3715]])


def test_plosives_of_espeak_begin_with_their_closure():
    events = [(0.0, "a"), (0.2, "p"), (0.24, "a"), (0.3, "(en)"), (0.3, "b"), (0.36, "tʃ"), (0.37, "t"), (0.5, "")]
    phones, spans = phone_spans(events, 0.6)
    assert phones == ["a", "p", "a", "b", "tʃ", "t", ""]
    starts = [0, 0.145, 0.215, 0.27, 0.305, 0.325, 0.385]
    np.testing.assert_allclose(spans, np.stack([starts, [*starts[1:], 0.6]], axis=1))


def test_sentences_are_whole_and_readable():
    text = (
        "A sentence that can well be read.  SHOUTED WORDS ARE LEFT OUT HERE.\nWhat has 3 digits is left out too.\n%\n"
    )
    text += "Another one, from the next\nentry of the file!\n\t-- Somebody, who is not read out.\n%\nToo short.\n"
    assert split_sentences(text) == [
        "A sentence that can well be read.",
        "Another one, from the next entry of the file!",
    ]
    mandarin = sentences("zh")
    assert len(set(mandarin)) > 2000 and mandarin == sentences("zh")
    with pytest.raises(ValueError, match="'xx'"):
        sentences("xx")
