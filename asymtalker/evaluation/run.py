"""Runs an evaluation: clip after clip, across processes, resumable; then the table and the plots."""

from __future__ import annotations

import json
import logging
import platform
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from PIL import Image
from tqdm import tqdm

from asymtalker import AsymTalkerPipeline
from asymtalker.evaluation.clips import EvaluationDataset
from asymtalker.evaluation.measure import Instruments, measure_clip
from asymtalker.evaluation.report import write_report
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.evaluation.summary import summarize
from asymtalker.generation import load_pipeline

logger = logging.getLogger(__name__)


def evaluate(settings: EvaluationSettings, output: str | Path) -> dict[str, Any]:
    """Evaluates a checkpoint and writes `results.json`, `results.md` and plots.

    Every clip leaves a record in `output/clips` as soon as it is measured, so that an evaluation which was stopped goes
    on where it was. Under `accelerate launch` the processes share the clips; the first one reports.

    Returns:
        what is in `results.json`; of the other processes an empty dictionary.

    Raises:
        ValueError: the checkpoint or the dataset cannot be used, or `output` belongs to another evaluation.
        OSError: a file cannot be read or written, or the face mesh's process has ended.
    """
    output, state = Path(output), PartialState(cpu=not torch.cuda.is_available())
    pipeline = load_pipeline(settings.checkpoint)
    with state.main_process_first():  # the others find the dataset read
        dataset = EvaluationDataset(settings, pipeline.frame_size)
        _claim(output, settings, pipeline)
    with Instruments.open(settings, pipeline.device) as instruments:
        started = time.monotonic()
        measured = _measure_all(pipeline, dataset, settings, instruments, output / "clips")
    measured = sum(gather_object([measured]))  # waits for all of them
    minutes = (time.monotonic() - started) / 60
    if not state.is_main_process:
        return {}
    records = _read_records(output / "clips", dataset)
    results = summarize(records, settings, instruments.unavailable)
    results["run"] = _describe(pipeline, settings, state.num_processes, measured / minutes if measured else None)
    write_report(results, output, _stills(records))
    return results


def _measure_all(
    pipeline: AsymTalkerPipeline,
    dataset: EvaluationDataset,
    settings: EvaluationSettings,
    instruments: Instruments,
    folder: Path,
) -> int:
    """Measures this process's clips that have no record yet; returns how many those were."""
    state = PartialState()
    own = range(state.process_index, len(dataset), state.num_processes)
    todo = [number for number in own if not _is_measured(folder / f"{dataset.names[number]}.json", instruments)]
    bar = tqdm(
        todo,
        desc="evaluate",
        unit="clip",
        total=len(own),
        initial=len(own) - len(todo),
        dynamic_ncols=True,
        disable=not state.is_local_main_process,
    )
    for number in bar:
        target = folder / f"{dataset.names[number]}.json"
        try:
            clip = dataset.clip(number)
            long = None if settings.seconds is None else dataset.long_speech(number, settings.seconds)
            record, features = measure_clip(pipeline, clip, settings, instruments, long)
        except ConnectionError:
            raise  # the face mesh's process has ended, which is not this clip's fault
        except (ValueError, OSError) as error:
            logger.warning("left out %s: %s", dataset.names[number], error)
            _write_json(target, {"name": dataset.names[number], "error": " ".join(str(error).split())})
            continue
        if features:
            np.savez(target.with_suffix(".npz"), **features)
        Image.fromarray(clip.frames[0]).save(target.with_suffix(".png"))
        _write_json(target, record | {"person": dataset.people[number]})  # last: it says that the clip is done
    return len(todo)


def _is_measured(path: Path, instruments: Instruments) -> bool:
    """Whether a clip's record holds all that can be measured here; one that failed is tried again."""
    if not path.is_file():
        return False
    record = json.loads(path.read_text())
    return set(instruments.metrics) <= set(record.get("metrics", ())) and "error" not in record


def _read_records(folder: Path, dataset: EvaluationDataset) -> list[dict[str, Any]]:
    records = []
    for name in dataset.names:
        record = json.loads((folder / f"{name}.json").read_text())
        if "error" not in record:
            record["portrait"] = np.asarray(Image.open(folder / f"{name}.png"))
            if (folder / f"{name}.npz").is_file():
                record["features"] = dict(np.load(folder / f"{name}.npz"))
        records.append(record)
    return records


def _stills(records: list[dict[str, Any]]) -> dict[str, list[np.ndarray]]:
    """Of long rollouts: the portrait and the frames kept of each clip, uint8 (H, W, 3)."""
    kept = [record for record in records if record.get("stills")]
    return {record["name"]: [record["portrait"], *record["features"]["stills"]] for record in kept}


def _claim(output: Path, settings: EvaluationSettings, pipeline: AsymTalkerPipeline) -> None:
    """Notes whose records these are; raises ValueError if they are another evaluation's."""
    (output / "clips").mkdir(parents=True, exist_ok=True)
    # metrics and the number of clips may grow from one run to the next
    mine = asdict(replace(settings, metrics=("offline",), clips=None, description=""))
    mine["weights"] = _fingerprint(Path(pipeline.name_or_path))
    mine = json.loads(json.dumps(mine))
    path = output / "settings.json"
    if path.is_file() and (other := json.loads(path.read_text())) != mine:
        changed = sorted(key for key in mine if mine[key] != other.get(key))
        raise ValueError(
            f"{output} holds an evaluation with other {', '.join(changed)}: name another --output, or delete it."
        )
    _write_json(path, mine)


def _fingerprint(folder: Path) -> list[list]:
    """Names, sizes and times of a checkpoint's weights: training may have replaced them under the same name."""
    files = sorted(folder.glob("**/*.safetensors"))
    return [[str(file.relative_to(folder)), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _describe(
    pipeline: AsymTalkerPipeline, settings: EvaluationSettings, processes: int, clips_per_minute: float | None
) -> dict[str, Any]:
    """What the figures have to be read with."""
    config = pipeline.config
    guidance = config.guidance_scale if settings.guidance_scale is None else settings.guidance_scale
    return {
        "checkpoint": settings.checkpoint or Path(pipeline.name_or_path).name,
        "steps": settings.steps or config.num_inference_steps,
        "guidance_scale": guidance,
        "frame_size": list(pipeline.frame_size),
        "window": [config.window_frames, config.continuity_frames],
        "vae": type(pipeline.vae).__name__,
        "dtype": str(pipeline.transformer.dtype).removeprefix("torch."),
        "hardware": _hardware(pipeline.device),
        "processes": processes,
        "clips_per_minute": clips_per_minute,
        "versions": {name: version(name) for name in ("torch", "diffusers", "numpy")},
    }


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    names = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {torch.get_num_threads()} threads"


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _write_json(path: Path, value: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.replace(path)
