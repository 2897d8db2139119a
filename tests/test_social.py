"""What a link to the page looks like where it is shared."""

import asyncio
import re
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from app import COVER
from asymtalker.ui.social import SIZE, SocialTags, replace_tags

PAGE = b"""<html><head>
<meta property="og:title" content="Gradio" />
<meta
    property="og:image" content="https://elsewhere/gradio.jpg"
/>
<meta name="twitter:creator" content="@Gradio" />
<meta name="viewport" content="width=device-width" />
</head><body></body></html>"""


def test_gradios_tags_give_way_to_one_set_of_ours():
    page = replace_tags(PAGE, 'https://a.b/"x/', Path("/c/cover.jpg")).decode()
    assert "Gradio" not in page and "elsewhere" not in page and "viewport" in page
    named = re.findall(r'<meta property="(og:[a-z:]+)"', page)
    assert sorted(named) == sorted(set(named)) and "og:title" in named
    assert 'content="https://a.b/&quot;x/gradio_api/file=/c/cover.jpg"' in page
    assert replace_tags(b"{}", "https://a.b/", Path("/c")) == b"{}"


def test_the_picture_is_small_and_of_the_usual_size():
    assert Image.open(COVER).size == SIZE
    assert COVER.stat().st_size < 200_000


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([(b"host", b"127.0.0.1:7860")], "http://127.0.0.1:7860/"),
        (
            [(b"host", b"x"), (b"x-forwarded-host", b"a.hf.space"), (b"x-forwarded-proto", b"https,http")],
            "https://a.hf.space/",
        ),
    ],
)
def test_the_address_is_the_one_that_the_visitor_has(headers, address):
    sent = []

    async def serve(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": PAGE[:40], "more_body": True})
        await send({"type": "http.response.body", "body": PAGE[40:]})

    async def keep(message):
        sent.append(message)

    scope = {"type": "http", "path": "/", "root_path": "", "scheme": "http", "headers": headers}
    asyncio.run(SocialTags(serve, Path("/c.jpg"))(scope, None, keep))
    start, body = sent
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert f'property="og:url" content="{address}"'.encode() in body["body"]


def test_the_running_page_has_them_and_serves_the_picture(app_url):
    page = urllib.request.urlopen(app_url).read().decode()
    (image,) = re.findall(r'property="og:image" content="([^"]*)"', page)
    assert page.count("twitter:card") == 1
    assert urllib.request.urlopen(image).read() == COVER.read_bytes()
