"""Last stage: makes a checkpoint small enough to be shipped.

    python train/export.py runs/tiny/akd/pipeline asymtalker/presets/tiny --steps 2

Weights become bfloat16, but for the renderer's, which find landmarks to a fraction of a pixel and stay float16; the
schedule becomes that of a few-step student.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # of a script, Python finds only the folder it is in

import argparse
import json

import torch
from diffusers import FlowMatchLCMScheduler

from asymtalker import AsymTalkerPipeline


def export(source: Path, target: Path, steps: int, guidance_scale: float) -> int:
    """Writes the pipeline of `source` to `target`; returns the bytes it takes."""
    pipeline = AsymTalkerPipeline.from_pretrained(source, dtype=torch.bfloat16)
    for model in (pipeline.transformer, pipeline.vae):
        for parameter in model.parameters():  # also those that diffusers keeps in float32, and widens again on loading
            parameter.data = parameter.data.bfloat16()
    pipeline.register_modules(scheduler=FlowMatchLCMScheduler(shift=pipeline.scheduler.config.shift))
    if pipeline.renderer is not None:
        pipeline.renderer.half()
    pipeline.register_to_config(num_inference_steps=steps, guidance_scale=guidance_scale)
    pipeline.save_pretrained(target)
    for path in target.rglob("*.json"):
        settings = json.loads(path.read_text())
        settings.pop("_name_or_path", None)  # a path of the machine that it was made on
        path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="pipeline folder that a stage wrote")
    parser.add_argument("target", type=Path, help="folder to write")
    parser.add_argument("--steps", type=int, required=True, help="denoising steps a chunk")
    parser.add_argument("--guidance-scale", type=float, default=1.0, help="audio guidance (a student needs none)")
    args = parser.parse_args(argv)
    size = export(args.source, args.target, args.steps, args.guidance_scale)
    print(f"{args.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
