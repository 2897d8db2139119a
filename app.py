"""The Space, and the page on your own machine: `python app.py`."""

import spaces  # noqa: F401  (before anything touches CUDA)

# isort: split
import os
from pathlib import Path

import gradio as gr

from asymtalker.ui.generate import GenerateTab
from asymtalker.ui.theme import CSS, THEME

EXAMPLES = Path(__file__).parent / "examples"
MASTHEAD = """
<header class="masthead">
  <h1>AsymTalker</h1>
  <p>One portrait and a voice become a talking-head video, of any length, in which the face stays the same person.</p>
</header>
"""
DAY = 24 * 60 * 60


def read_max_seconds() -> float:
    """The longest speech accepted, in seconds."""
    value = os.environ.get("ASYMTALKER_MAX_SECONDS", "600")
    try:
        return float(value)
    except ValueError:
        raise SystemExit(f"ASYMTALKER_MAX_SECONDS must be a number of seconds, not {value!r}.") from None


def build_page(checkpoint: str | None = None, max_seconds: float = 600) -> gr.Blocks:
    """Loads the checkpoint and lays out the page."""
    with gr.Blocks(title="AsymTalker", analytics_enabled=False, delete_cache=(DAY // 24, DAY)) as page:
        gr.HTML(MASTHEAD)
        GenerateTab(checkpoint, max_seconds).build(EXAMPLES)
    return page.queue(max_size=20)


def launch(page: gr.Blocks, **options: object) -> None:
    page.launch(theme=THEME, css=CSS, show_error=True, max_file_size="200mb", run_history=False, **options)


if __name__ == "__main__":
    launch(build_page(os.environ.get("ASYMTALKER_CHECKPOINT"), read_max_seconds()))
