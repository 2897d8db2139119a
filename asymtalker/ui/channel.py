"""The line between a live page and its stream: a WebSocket, on which the microphone's sound comes and the video goes.

Gradio's own events start a stream and choose its portrait; each of its values costs a browser several requests and a
new drawing of the page, which a live stream cannot pay six times a second.
"""

from __future__ import annotations

import asyncio
import json
import re
import struct
from contextlib import suppress
from typing import Any

import numpy as np
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from asymtalker.live import Microphone
from asymtalker.media.spool import Handover, SpeechSource

PATH = "/live/line"
VISITORS = 2
"""Streams at a time; more wait for their turn."""
SAMPLING_RATE = 16_000
MOST_CHANNELS = 40
"""Open at a time; each is a folder and what waits to be sent."""
MOST_WAITING = 400
"""Pieces that wait to be sent, about a minute's: a page that has not taken any for so long is gone."""
NAME = re.compile(r"[0-9a-f]{32}")


class LiveChannel:
    """One page's line to its stream.

    Args:
        name: 32 hexadecimal digits that the page has drawn.
        max_seconds: of sound that is kept.

    Attributes:
        microphone: what the page's microphone gives.
        portraits: portraits that are to take over, for `stream_live`.
        visitor: whose page it is, once its stream has been asked for.
    """

    def __init__(self, name: str, max_seconds: float) -> None:
        self.name = name
        self.microphone = Microphone(SAMPLING_RATE, max_seconds)
        self.portraits = Handover()
        self.visitor: str | None = None
        self._source: SpeechSource | None = None
        self._rate = SAMPLING_RATE
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def play(self, source: SpeechSource) -> None:
        """Speech that the stream follows in place of the microphone: it is closed with the line."""
        self._source = source
        if self._closed:
            source.close()

    def send(self, head: dict[str, Any], data: bytes = b"") -> None:
        """Sends a piece and what is said of it, from any thread: the length of `head` as JSON (uint32), then both."""
        said = json.dumps(head).encode()
        self._put(struct.pack("<I", len(said)) + said + data)

    def end(self) -> None:
        """Closes the line when everything is sent."""
        self._put(None)

    def close(self) -> None:
        """Ends the stream at once; may be called again."""
        self._closed = True
        self.microphone.close()
        self.portraits.close()
        if self._source is not None:
            self._source.close()

    def _put(self, message: bytes | None) -> None:
        if self._waiting.qsize() > MOST_WAITING:
            self.close()
        with suppress(RuntimeError):  # the loop is closed where the server stops
            self._loop.call_soon_threadsafe(self._waiting.put_nowait, message)

    async def serve(self, socket: WebSocket) -> None:
        """Sends what there is, and hears what comes, until the page is gone or the stream has ended."""
        sending = asyncio.create_task(self._send_all(socket))
        try:
            while socket.client_state is WebSocketState.CONNECTED:
                self._hear(await socket.receive())
        except (WebSocketDisconnect, ValueError, AttributeError):  # it is gone, or does not speak as our page does
            pass
        finally:
            sending.cancel()

    async def _send_all(self, socket: WebSocket) -> None:
        with suppress(WebSocketDisconnect, RuntimeError):
            while (message := await self._waiting.get()) is not None:
                await socket.send_bytes(message)
            await socket.close()

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect
        if sound := message.get("bytes"):
            self.microphone.hear(self._rate, np.frombuffer(sound, "<i2"))
            return
        said = json.loads(message.get("text") or "{}")
        self._rate = int(said.get("rate", self._rate))
        if said.get("ended"):
            self.microphone.end()


class LiveChannels:
    """All lines, by name."""

    def __init__(self) -> None:
        self._open: dict[str, LiveChannel] = {}
        self.max_seconds = 150.0
        """Of sound that a line keeps."""

    def __len__(self) -> int:
        return len(self._open)

    def get(self, name: str) -> LiveChannel | None:
        """The line of this name, while it is open."""
        return self._open.get(name)

    def of(self, visitor: str) -> LiveChannel | None:
        """The line of a visitor's page that has a stream."""
        return next((channel for channel in self._open.values() if channel.visitor == visitor), None)

    def greeting(self) -> str:
        """What a page says until the first piece of its stream is there."""
        live = sum(channel.visitor is not None for channel in self._open.values())
        return "Others are live: it is your turn when one of them has finished." if live >= VISITORS else "Listening …"

    async def serve(self, socket: WebSocket) -> None:
        """The endpoint: the page connects here, and then asks for a stream of this name."""
        name = socket.query_params.get("name", "")
        if not NAME.fullmatch(name) or name in self._open or len(self) >= MOST_CHANNELS:
            await socket.close()
            return
        await socket.accept()
        channel = LiveChannel(name, self.max_seconds)
        channel.send({"state": self.greeting()})
        self._open[name] = channel
        try:
            await channel.serve(socket)
        finally:
            del self._open[name]
            channel.close()


CHANNELS = LiveChannels()
"""Of this process: pages find theirs by a name that only they know."""
ROUTES = [WebSocketRoute(PATH, CHANNELS.serve)]
"""What the web server needs beside Gradio's own; see `app_kwargs` of `gr.Blocks.launch`."""
