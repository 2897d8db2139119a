"""`python -m asymtalker generate`."""

import io
import subprocess
import sys

import pytest

from asymtalker.__main__ import main
from asymtalker.media.video import probe_video


@pytest.fixture
def arguments(checkpoint, portrait_file, speech_file, tmp_path):
    """Arguments that work; later ones override them."""
    inputs = ["--image", portrait_file, "--audio", speech_file, "--output", str(tmp_path / "video.mp4")]
    return ["generate", *inputs, "--checkpoint", checkpoint, "--no-crop", "--seed", "3"]


def test_makes_the_file_and_says_how(arguments, tmp_path, capsys):
    assert main(arguments) == 0
    assert (tmp_path / "video.mp4").stat().st_size > 0
    out, err = capsys.readouterr()
    assert "33 frames" in out
    assert "seed 3" in out
    assert "33/33" in err  # the progress bar


@pytest.mark.parametrize(
    ("options", "size"),
    [([], (160, 120)), (["--max-side", "128"], (128, 96)), (["--view", "square"], (64, 64))],
)
def test_shows_the_picture_or_the_square(arguments, tmp_path, options, size):
    assert main([*arguments, *options]) == 0
    video = probe_video(tmp_path / "video.mp4")
    assert (video.width, video.height) == size


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["--seed", "-1"], "seed must be"),
        (["--steps", "0"], "steps must be"),
        (["--color-match", "2"], "color_match must be"),
        (["--max-side", "100"], "max_side must be a whole number from 128 to 4096, not 100"),
        (["--checkpoint", "nothing"], "nothing"),
        (["--image", "nothing.png"], "nothing.png"),
        (["--audio", "nothing.wav"], "nothing.wav"),
        (["--output", "/nowhere/video.mp4"], "/nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, overrides, named, tmp_path, capsys):
    assert main([*arguments, *overrides]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert named in error
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked_before_the_checkpoint_is_loaded(arguments, capsys):
    assert main([*arguments, "--checkpoint", "nothing", "--steps", "0"]) == 2
    assert "steps" in capsys.readouterr().err


def test_runs_as_a_module():
    command = [sys.executable, "-m", "asymtalker", "generate", "--audio", "speech.wav"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "--image" in result.stderr


@pytest.fixture
def text_arguments(arguments):
    """Arguments without the recording."""
    start = arguments.index("--audio")
    return arguments[:start] + arguments[start + 2 :]


def test_says_a_text(text_arguments, tmp_path, capsys):
    assert main([*text_arguments, "--text", "Hello there.", "--voice", "heart-low", "--pace", "1.25"]) == 0
    assert probe_video(tmp_path / "video.mp4").frames > 20
    assert "(first after" in capsys.readouterr().out


def test_says_what_standard_input_gives(text_arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi."))
    assert main([*text_arguments, "--text", "-"]) == 0
    assert (tmp_path / "video.mp4").exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--text", ""], "nothing to say yet"),
        (["--text", "Привет"], "cannot read “Привет”"),
        (["--text", "Hi.", "--voice", "nobody"], "There is no voice 'nobody'"),
        (["--text", "Hi.", "--pace", "3"], "pace must be a number from 0.5 to 2, not 3"),
    ],
)
def test_a_text_that_cannot_be_said(text_arguments, options, named, tmp_path, capsys):
    assert main([*text_arguments, "--checkpoint", "nothing", *options]) == 2
    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--audio", "a.wav", "--text", "Hi."]])
def test_either_a_recording_or_a_text(text_arguments, options, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*text_arguments, *options])
    assert "--audio" in capsys.readouterr().err


def test_another_face_can_be_chosen(two_people, speech_file, checkpoint, tmp_path, capsys):
    files = ["--image", str(two_people), "--audio", speech_file, "--output", str(tmp_path / "video.mp4")]
    arguments = ["generate", *files, "--checkpoint", checkpoint, "--seed", "3"]
    assert main([*arguments, "--face", "2"]) == 0
    assert "number 2 by size is used" in capsys.readouterr().out
    assert main([*arguments, "--face", "3"]) == 2
    assert "face must be a whole number from 1 to 2, not 3: 2 faces were found" in capsys.readouterr().err
