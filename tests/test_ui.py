"""What the page's tabs hold in common, apart from a browser."""

import inspect
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from asymtalker.generation import GenerateOptions
from asymtalker.ui import compare, generate, live
from asymtalker.ui.compare import CompareTab
from asymtalker.ui.examples import build_examples, find_examples
from asymtalker.ui.generate import _read_setting
from asymtalker.ui.inputs import preview_crop, read_crop, uploaded
from tests.conftest import write_speech


@pytest.mark.parametrize("tab", [generate, live, compare])
def test_a_gpu_is_lent_for_the_arguments_of_the_stream(tab):
    names = [list(inspect.signature(function).parameters) for function in (tab._stream, tab._seconds)]
    inspect.signature(tab._seconds).bind(*names[0])  # `spaces` calls both with the same arguments
    assert names[0][0] == names[1][0] == "checkpoint"


def test_a_gpu_is_lent_for_as_long_as_the_video_takes(checkpoint):
    minute = np.zeros(60 * 16_000, np.float32)
    alone = generate._seconds(checkpoint, None, minute, None, None)
    assert alone >= 60
    assert compare._seconds(checkpoint, None, minute, None, None) == 2 * alone
    assert live._seconds(checkpoint, None, None, GenerateOptions(max_seconds=90), None, None) == 90


def test_the_crop_follows_its_adjustment(portrait_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(Path(portrait_file).parent))
    portrait = {"path": portrait_file}
    assert read_crop(portrait, False).box.side == 120
    assert read_crop(portrait, False, 1.5, 0.1, 0).box.side == 80
    assert preview_crop(None, portrait, False, 1.5, 0, 0)["image"].startswith("data:image/jpeg;base64,")
    assert "No face was found" in preview_crop(None, portrait, True, 1, 0, 0)["text"]
    assert "image" not in preview_crop(None, None, True, 1, 0, 0)


def test_several_faces_are_shown_to_choose_from(two_people, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(two_people.parent))
    portrait = {"path": str(two_people)}
    shown = preview_crop(None, portrait, True, 1, 0, 0, 2)
    assert [(face["number"], face["pressed"]) for face in shown["faces"]] == [(1, "false"), (2, "true")]
    left = [float(re.match(r"left: ([\d.]+)%", face["place"])[1]) for face in shown["faces"]]
    assert left[0] > 50 > left[1]  # the larger one is on the right
    assert "number 2 by size is used" in shown["text"]
    assert read_crop(portrait, face=2).box.left < read_crop(portrait).box.left
    assert "faces" not in preview_crop(None, {"path": str(two_people)}, False, 1, 0, 0)
    assert "from 1 to 2" in preview_crop(None, portrait, True, 1, 0, 0, 3)["text"]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "41", 41),
        ("zoom", "1.5", 1.5),
        ("crop", "false", False),
        ("view", '"square"', "square"),
        ("max_side", "512", 512),
        ("face", "2", 2),
    ],
)
def test_a_link_is_read(name, text, value):
    assert _read_setting(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("view", '"all"'),
        ("view", "1"),
        ("view", "[]"),
        ("max_side", '"x"'),
        ("seed", "x"),
        ("seed", '"1"'),
        ("crop", "1"),
        ("zoom", "[1]"),
        ("seed", "true"),
    ],
)
def test_a_broken_link_changes_nothing(name, text):
    assert _read_setting(name, text)["__type__"] == "update"


def test_only_offered_checkpoints_are_compared(monkeypatch):
    monkeypatch.setenv("ASYMTALKER_COMPARE", "owner/pro, owner/lite")
    assert CompareTab(None, 10).checkpoints == ["tiny", "owner/pro", "owner/lite"]
    assert CompareTab("a/folder", 10).checkpoints == ["a/folder", "tiny", "owner/pro", "owner/lite"]


@pytest.fixture
def examples_folder(tmp_path):
    """Two examples, of which one has a preview, and a picture without a recording."""
    for name in ("anna", "bert_c", "silent"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.jpg")
    for name in ("anna", "bert_c"):
        write_speech(tmp_path / f"{name}.wav", 0.1)
    (tmp_path / "previews").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "previews" / "anna.webp")
    return tmp_path


def test_examples_have_a_recording_and_show_their_preview(examples_folder):
    anna, bert = find_examples(examples_folder)
    assert (anna.name, anna.preview.name, anna.speech.name) == ("Anna", "anna.webp", "anna.wav")
    assert (bert.name, bert.preview.name) == ("Bert c", "bert_c.jpg")


def build_gallery(folder):
    """What is called when an example is chosen."""
    with gr.Blocks():
        portrait, speech = gr.Image(type="filepath"), gr.Audio(type="filepath", elem_id="speech")
        chosen = build_examples(folder, portrait, speech, "Examples")
    return chosen and chosen.fn


def test_a_chosen_example_is_among_the_uploads(examples_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    choose = build_gallery(examples_folder)
    portrait, speech = choose(gr.EventData(None, {"index": 1}))
    assert uploaded({"path": portrait}).read_bytes() == (examples_folder / "bert_c.jpg").read_bytes()
    assert uploaded({"path": speech}).read_bytes() == (examples_folder / "bert_c.wav").read_bytes()


@pytest.mark.parametrize("data", [{"index": 2}, {"index": -1}, {"index": True}, {"index": "../anna"}, {}])
def test_an_example_that_is_not_there_is_refused(examples_folder, tmp_path, monkeypatch, data):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    with pytest.raises(gr.Error, match="There is no example"):
        build_gallery(examples_folder)(gr.EventData(None, data))


def test_a_folder_without_examples_has_no_gallery(tmp_path):
    assert build_gallery(tmp_path) is None
