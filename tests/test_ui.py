"""What the page's tabs hold in common, apart from a browser."""

import inspect
import json
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from asymtalker.generation import GenerateOptions
from asymtalker.media.spool import StreamClosed
from asymtalker.media.synthesis import SpokenText
from asymtalker.previews import MAX_VIDEO_BYTES
from asymtalker.ui import compare, generate, live
from asymtalker.ui.action import Action
from asymtalker.ui.compare import CompareTab
from asymtalker.ui.examples import build_gallery, find_examples
from asymtalker.ui.generate import _read_setting
from asymtalker.ui.inputs import read_crop, shown_errors, uploaded
from asymtalker.ui.portrait import NO_CROP, build_portrait, judge_portrait
from asymtalker.ui.voice import build_voice, choose, listen, open_voice, read_voice
from asymtalker.ui.words import in_page_words
from tests.conftest import wait_until, write_speech


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


def test_a_gpu_is_lent_for_as_long_as_a_text_takes(checkpoint):
    text = SpokenText("Hello there. " * 50)
    assert generate._seconds(checkpoint, None, text, None, None) >= text.seconds


def test_what_is_not_seen_is_not_said():
    assert choose("type", {"path": "a.wav"}, "Hello.") == (None, "Hello.")
    assert choose("type", {"path": "a.wav"}, None) == (None, "")
    assert choose("record", {"path": "a.wav"}, "Hello.") == ({"path": "a.wav"}, "")


def test_a_text_or_a_recording(checkpoint, speech_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(Path(speech_file).parent))
    recording = {"path": speech_file}
    assert read_voice(None, "Hello.", "heart-low", 1.5, checkpoint, 10) == SpokenText("Hello.", "heart-low", 1.5)
    assert read_voice(None, "Hello.", None, None, checkpoint, 10) == SpokenText("Hello.")
    assert len(read_voice(recording, " ", "heart", 1, checkpoint, 10)) == 1.3 * 16_000
    with pytest.raises(ValueError, match="either a text or a recording"):
        read_voice(recording, "Hello.", "heart", 1, checkpoint, 10)
    for nothing in ("", " \n", None):
        with pytest.raises(ValueError, match="no speech yet: type"):
            read_voice(None, nothing, "heart", 1, checkpoint, 10)


def test_what_is_given_comes_live_as_it_is_spoken(checkpoint, speech_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(Path(speech_file).parent))
    for speech, text in (({"path": speech_file}, ""), (None, "Hello.")):
        opened = open_voice(speech, text, "heart", 1, checkpoint, 10)
        wait_until(lambda opened=opened: opened.available() > 1600, seconds=10)
        assert not opened.ended()
        assert np.abs(opened.read(0, 1600)).max() <= 1
        opened.close()
        with pytest.raises(StreamClosed):
            opened.available()
    with pytest.raises(ValueError, match="no voice 'nobody'"):
        open_voice(None, "Hello.", "nobody", 1, checkpoint, 10)


def test_the_voice_alone():
    sounds = [listen(text, "heart", 1)["sound"] for text in ("Hello.", "This is a sentence. " * 100)]
    lengths = [len(sound) * 3 / 4 / 32_000 for sound in sounds]  # base64, two bytes a sample
    assert all(sound.startswith("data:audio/wav;base64,") for sound in sounds)
    assert 0.5 < lengths[0] < 2
    assert 20 < lengths[1] < 24  # the beginning
    with pytest.raises(gr.Error, match="nothing to say"):
        listen("", "heart", 1)


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
        return Action("Go", build_portrait(None), build_voice(), 60, "#video")


def test_a_run_waits_for_its_inputs_and_says_how_long_it_will_take(action, uploads, tmp_path):
    said = ("record", {"path": write_speech(tmp_path / "speech.wav", 4.0)}, "", "heart", 1)
    status, button = action.prepare(False, False, *said)
    assert "First give a portrait" in status["text"] and not button["interactive"]
    status, button = action.prepare(True, False, "record", None, "Hello.", "heart", 1)
    assert "give a recording, 1 min at most" in status["text"] and not button["interactive"]
    status, button = action.prepare(True, False, *said)
    assert status["text"].startswith("4 s of speech.") and button["interactive"]
    assert "work" not in status["text"]  # nothing has been measured yet
    *_, made = action.explained(lambda portrait, *said: (made for made in [("video",)]), 1)(None, *said)
    assert made == ("", "video")
    assert "By the last video, expect about" in action.prepare(True, False, *said)[0]["text"]
    long = ("record", {"path": write_speech(tmp_path / "long.wav", 61.0)}, "", "heart", 1)
    status, button = action.prepare(True, False, *long)
    assert status["state"] == "trouble" and "at most 60 s" in status["text"] and not button["interactive"]
    assert action.prepare(True, True, *long) == (gr.skip(), gr.skip())  # a run is under way


def test_a_run_waits_for_its_text(action):
    def prepare(text, pace=1):
        status, button = action.prepare(True, False, "type", {"path": "unseen.wav"}, text, "heart", pace)
        return status["text"], button["interactive"]

    assert prepare("") == prepare("  \n") == ("Now type what it shall say, 1 min at most.", False)
    sentence = "This is a sentence of ten words, more or less so. "
    said, ready = prepare(sentence * 3)
    assert re.fullmatch(r"(9|1\d) s of speech\. Everything is ready\.", said) and ready
    assert int(prepare(sentence * 3, 2)[0].split()[0]) == pytest.approx(int(said.split()[0]) / 2, abs=1)
    for text, why in (("...", "nothing to say yet"), ("Привет", "Latin letters"), (sentence * 100, "at most 60 s")):
        said, ready = prepare(text)
        assert why in said and not ready


def test_what_went_wrong_stands_in_the_results_place(action):
    def fail(portrait, *said):
        with shown_errors():
            raise ValueError("steps must be a whole number from 1 to 100, not 0.")
        yield

    (made,) = action.explained(fail, 2)(None, "record", None, "", "heart", 1)
    assert made == ("“Steps” must be a whole number from 1 to 100, not 0.", None, None)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "41", 41),
        ("zoom", "1.5", 1.5),
        ("crop", "false", False),
        ("view", '"square"', "square"),
        ("max_side", "512", 512),
        ("text", '"Hello <b>"', "Hello <b>"),
        ("voice", '"heart-low"', "heart-low"),
        ("pace", "1.5", 1.5),
        ("face", "2", 2),
    ],
)
def test_a_link_is_read(name, text, value):
    assert _read_setting(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("view", '"all"'),
        ("text", "1"),
        ("text", json.dumps("a" * 501)),
        ("voice", '"nobody"'),
        ("pace", '"1"'),
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


def test_every_example_of_ours_has_a_caption_and_no_large_video():
    examples = find_examples(Path("examples"))
    assert all(example.alt != example.name for example in examples)
    videos = [example.video for example in examples if example.video]
    assert videos and all(video.stat().st_size <= MAX_VIDEO_BYTES for video in videos)


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
