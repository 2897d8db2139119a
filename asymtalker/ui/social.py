"""What a link to the page looks like where it is shared: Gradio's own tags name Gradio, twice, and have no picture."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TITLE = "AsymTalker: portraits that speak"
DESCRIPTION = "Give a portrait and a voice, and get a video in which the portrait speaks."
SIZE = (1200, 630)  # pixels; of the picture
_TAG = re.compile(rb'\s*<meta\s+(?:property="og:|name="twitter:)[^>]*>')


class SocialTags:
    """Replaces the tags of the page by one set of ours.

    Args:
        app: what is served.
        picture: a JPEG of `SIZE`, which Gradio may serve (`gr.set_static_paths`).
    """

    def __init__(self, app: ASGIApp, picture: Path) -> None:
        self._app, self._picture = app, picture

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")).strip("/"):
            await self._app(scope, receive, send)
            return
        started: list[Message] = []
        body = bytearray()

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                page = replace_tags(bytes(body), _address(scope), self._picture)
                headers = [(name, value) for name, value in started[0]["headers"] if name != b"content-length"]
                headers.append((b"content-length", str(len(page)).encode()))
                await send(started[0] | {"headers": headers})
                await send({"type": "http.response.body", "body": page})

        await self._app(scope, receive, take)


def replace_tags(page: bytes, address: str, picture: Path) -> bytes:
    """The page (HTML) with one set of tags; what is no such page is left as it is.

    Args:
        address: of the page, with a slash at its end.
    """
    if b"</head>" not in page:
        return page
    image = f"{address}gradio_api/file={picture.as_posix()}"
    named = {
        "og:title": TITLE,
        "og:description": DESCRIPTION,
        "og:type": "website",
        "og:url": address,
        "og:image": image,
        "og:image:width": str(SIZE[0]),
        "og:image:height": str(SIZE[1]),
    }
    tags = [f'<meta property="{name}" content="{html.escape(value)}">' for name, value in named.items()]
    tags.append('<meta name="twitter:card" content="summary_large_image">')
    return _TAG.sub(b"", page).replace(b"</head>", "\n".join([*tags, "</head>"]).encode(), 1)


def _address(scope: Scope) -> str:
    """The page's address, as the visitor's browser has it: before a proxy."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    scheme = headers.get("x-forwarded-proto", scope["scheme"]).partition(",")[0].strip()
    host = headers.get("x-forwarded-host") or headers.get("host", "")
    return f"{scheme}://{host}{scope.get('root_path', '')}/"
