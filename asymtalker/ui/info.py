"""What a client may want to know before it sends anything."""

from __future__ import annotations

from typing import Any

import gradio as gr

from asymtalker import __version__
from asymtalker.generation import DEFAULT_CHECKPOINT, load_pipeline
from asymtalker.media.synthesis import list_voices
from asymtalker.ui.inputs import largest_size
from asymtalker.ui.view import LARGEST_SIDE


def build_info(checkpoint: str | None, max_seconds: float, live_seconds: float) -> None:
    """Adds the action `/info` to the current `gr.Blocks`."""
    pipeline = load_pipeline(checkpoint)

    def info() -> dict[str, Any]:
        """The checkpoint, the video that it makes, and the limits."""
        return {
            "version": __version__,
            "checkpoint": checkpoint or DEFAULT_CHECKPOINT,
            "device": pipeline.device.type,
            "size": list(pipeline.frame_size),
            "fps": pipeline.fps,
            "sampling_rate": pipeline.sampling_rate,
            "steps": pipeline.config.num_inference_steps,
            "chunk_frames": pipeline.layout.new_frames,
            "max_size": largest_size(checkpoint),
            "max_side": LARGEST_SIDE,
            "max_seconds": max_seconds,
            "max_live_seconds": live_seconds,
            "voices": [voice.name for voice in list_voices()],
        }

    gr.api(info, api_name="info", queue=False)
