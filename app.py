"""The Space, and the page on your own machine: `python app.py`."""

import spaces  # noqa: F401  (before anything touches CUDA)

# isort: split
import os
from pathlib import Path

import gradio as gr

from asymtalker.ui.channel import ROUTES
from asymtalker.ui.compare import CompareTab
from asymtalker.ui.generate import GenerateTab
from asymtalker.ui.info import build_info
from asymtalker.ui.live import LiveTab
from asymtalker.ui.theme import CSS, THEME

EXAMPLES = Path(__file__).parent / "examples"
MASTHEAD = """
<header class="masthead">
  <h1>AsymTalker</h1>
  <p>One portrait and a voice become a talking-head video, of any length, in which the face stays the same person.</p>
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
        with gr.Tabs():
            with gr.Tab("Generate", id="generate"):
                GenerateTab(checkpoint, max_seconds).build(page, EXAMPLES)
            with gr.Tab("Live", id="live", render_children=True):
                LiveTab(checkpoint, live_seconds).build(EXAMPLES)
            with gr.Tab("Compare", id="compare", render_children=True):
                CompareTab(checkpoint, max_seconds).build(EXAMPLES)
        build_info(checkpoint, max_seconds, live_seconds)
    return page.queue(max_size=20)


def launch(page: gr.Blocks, **options: object) -> None:
    page.launch(
        theme=THEME,
        css=CSS,
        show_error=True,
        max_file_size="200mb",
        run_history=False,
        app_kwargs={"routes": ROUTES},
        **options,
    )


if __name__ == "__main__":
    limits = read_seconds("ASYMTALKER_MAX_SECONDS", 600), read_seconds("ASYMTALKER_LIVE_SECONDS", 120)
    launch(build_page(os.environ.get("ASYMTALKER_CHECKPOINT"), *limits))
