"""What the page's tabs hold in common, apart from a browser."""

import inspect
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from asymtalker.generation import GenerateOptions
from asymtalker.live import LiveSources, Microphone
from asymtalker.previews import MAX_VIDEO_BYTES
from asymtalker.ui import compare, generate, live
from asymtalker.ui.action import Action
from asymtalker.ui.compare import CompareTab
from asymtalker.ui.examples import build_gallery, find_examples
from asymtalker.ui.generate import _read_setting
from asymtalker.ui.inputs import build_speech, read_crop, shown_errors, uploaded
from asymtalker.ui.live import VISITORS, LiveTab
from asymtalker.ui.portrait import NO_CROP, build_portrait, judge_portrait
from asymtalker.ui.words import in_page_words
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
    assert live._seconds(checkpoint, None, None, GenerateOptions(max_seconds=90), None) == 90


def test_waiting_visitors_are_told(checkpoint, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sources = LiveSources()
    tab = LiveTab(checkpoint, 10, sources)
    for number in range(VISITORS):
        sources.open(str(number), Microphone(16_000, 10))
    assert tab.wait()["state"] == "Listening …"
    sources.open("one more", Microphone(16_000, 10))
    assert "your turn" in tab.wait()["state"]


@pytest.fixture
def uploads(monkeypatch, tmp_path):
    """Puts pictures among the uploads: returns what a component's value is then."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def put(image, name="portrait.png"):
        image.save(tmp_path / name)
        return {"path": str(tmp_path / name)}

    return put


def judge(portrait, crop=True, zoom=1, right=0, down=0, face=None):
    """What the page says of a portrait, and whether it can be animated."""
    return judge_portrait(None, portrait, crop, zoom, right, down, face)


def test_the_crop_follows_its_adjustment(portrait_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(Path(portrait_file).parent))
    portrait = {"path": portrait_file}
    assert read_crop(portrait, False).box.side == 120
    assert read_crop(portrait, False, 1.5, 0.1, 0).box.side == 80


def test_a_face_that_will_do_is_shown_with_its_box(uploads):
    shown, usable = judge(uploads(Image.open("examples/nora.jpg")))
    assert usable
    assert shown["image"].startswith("data:image/jpeg;base64,")
    assert shown["text"] == "This face will do well."
    left, _, side = (float(length) for length in shown["base"].split())
    assert f"left: {left:.2%}" in shown["box"] and f"width: {side:.2%}" in shown["box"]
    closer, _ = judge(uploads(Image.open("examples/nora.jpg")), zoom=2)
    assert closer["base"] == shown["base"]  # where dragging begins from
    assert float(re.search(r"width: ([\d.]+)%", closer["box"])[1]) == pytest.approx(50 * side, abs=0.2)


def test_nothing_is_said_to_be_animated_that_is_no_face(uploads, portrait_file):
    assert judge(None) == (NO_CROP, False)
    wall = uploads(Image.open(portrait_file))
    shown, usable = judge(wall)
    assert (shown["state"], usable) == ("trouble", False)
    assert "No face was found" in shown["text"] and "turn off “Find the face”" in shown["text"]
    shown, usable = judge(wall, crop=False)
    assert (shown["state"], usable) == ("doubt", True)
    assert "No face is seen" in shown["text"] and "animated" not in shown["alt"]
    shown, usable = judge(uploads(Image.open("examples/nora.jpg")), zoom=3, right=1)
    assert (shown["state"], usable) == ("trouble", False)
    assert "does not hold the face" in shown["text"]


def test_several_faces_are_numbered_to_choose_from(two_people, uploads):
    image = Image.open(two_people)
    shown, _ = judge(uploads(image), face=2)
    assert [(face["number"], face["pressed"]) for face in shown["faces"]] == [(1, "false"), (2, "true")]
    left = [float(re.match(r"left: ([\d.]+)%", face["place"])[1]) for face in shown["faces"]]
    assert left[0] > 50 > left[1]  # the larger one is on the right
    assert "2 faces were found; number 2 by size is used. Click another to choose it." in shown["text"]
    assert judge(uploads(image), crop=False)[0]["faces"] == []
    refused, usable = judge(uploads(image), face=3)
    assert "“Face” must be a whole number from 1 to 2" in refused["text"] and not usable


def test_faces_too_small_to_be_animated_are_not_counted(uploads):
    canvas = Image.new("RGB", (1200, 700), (120, 130, 140))
    for name, side, corner in (("nora", 600, (0, 50)), ("leon", 90, (900, 300))):
        canvas.paste(Image.open(f"examples/{name}.jpg").resize((side, side)), corner)
    portrait = uploads(canvas)
    assert len(read_crop(portrait).faces) == 2
    shown, _ = judge(portrait)
    assert shown["faces"] == [] and "faces were found" not in shown["text"]
    assert "from 1 to 1, not 2: 1 face was found" in judge(portrait, face=2)[0]["text"]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "seed must be a whole number from 0 to 9, not -2.",
            "“Seed” must be a whole number from 0 to 9, or −1 for any,",
        ),
        (
            "max_side must be at most 1920 here, not 4000.",
            "“Longest side at most” must be at most 1920 here, not 4000.",
        ),
        ("The recording is empty.", "The recording is empty."),
    ],
)
def test_errors_name_fields_as_the_page_does(message, said):
    assert in_page_words(message).startswith(said)


@pytest.fixture
def action():
    """A run of at most a minute, apart from a page."""
    with gr.Blocks():
        return Action("Go", build_portrait(None), build_speech("Voice", "speech"), 60, "#video")


def test_a_run_waits_for_its_inputs_and_says_how_long_it_will_take(action, uploads, tmp_path):
    speech = {"path": write_speech(tmp_path / "speech.wav", 4.0)}
    said, button = action.prepare(False, speech, False)
    assert "First give a portrait" in said["text"] and not button["interactive"]
    said, button = action.prepare(True, None, False)
    assert "give a voice, of 1 min at most" in said["text"] and not button["interactive"]
    said, button = action.prepare(True, speech, False)
    assert said["text"].startswith("4 s of voice.") and button["interactive"]
    assert "work" not in said["text"]  # nothing has been measured yet
    *_, made = action.explained(lambda portrait, speech: (made for made in [("video",)]), 1)(None, speech)
    assert made == ("", "video")
    assert "By the last video, expect about" in action.prepare(True, speech, False)[0]["text"]
    long = {"path": write_speech(tmp_path / "long.wav", 61.0)}
    said, button = action.prepare(True, long, False)
    assert said["state"] == "trouble" and "at most 60 s" in said["text"] and not button["interactive"]
    assert action.prepare(True, long, True) == (gr.skip(), gr.skip())  # a run is under way


def test_what_went_wrong_stands_in_the_results_place(action):
    def fail(portrait, speech):
        with shown_errors():
            raise ValueError("steps must be a whole number from 1 to 100, not 0.")
        yield

    (made,) = action.explained(fail, 2)(None, None)
    assert made == ("“Steps” must be a whole number from 1 to 100, not 0.", None, None)


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
    assert (anna.name, anna.alt, anna.preview.name, anna.speech.name) == ("Anna", "Anna", "anna.webp", "anna.wav")
    assert (bert.name, bert.preview.name, bert.video) == ("Bert c", "bert_c.jpg", None)
    (examples_folder / "captions.json").write_text('{"bert_c": {"name": "Bert", "alt": "A bear"}}')
    (examples_folder / "previews" / "bert_c.mp4").touch()
    bert, anna = find_examples(examples_folder)
    assert (bert.name, bert.alt, bert.video.name) == ("Bert", "A bear", "bert_c.mp4")


def test_every_example_of_ours_has_a_caption_and_a_small_video():
    for example in find_examples(Path("examples")):
        assert example.alt != example.name
        assert example.video.stat().st_size <= MAX_VIDEO_BYTES


def test_files_of_the_gallery_are_among_the_uploads(examples_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    with gr.Blocks():
        anna, bert = build_gallery(examples_folder).value
    assert uploaded(bert["portrait"]).read_bytes() == (examples_folder / "bert_c.jpg").read_bytes()
    assert uploaded(anna["speech"]).read_bytes() == (examples_folder / "anna.wav").read_bytes()
    assert bert["video"] is None


def test_a_folder_without_examples_has_no_gallery(tmp_path):
    with gr.Blocks():
        assert build_gallery(tmp_path) is None
