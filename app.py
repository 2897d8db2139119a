"""The Space, and the page on your own machine: `python app.py`."""

import spaces  # noqa: F401  (before anything touches CUDA)

# isort: split
import os
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from asymtalker.ui.channel import ROUTES
from asymtalker.ui.compare import CompareTab
from asymtalker.ui.examples import build_gallery
from asymtalker.ui.generate import GenerateTab
from asymtalker.ui.info import build_info
from asymtalker.ui.inputs import CONSENT
from asymtalker.ui.live import LiveTab
from asymtalker.ui.portrait import build_portrait
from asymtalker.ui.social import SocialTags
from asymtalker.ui.theme import ACCESS, CSS, THEME
from asymtalker.ui.voice import build_voice

EXAMPLES = Path(__file__).parent / "examples"
COVER = EXAMPLES / "previews" / "cover.jpg"
MASTHEAD = """
<header class="masthead">
  <h1>AsymTalker</h1>
  <p>Give a portrait and what it shall say, and get a video in which it speaks.</p>
</header>
"""
DAY = 24 * 60 * 60


def read_seconds(name: str, default: float) -> float:
    """A limit in seconds, from the environment."""
    value = os.environ.get(name, default)
    try:
        return float(value)
    except ValueError:
        raise SystemExit(f"{name} must be a number of seconds, not {value!r}.") from None


def build_page(checkpoint: str | None = None, max_seconds: float = 600, live_seconds: float = 120) -> gr.Blocks:
    """Loads the checkpoint and lays out the page."""
    live_seconds = min(live_seconds, max_seconds)
    with gr.Blocks(title="AsymTalker", analytics_enabled=False, delete_cache=(DAY // 24, DAY)) as page:
        gr.HTML(MASTHEAD)
        gallery = build_gallery(EXAMPLES)
        with gr.Row(equal_height=False, elem_id="workbench"):
            with gr.Column(scale=5, min_width=320, elem_id="inputs"):
                portrait = build_portrait(checkpoint)
                said = build_voice()
                gr.HTML(f'<p class="consent">{CONSENT}</p>')
            with gr.Column(scale=7, min_width=320, elem_id="work"), gr.Tabs():
                with gr.Tab("Generate", id="generate"):
                    GenerateTab(checkpoint, max_seconds).build(page, portrait, said, gallery)
                with gr.Tab("Live", id="live", render_children=True):
                    LiveTab(checkpoint, live_seconds).build(portrait, said)
                with gr.Tab("Compare", id="compare", render_children=True):
                    CompareTab(checkpoint, max_seconds).build(portrait, said)
        build_info(checkpoint, max_seconds, live_seconds)
    return page.queue(max_size=20)


def launch(page: gr.Blocks, **options: object) -> None:
    gr.set_static_paths([COVER])
    page.launch(
        theme=THEME,
        css=CSS,
        js=ACCESS,
        enable_monitoring=False,
        app_kwargs={"routes": ROUTES, "middleware": [Middleware(SocialTags, picture=COVER)]},
        show_error=True,
        max_file_size="200mb",
        run_history=False,
        **options,
    )


if __name__ == "__main__":
    limits = read_seconds("ASYMTALKER_MAX_SECONDS", 600), read_seconds("ASYMTALKER_LIVE_SECONDS", 120)
    launch(build_page(os.environ.get("ASYMTALKER_CHECKPOINT"), *limits))
