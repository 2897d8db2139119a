"""The line between a live page and its stream: a WebSocket with a name that only the page knows."""

import json
import threading

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from asymtalker.media.spool import PacedSpeech, StreamClosed
from asymtalker.media.synthesis import SpokenText
from asymtalker.ui.channel import PATH, VISITORS, LiveChannels
from asymtalker.ui.live import LiveTab
from tests.conftest import wait_until

NAMES = [f"{number:032x}" for number in range(4)]


class Page:
    """A page as `LiveTab` sees it: the event that asks for a stream, and the visitor's request."""

    def __init__(self, name, pictures="h264"):
        self.name, self.pictures = name, pictures
        self.session_hash = f"visitor of {name}"


@pytest.fixture
def channels(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return LiveChannels()


@pytest.fixture
def client(channels):
    with TestClient(Starlette(routes=[WebSocketRoute(PATH, channels.serve)])) as client:
        yield client


def connect(client, name):
    return client.websocket_connect(f"{PATH}?name={name}")


def receive(line):
    """The next message: what is said, and the bytes after it."""
    message = line.receive_bytes()
    end = 4 + int.from_bytes(message[:4], "little")
    return json.loads(message[4:end]), message[end:]


def portrait(file):
    """Settings of the page: the portrait, no crop around a face, whole picture."""
    return [{"path": file}, None, True, False, 1, 0, 0, None, "picture", 512, False]


def test_sound_of_the_page_is_heard(client, channels):
    with connect(client, NAMES[0]) as line:
        assert receive(line)[0] == {"state": "Listening …"}
        spool = channels.get(NAMES[0]).microphone.spool
        line.send_json({"rate": 48_000})
        for _ in range(10):
            line.send_bytes((1000 * np.ones(1920, "<i2")).tobytes())
        line.send_json({"ended": True})
        wait_until(spool.ended, seconds=5)
        heard = spool.read(0, spool.available())
        assert 0.38 < len(heard) / 16_000 <= 0.4
        assert heard[3000] == pytest.approx(1000 / 32768, rel=0.02)
    wait_until(lambda: not len(channels), seconds=5)
    with pytest.raises(StreamClosed):
        spool.available()


@pytest.mark.parametrize("message", [b"\x00", "no json", "[1]", '{"rate": "x"}'])
def test_a_page_that_does_not_speak_as_ours_is_hung_up_on(client, channels, message):
    with connect(client, NAMES[0]) as line:
        receive(line)
        line.send_bytes(message) if isinstance(message, bytes) else line.send_text(message)
        wait_until(lambda: not len(channels), seconds=5)


def test_a_line_needs_a_name_of_its_own(client, channels):
    with connect(client, NAMES[0]):
        for name in (NAMES[0], "short", NAMES[1].upper() + "g"):
            with pytest.raises(WebSocketDisconnect), connect(client, name):
                pass
        assert len(channels) == 1


def test_waiting_visitors_are_told(client, channels):
    tab = LiveTab(None, 10, channels)
    lines = [connect(client, name) for name in NAMES[: VISITORS + 1]]
    for name, line in zip(NAMES, lines, strict=False):
        line.__enter__()
        said = receive(line)[0]["state"]
        tab._join(Page(name), Page(name))
    assert "your turn" in said
    for line in lines:
        line.__exit__(None, None, None)


def test_a_stream_is_sent_and_closed_with_its_line(checkpoint, client, channels, portrait_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", portrait_file.rpartition("/")[0])
    tab, page = LiveTab(checkpoint, 10, channels), Page(NAMES[0])
    with connect(client, NAMES[0]) as line:
        receive(line)
        talk = threading.Thread(target=tab.talk, args=(page, page, *portrait(portrait_file)))
        talk.start()
        line.send_bytes((3000 * np.ones(20 * 640, "<i2")).tobytes())
        head, data = receive(line)
        assert (head["size"], head["steps"], head["ended"], head["whole"]) == ([160, 120], 2, False, False)
        assert int.from_bytes(data[:2], "little") == round(25 * head["seconds"])
        channel = channels.of(page.session_hash)
        tab.exchange(page, False, *portrait(None))  # removed: the one it has stays
        assert channel.portraits.take() is None
        tab.exchange(page, True, *portrait(portrait_file))
        assert channel.portraits.take()[1].max_side == 512
    talk.join(5)
    assert not talk.is_alive() and channels.of(page.session_hash) is None
    tab.talk(page, page, *portrait(portrait_file))  # its turn comes after it was stopped: nothing happens


def test_a_text_is_said_to_its_end(checkpoint, client, channels, portrait_file, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", portrait_file.rpartition("/")[0])
    tab, page = LiveTab(checkpoint, 10, channels), Page(NAMES[0])
    said = ("type", {"path": "unseen.wav"}, "Hello there.", "heart", 1)
    with connect(client, NAMES[0]) as line:
        receive(line)
        recite = threading.Thread(target=tab.recite, args=(page, page, *said, *portrait(portrait_file)))
        recite.start()
        heads = [receive(line)[0]]
        while not heads[-1]["ended"]:
            heads.append(receive(line)[0])
    recite.join(5)
    seconds = sum(map(len, SpokenText("Hello there.").stream())) / 16_000
    assert heads[-1]["start"] == pytest.approx(seconds, abs=0.04)
    assert all(head["whole"] and head["skipped"] == 0 for head in heads)


def test_what_cannot_be_streamed_is_said_on_the_line(checkpoint, client, channels):
    tab, page = LiveTab(checkpoint, 10, channels), Page(NAMES[0])
    with connect(client, NAMES[0]) as line:
        receive(line)
        tab.recite(page, page, "type", None, "Hello.", "heart", 1, *portrait(None))
        assert "no portrait" in receive(line)[0]["trouble"]
        with pytest.raises(WebSocketDisconnect):
            line.receive_bytes()


def test_speech_of_any_source_is_closed_with_the_line(client, channels):
    with connect(client, NAMES[0]):
        source = PacedSpeech(np.zeros(16_000, np.float32), 16_000)
        channel = channels.get(NAMES[0])
        channel.play(source)
        assert source.available() >= 0
    wait_until(lambda: not len(channels), seconds=5)
    with pytest.raises(StreamClosed):
        source.available()
    late = PacedSpeech(np.zeros(16_000, np.float32), 16_000)
    channel.play(late)
    with pytest.raises(StreamClosed):
        late.available()
