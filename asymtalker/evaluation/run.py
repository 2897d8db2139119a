"""Runs an evaluation: clip after clip, across processes, resumable; then the table and the plots."""

from __future__ import annotations

import json
import logging
import platform
import time
from dataclasses import asdict, dataclass, replace
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
from asymtalker.evaluation.clips import Clips, open_clips
from asymtalker.evaluation.measure import Instruments, Video, measure_videos, write_real_film
from asymtalker.evaluation.plots import read_stills
from asymtalker.evaluation.report import write_report
from asymtalker.evaluation.settings import EvaluationSettings
from asymtalker.evaluation.summary import summarize
from asymtalker.generation import load_pipeline

logger = logging.getLogger(__name__)
FILMS = "films"


@dataclass(frozen=True)
class _Task:
    """A video that is to be made and measured.

    Attributes:
        name: of its records; that of the clip where there is one video of each.
        number: of the clip.
        film: whether the video is kept.
    """

    name: str
    number: int
    seed: int
    film: bool


def evaluate(settings: EvaluationSettings, output: str | Path) -> dict[str, Any]:
    """Evaluates a checkpoint and writes `results.json`, `results.md`, `report.html` and plots.

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
        clips = open_clips(settings, pipeline.frame_size)
        _claim(output, settings, pipeline)
    with Instruments.open(settings, pipeline.device) as instruments:
        started = time.monotonic()
        measured = _measure_all(pipeline, clips, settings, instruments, output)
    measured = sum(gather_object([measured]))  # waits for all of them
    minutes = (time.monotonic() - started) / 60
    if not state.is_main_process:
        return {}
    tasks = _tasks(clips, settings)
    records = _read_records(output / "clips", tasks)
    results = summarize(records, settings, instruments.unavailable)
    results["films"] = _films(output, clips, tasks)
    results["run"] = _describe(pipeline, settings, state.num_processes, measured / minutes if measured else None)
    stills = {name: read_stills(output, name) for name in clips.names}
    write_report(results, output, {name: row for name, row in stills.items() if row})
    return results


def _measure_all(
    pipeline: AsymTalkerPipeline,
    clips: Clips,
    settings: EvaluationSettings,
    instruments: Instruments,
    output: Path,
) -> int:
    """Measures this process's videos that have no record yet; returns how many those were."""
    state = PartialState()
    own = _tasks(clips, settings)[state.process_index :: state.num_processes]
    todo = [task for task in own if not _is_measured(output, task, instruments)]
    bar = tqdm(
        desc="evaluate",
        unit="video",
        total=len(own),
        initial=len(own) - len(todo),
        dynamic_ncols=True,
        disable=not state.is_local_main_process,
    )
    for start in range(0, len(todo), settings.in_step):
        group = todo[start : start + settings.in_step]
        _measure_group(pipeline, clips, settings, instruments, output, group)
        bar.update(len(group))
    bar.close()
    return len(todo)


def _measure_group(
    pipeline: AsymTalkerPipeline,
    clips: Clips,
    settings: EvaluationSettings,
    instruments: Instruments,
    output: Path,
    group: list[_Task],
) -> None:
    """Makes videos in step, measures them and writes their records; a clip that cannot be used leaves a record why."""
    videos = {}
    for task in group:
        try:
            videos[task] = _open_video(task, clips, settings, output)
        except (ValueError, OSError) as error:
            _leave_out(task, error, output)
    try:
        found = measure_videos(pipeline, list(videos.values()), settings, instruments) if videos else []
    except ConnectionError:
        raise  # the face mesh's process has ended, which is not these clips' fault
    except (ValueError, OSError) as error:
        for task in videos:
            _leave_out(task, error, output)
        return
    for (task, video), (record, features) in zip(videos.items(), found, strict=True):
        if task.film and settings.seconds is None:
            write_real_film(video.clip, _film(output, task.name, real=True))
        target = _record_path(task, output)
        if features:
            np.savez(target.with_suffix(".npz"), **features)
        Image.fromarray(video.clip.frames[0]).save(target.with_suffix(".png"))
        # last: it says that the video is done
        _write_json(target, record | {"name": task.name, "person": clips.people[task.number]})


def _open_video(task: _Task, clips: Clips, settings: EvaluationSettings, output: Path) -> Video:
    clip = clips.clip(task.number)
    speech = clip.speech if settings.seconds is None else clips.long_speech(task.number, settings.seconds)
    return Video(clip, speech, task.seed, _film(output, task.name) if task.film else None)


def _leave_out(task: _Task, error: Exception, output: Path) -> None:
    logger.warning("left out %s: %s", task.name, error)
    _write_json(_record_path(task, output), {"name": task.name, "error": " ".join(str(error).split())})


def _record_path(task: _Task, output: Path) -> Path:
    return output / "clips" / f"{task.name}.json"


def _tasks(clips: Clips, settings: EvaluationSettings) -> list[_Task]:
    """The videos to be made, the first ones of all clips first."""
    return [
        _Task(f"{name}~{seed}" if repeat else name, number, seed, film=not repeat and number < settings.films)
        for repeat, seed in enumerate(range(settings.seed, settings.seed + settings.repeats))
        for number, name in enumerate(clips.names)
    ]


def _film(output: Path, name: str, real: bool = False) -> Path:
    folder = output / FILMS
    folder.mkdir(exist_ok=True)
    return folder / f"{name}{'-real' if real else ''}.mp4"


def _films(output: Path, clips: Clips, tasks: list[_Task]) -> dict[str, dict[str, str]]:
    """The videos that were kept, by clip: paths from `output`, of the generated one and of the real one."""
    kept = {}
    for task in tasks:
        paths = {"generated": _film(output, task.name), "real": _film(output, task.name, real=True)}
        if task.film and paths["generated"].is_file():
            found = {kind: str(path.relative_to(output)) for kind, path in paths.items() if path.is_file()}
            kept[clips.names[task.number]] = found
    return kept


def _is_measured(output: Path, task: _Task, instruments: Instruments) -> bool:
    """Whether a video's record holds all that can be measured here; one that failed is tried again."""
    path = _record_path(task, output)
    if not path.is_file() or (task.film and not _film(output, task.name).is_file()):
        return False
    record = json.loads(path.read_text())
    return set(instruments.metrics) <= set(record.get("metrics", ())) and "error" not in record


def _read_records(folder: Path, tasks: list[_Task]) -> list[dict[str, Any]]:
    records = []
    for name in (task.name for task in tasks):
        record = json.loads((folder / f"{name}.json").read_text())
        if "error" not in record:
            record["portrait"] = np.asarray(Image.open(folder / f"{name}.png"))
            if (folder / f"{name}.npz").is_file():
                record["features"] = dict(np.load(folder / f"{name}.npz"))
        records.append(record)
    return records


def _claim(output: Path, settings: EvaluationSettings, pipeline: AsymTalkerPipeline) -> None:
    """Notes whose records these are; raises ValueError if they are another evaluation's."""
    (output / "clips").mkdir(parents=True, exist_ok=True)
    # metrics and the number of clips, videos and films may grow from one run to the next, in any batch
    mine = asdict(replace(settings, metrics=("offline",), clips=None, repeats=1, batch=1, films=0, description=""))
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
