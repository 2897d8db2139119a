"""What a run shows of itself: sample videos, and the model card that goes with a checkpoint."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from asymtalker import AsymTalkerPipeline, __version__
from asymtalker.chunks import FPS, SAMPLES_PER_FRAME, SAMPLING_RATE
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.media.video import VideoWriter
from train.clips import Clip
from train.views import Recording, as_floats

SAMPLE_SECONDS = 6
FACE = Path(__file__).resolve().parents[1] / "examples" / "nora.jpg"
"""The portrait on which a track is shown."""
CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: image-to-video
tags:
- talking-head
- audio-driven-video
- asymtalker
{datasets}---

# {name}

A checkpoint of [AsymTalker](https://arxiv.org/abs/2605.02948) by the stage `{stage}`, after {step} steps and
{minutes:.0f} minutes of training on {devices}.

```python
from asymtalker.generation import load_pipeline

pipeline = load_pipeline("{name}")
```

## Latest figures of training

{figures}

## Samples

A clip that was {held_out}, from its first frame and its sound:

{samples}

## Settings

```yaml
{settings}```

Written by AsymTalker {version}. Use it only with portraits and voices whose owners consent.
"""


@torch.no_grad()
def write_sample(folder: Path, recording: Recording, target: Path, device: torch.device) -> None:
    """Makes a sample video of a recording with the pipeline saved in a folder; an example lends a track its face."""
    pipeline = AsymTalkerPipeline.from_pretrained(folder).to(device)
    pipeline.set_progress_bar_config(disable=True)
    if isinstance(recording, Clip):
        left, top, side = (round(value) for value in recording.crop)
        portrait = Image.fromarray(np.asarray(recording.frames[0][top : top + side, left : left + side]))
    else:
        portrait = crop_portrait(read_portrait(FACE)).image.resize(pipeline.frame_size)
    speech = as_floats(recording.speech[: SAMPLE_SECONDS * FPS * SAMPLES_PER_FRAME])
    height, width = pipeline.frame_size
    target.parent.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    with VideoWriter(target, (width, height), FPS, SAMPLING_RATE) as writer:
        for frames in pipeline.stream(portrait, speech, generator=generator):
            writer.write(frames)
        writer.write_speech(speech)


def write_card(target: Path, settings: Any, stage: str, step: int, seconds: float, devices: str) -> None:
    """Writes the model card of a run beside its results.

    Args:
        target: the card; `log.jsonl` and `samples/` are looked for beside it.
        settings: the stage's dataclass.
    """
    folder = target.parent
    log = folder / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    figures = {key: value for key, value in (rows[-1] if rows else {}).items() if key not in ("step", "minutes")}
    samples = sorted((folder / "samples").glob("*.mp4"))[-3:]
    on_hub = settings.dataset.count("/") == 1 and not Path(settings.dataset).exists()
    target.write_text(
        CARD.format(
            datasets=f"datasets:\n- {settings.dataset}\n" if on_hub else "",
            name=settings.hub_model_id or folder.name,
            stage=stage,
            step=step,
            minutes=seconds / 60,
            devices=devices,
            figures="\n".join(f"- {key}: {value:.4g}" for key, value in figures.items()) or "None yet.",
            held_out="held out from training" if settings.holdout else "also trained on",
            samples="\n".join(f"- [{path.stem}](samples/{path.name})" for path in samples) or "None yet.",
            settings=yaml.safe_dump(dataclasses.asdict(settings), sort_keys=True),
            version=__version__,
        )
    )
