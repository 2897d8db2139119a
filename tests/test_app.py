"""The running app through its API, and the README's way of calling it."""

import inspect
import io
import json
import re
import time
import urllib.request
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from gradio_client.utils import Status

from asymtalker.media.synthesis import SpokenText
from asymtalker.media.video import probe_video
from asymtalker.ui.generate import SETTINGS, GenerateTab
from tests.conftest import APP_MAX_SECONDS, ROOT, wait_until, write_speech

NORA = (ROOT / "examples" / "nora.jpg").read_bytes()


@pytest.fixture(scope="module")
def client(app_url, tmp_path_factory):
    return Client(app_url, verbose=False, download_files=str(tmp_path_factory.mktemp("downloads")))


@pytest.fixture
def inputs(portrait_file, speech_file):
    return {"portrait": handle_file(portrait_file), "speech": handle_file(speech_file), "crop": False}


def test_makes_a_video(client, inputs):
    video, figures = client.predict(**inputs, seed=5, api_name="/generate")
    with av.open(video) as container:
        assert sum(1 for _ in container.decode(video=0)) == 33
    assert figures["seed"] == 5
    assert figures["frames"] == 33
    assert figures["frames_per_second"] > 0


def test_a_size_as_the_api_names_it(client, inputs):
    parameters = client.view_api(return_format="dict")["named_endpoints"]["/generate"]["parameters"]
    smallest, *_ = next(given["type"]["enum"] for given in parameters if given["parameter_name"] == "size")
    video, _ = client.predict(**inputs, size=smallest, view="square", api_name="/generate")
    assert probe_video(path_of(video)).width == int(smallest)


@pytest.mark.parametrize(
    ("chosen", "size"), [({}, (160, 120)), ({"max_side": "128"}, (128, 96)), ({"view": "square"}, (64, 64))]
)
def test_the_picture_in_the_size_that_is_asked_for(client, inputs, tmp_path, chosen, size):
    speech = handle_file(write_speech(tmp_path / "short.wav", 0.1))
    inputs |= {"speech": speech}
    video, figures = client.predict(**inputs, **chosen, api_name="/generate")
    pieces = [piece for piece, _ in client.submit(**inputs, **chosen, api_name="/live")]
    compared, *_ = client.predict(**inputs, **chosen, left={"steps": 1}, right={}, api_name="/compare")
    live = b"".join(Path(piece).read_bytes() for piece in pieces)
    for made in (path_of(video), live, path_of(compared)):
        assert (probe_video(made).width, probe_video(made).height) == size
    assert all(f"{name}=" in figures["link"] for name in ("view", "max_side"))


def test_says_a_text_on_every_tab(client, inputs, tmp_path):
    said = inputs | {"text": "Hello there."}
    del said["speech"]  # a client need not name it
    video, figures = client.predict(**said, voice="heart-low", pace=1.25, api_name="/generate")
    assert probe_video(path_of(video)).frames == figures["frames"] > 20
    assert "text=%22Hello+there.%22&voice=%22heart-low%22&pace=1.25" in figures["link"]
    *_, (_, figures) = client.submit(**said, api_name="/live")
    assert figures["start"] == pytest.approx(len(spoken("Hello there.")) / 16_000, abs=0.04)
    _, _, film, _ = client.predict(**said, left={"steps": 1}, right={}, api_name="/compare")
    assert probe_video(path_of(film)).frames == -(-len(spoken("Hello there.")) // 640)


def spoken(text):
    return np.concatenate(list(SpokenText(text).stream()))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"text": "..."}, "nothing to say yet"),
        ({"text": "😀"}, "nothing to say yet"),
        ({"text": " "}, "no speech yet"),
        ({"text": "你好"}, "cannot read “你好”"),
        ({"text": "Hello over there. " * 1112}, "at most 90 s are allowed"),
        ({"text": "Hello.", "pace": 5}, "pace must be a number from 0.5 to 2, not 5"),
        ({"text": "Hello.", "voice": "nobody"}, "nobody"),
    ],
)
@pytest.mark.parametrize("action", ["/generate", "/live"])
def test_a_text_that_cannot_be_said_is_explained(client, inputs, overrides, said, action):
    with pytest.raises((AppError, ValueError), match=said):
        client.predict(**(inputs | {"speech": None} | overrides), api_name=action)


def test_text_and_recording_are_too_much(client, inputs):
    with pytest.raises(AppError, match="either a text or a recording"):
        client.predict(**inputs, text="Hello.", api_name="/generate")


def test_draws_a_seed(client, inputs):
    _, figures = client.predict(**inputs, api_name="/generate")
    assert 0 <= figures["seed"] < 2**32


def test_api_has_documented_actions(client):
    api = client.view_api(return_format="dict")
    assert list(api["named_endpoints"]) == ["/generate", "/live", "/compare", "/info"]
    parameters = [parameter["parameter_name"] for parameter in api["named_endpoints"]["/generate"]["parameters"]]
    assert parameters == ["portrait", "speech", *SETTINGS]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"portrait": None}, "no portrait"),
        ({"speech": None}, "no speech"),
        ({"seed": -2}, "seed must be a whole number from 0 to 4294967295"),
        ({"steps": 0}, "steps must be a whole number from 1 to 100"),
        ({"crop": True}, "No face was found"),
        ({"zoom": 0}, "zoom must be a number from 0.1 to 10"),
        ({"size": 72}, "width and height must be multiples of 16"),
        ({"size": 256}, "size must be at most 128 here"),
        ({"view": "all"}, "view must be picture or square, not 'all'"),
        ({"max_side": 100}, "max_side must be a whole number from 128 to 4096, not 100"),
        ({"max_side": 2000}, "max_side must be at most 1920 here"),
    ],
)
def test_unusable_input_is_explained(client, inputs, overrides, said):
    with pytest.raises(AppError, match=said):
        client.predict(**(inputs | overrides), api_name="/generate")


def test_a_file_that_is_no_image_is_explained(client, inputs, tmp_path):
    path = tmp_path / "portrait.png"
    path.write_text("not an image")
    with pytest.raises(AppError, match="not an image that can be read"):
        client.predict(**(inputs | {"portrait": handle_file(path)}), api_name="/generate")


@pytest.mark.parametrize(
    ("field", "name", "content", "said"),
    [
        ("portrait", "cut.jpg", NORA[:9000], "damaged or incomplete"),
        ("portrait", "list.pdf", b"%PDF-1.4", "not an image that can be read"),
        ("speech", "words.wav", b"hello", "could not be decoded as sound"),
        ("speech", "nothing.wav", b"", "could not be decoded as sound"),
        ("speech", "picture.jpg", NORA, "could not be decoded as sound"),
    ],
)
def test_files_that_cannot_be_used_are_explained(client, inputs, tmp_path, field, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError, match=said) as error:
        client.predict(**(inputs | {field: handle_file(tmp_path / name)}), api_name="/generate")
    assert "Traceback" not in str(error.value)
    assert client.predict(**inputs, api_name="/generate")[1]["frames"] == 33  # the next job works


@pytest.mark.parametrize(("samples", "rate", "frames"), [(16_000, 16_000, 25), (800, 16_000, 2), (96_000, 96_000, 25)])
def test_silent_short_and_finely_sampled_speech(client, inputs, tmp_path, samples, rate, frames):
    soundfile.write(tmp_path / "odd.wav", np.zeros((samples, 2)), rate)
    speech = handle_file(tmp_path / "odd.wav")
    assert client.predict(**(inputs | {"speech": speech}), api_name="/generate")[1]["frames"] == frames


def test_only_what_was_uploaded_is_read(app_url, portrait_file):
    """A file of the server is none of the visitor's, whether Gradio takes the mapping for a file or not."""
    call = f"{app_url}gradio_api/call/generate"
    defaults = inspect.signature(GenerateTab.generate).parameters
    settings = [defaults[name].default for name in SETTINGS]
    for portrait in ({"path": portrait_file}, {"path": portrait_file, "meta": {"_type": "gradio.FileData"}}):
        data = json.dumps({"data": [portrait, None, *settings]}).encode()
        request = urllib.request.Request(call, data, {"Content-Type": "application/json"})
        event = json.load(urllib.request.urlopen(request))["event_id"]
        answer = urllib.request.urlopen(f"{call}/{event}").read().decode()
        assert "was not uploaded" in answer


def test_a_second_job_waits_for_the_first(client, inputs, long_speech_file, app_url):
    first = client.submit(**(inputs | {"speech": handle_file(long_speech_file)}), api_name="/generate")
    wait_until(lambda: first.outputs(), seconds=30)
    second = Client(app_url, verbose=False).submit(**inputs, seed=8, api_name="/generate")
    wait_until(lambda: second.status().code == Status.IN_QUEUE, seconds=5)
    assert second.status().rank == 0
    first.cancel()
    assert second.result(timeout=30)[1]["seed"] == 8


def test_too_long_speech_names_the_limit(client, inputs, tmp_path):
    speech = write_speech(tmp_path / "long.wav", 91)
    with pytest.raises(AppError, match="90"):
        client.predict(**(inputs | {"speech": handle_file(speech)}), api_name="/generate")


def test_cancel_leaves_nothing_and_the_next_run_works(client, inputs, long_speech_file, app_folder):
    job = client.submit(**(inputs | {"speech": handle_file(long_speech_file)}), api_name="/generate")
    wait_until(lambda: job.outputs(), seconds=30)  # under way
    assert list(app_folder.glob("asymtalker-*"))
    cancelled = time.monotonic()
    job.cancel()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=5)
    assert time.monotonic() - cancelled < 1.5
    _, figures = client.predict(**inputs, api_name="/generate")
    assert figures["frames"] == 33


def test_live_streams_pieces_of_one_video(client, inputs):
    job = client.submit(**inputs, api_name="/live")
    *_, (_, figures) = job
    assert figures["ended"]
    assert figures["start"] == pytest.approx(33 / 25, abs=0.01)
    assert 0 <= figures["age"] < 5
    assert figures["skipped"] == 0
    with av.open(io.BytesIO(b"".join(Path(piece).read_bytes() for piece, _ in job.outputs()))) as container:
        assert sum(1 for _ in container.decode(video=0)) == 33


def test_a_cancelled_live_stream_is_freed(client, inputs, long_speech_file, app_folder):
    job = client.submit(**(inputs | {"speech": handle_file(long_speech_file)}), api_name="/live")
    wait_until(lambda: job.outputs(), seconds=30)
    assert list(app_folder.glob("asymtalker-live-*"))
    job.cancel()
    wait_until(lambda: not list(app_folder.glob("asymtalker-*")), seconds=3)


def test_live_explains_unusable_input(client, inputs):
    with pytest.raises(AppError, match="no speech"):
        client.predict(**(inputs | {"speech": None}), api_name="/live")


def test_compare(client, inputs):
    sides = {"left": {"steps": 1}, "right": {"steps": 1, "reference_mode": "static"}}
    left, right, film, figures = client.predict(**inputs, **sides, seed=4, api_name="/compare")
    assert all(probe_video(path_of(video)).frames == 33 for video in (left, right, film))
    assert [side["title"] for side in figures["sides"]] == ["A · reference mode temporal", "B · reference mode static"]
    assert figures["seed"] == 4
    assert all(len(side["sharpness"]) == len(side["identity"]) == 2 for side in figures["sides"])


def path_of(video):
    return video["video"] if isinstance(video, dict) else video


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ({"stepz": 1}, "Unknown setting 'stepz': it must be one of checkpoint, steps"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"reference_mode": "none"}, "reference_mode must be"),
        ({"checkpoint": "owner/name"}, "checkpoint must be one of"),
    ],
)
def test_compare_explains_unusable_settings(client, inputs, side, said):
    with pytest.raises(AppError, match=said):
        client.predict(**inputs, left={}, right=side, api_name="/compare")


def test_info(client, checkpoint, pipeline):
    info = client.predict(api_name="/info")
    assert info["checkpoint"] == checkpoint
    assert info["size"] == list(pipeline.frame_size)
    assert (info["fps"], info["sampling_rate"], info["steps"]) == (25, 16_000, 2)
    assert info["max_seconds"] == APP_MAX_SECONDS
    assert info["voices"][:2] == ["heart", "heart-low"]
    assert info["max_live_seconds"] == APP_MAX_SECONDS  # no longer than speech may be


def readme_snippets():
    """The README's calls of the client; all but the first go on from it."""
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    first, *rest = [snippet for snippet in snippets if "client" in snippet]
    return {re.search(r"api_name=\"/(\w+)\"", snippet)[1]: (first, snippet) for snippet in [first, *rest]}


@pytest.mark.parametrize(
    ("action", "printed"),
    [("generate", r"\.mp4 \d"), ("live", r"ended .*live\.mp4"), ("compare", r"\.mp4 .*ΔE"), ("info", r"25 fps")],
)
def test_readme_snippets(app_url, tmp_path, monkeypatch, capsys, action, printed):
    first, snippet = readme_snippets()[action]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    names = {}
    exec(first.replace("http://127.0.0.1:7860", app_url), names)
    if snippet is not first:
        exec(snippet, names)
    assert re.search(printed, capsys.readouterr().out, re.DOTALL)
