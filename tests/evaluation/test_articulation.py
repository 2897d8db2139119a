"""Where phones come from, and the command that measures one video."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from asymtalker.evaluation.articulation import MEASURES, find_phones, main, open_phone_finder
from asymtalker.evaluation.measure import Instruments
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.speech import read_speech
from asymtalker.media.video import VideoWriter
from asymtalker.metrics import MetricUnavailableError
from asymtalker.metrics.face_mesh import PYTHON_VARIABLE

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = "I have been smiling"


def test_phones_are_guessed_where_no_text_fits():
    pytest.importorskip("pocketsphinx")
    speech = read_speech(EXAMPLES / "lisa.wav")[:32_000]
    aligned, source = find_phones(speech, TEXT)
    assert source == "text" and [phone.name for phone in aligned if phone.name in "pbm"] == ["b", "m"]
    guessed, source = find_phones(speech, None)
    assert source == "sound" and guessed != aligned
    assert find_phones(speech, "你好") == (guessed, "sound")


def test_without_pocketsphinx_the_metric_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(MetricUnavailableError, match="pip install pocketsphinx"):
        open_phone_finder()
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    settings = EvaluationSettings("set", metrics=("articulation", "seams"))
    with Instruments.open(settings, "cpu") as instruments:
        assert instruments.metrics == ("seams",)
        assert "pip install pocketsphinx" in instruments.unavailable["articulation"]


@pytest.fixture
def still(tmp_path):
    """Two seconds of a portrait that does not move, with a recording's first words."""
    square = np.asarray(crop_portrait(read_portrait(EXAMPLES / "nora.jpg")).image.resize((192, 192)))
    with VideoWriter(tmp_path / "still.mp4", (192, 192), 25, 16_000, label=False) as writer:
        writer.write(np.stack([square] * 50))
        writer.write_speech(read_speech(EXAMPLES / "lisa.wav")[:32_000])
    return tmp_path / "still.mp4"


def test_one_video_becomes_json(still, capsys):
    pytest.importorskip("pocketsphinx")
    status = main([str(still), "--text", TEXT])
    printed = capsys.readouterr()
    if "face mesh cannot be loaded" in printed.err:
        pytest.skip(printed.err)
    assert status == 0
    found = json.loads(printed.out)
    assert found["phones"] == "text" and set(MEASURES) < set(found)
    assert found["bilabials"]["of"] == 2
    assert found["labiodentals"]["value"] in (0, 1)  # of one /v/
    assert "None of /uw ow w/" in found["rounding"]["why"]


def test_what_is_missing_is_said_in_one_line(still, monkeypatch, capsys):
    monkeypatch.setenv(PYTHON_VARIABLE, "/nowhere/python")
    assert main([str(still)]) == 2
    assert "/nowhere/python" in capsys.readouterr().err
