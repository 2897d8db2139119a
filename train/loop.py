"""What the teacher's and the student's training loops share: limits, schedule, saving and resuming."""

import ctypes
import json
import logging
import math
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, TypeVar

import torch
from accelerate import Accelerator, DistributedType
from accelerate.utils import broadcast, send_to_device, set_seed
from diffusers import ModelMixin
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.tensor import DTensor

from asymtalker import AsymTalkerPipeline
from train.clips import Clip
from train.config import RunSettings, start_logging
from train.hub import STATE, HubPusher, fetch_state
from train.report import write_card, write_sample

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
Batch = TypeVar("Batch")

FINAL_RATE = 0.02
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""


class Stateful(Protocol):
    """What a process has to remember beside its networks."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Run:
    """One stage of training: knows how far it is, saves it whole, and resumes where it stopped.

    SIGTERM and SIGINT end it as `max_steps` does, saved and clean; a second one ends it at once.

    Args:
        accelerator: has prepared what is trained.
        settings: limits and places.
        pipeline: what is saved for use.
        trained: the part of the pipeline that is trained; its weights are averaged, and saved so.
        sample: clip that sample videos are made of.
        own: what this process alone knows, such as its rollouts.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        settings: RunSettings,
        pipeline: AsymTalkerPipeline,
        trained: torch.nn.Module,
        sample: Clip,
        own: Stateful | None = None,
    ) -> None:
        self.step = 0
        self._sample = sample
        self._accelerator, self._settings = accelerator, settings
        self._pipeline, self._trained, self._own = pipeline, trained, own
        self._ema = EMAModel(trained.parameters(), decay=settings.ema_decay, use_ema_warmup=True, power=0.75)
        self._output = Path(settings.output)
        self._earlier_seconds = 0.0
        self._begin = self._saved = self._logged = time.monotonic()
        self._waited = 0.0
        self._sums: dict[str, list[float]] = {}
        self._told_to_end = False
        self._handlers: dict[int, Any] = {}
        self._pusher = None
        if settings.hub_model_id and accelerator.is_main_process:
            self._pusher = explained(HubPusher, settings.hub_model_id, self._branch, settings.hub_private)

    @property
    def seconds(self) -> float:
        """Wall-clock seconds of training, over all resumed runs."""
        return self._earlier_seconds + time.monotonic() - self._begin

    @property
    def progress(self) -> float:
        """Share of the run that is done, by steps or by time, whichever is further; alike on all processes."""
        done = self.step / self._settings.max_steps
        if self._settings.max_minutes is not None:
            elapsed = torch.tensor(self.seconds, device=self._accelerator.device)
            elapsed = self._accelerator.reduce(elapsed, reduction="mean").item()
            done = max(done, elapsed / (60 * self._settings.max_minutes))
        return min(done, 1.0)

    @property
    def finished(self) -> bool:
        """Whether the run is over: it is done, or one of its processes was told to end; alike on all processes."""
        told = torch.tensor(float(self._told_to_end), device=self._accelerator.device)
        return self.progress >= 1 or self._accelerator.reduce(told, reduction="sum").item() > 0

    def passes(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Batches on the device until the run is over; the time that is waited for them is counted."""
        batches = iter(batches)
        while not (self._accelerator.sync_gradients and self.finished):  # never in the middle of a step
            begin = time.monotonic()
            batch = next(batches)
            self._waited += time.monotonic() - begin
            yield send_to_device(batch, self._accelerator.device, non_blocking=True)

    def complete_step(self, averages: bool = True) -> None:
        """Counts a step once all its passes are made: averages the weights if they changed, logs, saves."""
        if not self._accelerator.sync_gradients:
            return
        if averages:
            self._ema.step(self._trained.parameters())
        self.step += 1
        if self.step % self._settings.log_steps == 0:
            self._write_log()
        self._keep()

    def learning_rate(self, base: float) -> float:
        """Linear warm-up, then a cosine down to a fiftieth."""
        warmup = min(1.0, (self.step + 1) / max(1, self._settings.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return base * warmup * (FINAL_RATE + (1 - FINAL_RATE) * cosine)

    def log(self, **values: float | Tensor | None) -> None:
        """Collects figures of a pass; their means are logged every `log_steps` steps."""
        for name, value in values.items():
            if value is not None:
                self._sums.setdefault(name, []).append(float(value))

    def _keep(self) -> None:
        """Saves, makes a sample and pushes, where it is time to; alike on all processes."""
        settings = self._settings
        samples = bool(settings.sample_steps) and self.step % settings.sample_steps == 0
        pushes = bool(settings.hub_model_id) and self.step % settings.push_steps == 0
        waited = torch.tensor(time.monotonic() - self._saved, device=self._accelerator.device)
        if samples or pushes or broadcast(waited).item() > 60 * settings.save_minutes:
            self.save()
        if self._accelerator.is_main_process:
            if samples:
                self._write_sample()
            if pushes:
                self._push()
        self._accelerator.wait_for_everyone()

    def save(self) -> None:
        """Saves the state to resume from, and the averaged weights as a pipeline folder."""
        begin = time.monotonic()
        fresh = self._output / "state.new"
        self._accelerator.save_state(str(fresh))
        if self._own is not None:
            torch.save(self._own.state_dict(), fresh / self._own_file)
        if self._accelerator.is_main_process or self._sharded:
            torch.save(local_average(self._ema), fresh / self._average_file)
        weights = averaged_weights(self._pipeline.transformer, self._trained, self._ema)
        self._accelerator.wait_for_everyone()
        if self._accelerator.is_main_process:
            (fresh / "run.json").write_text(json.dumps({"step": self.step, "seconds": self.seconds}))
            _replace_folder(fresh, self._output / "state")
            save_pipeline(self._pipeline, weights, self._output / "pipeline")
        self._accelerator.wait_for_everyone()
        self._logged += time.monotonic() - begin  # is not counted as training
        self._saved = time.monotonic()

    def end(self) -> None:
        """Saves what there is, makes a sample of it, pushes it, and ends the run."""
        complete = self.progress >= 1
        self.save()
        self._restore_handlers()
        if self._accelerator.is_main_process:
            if self._settings.sample_steps:
                self._write_sample()
            if self._pusher is not None:
                self._push()
                if complete:
                    self._pusher.push(self._shown, f"The pipeline after {self.step} steps", branch="main")
                self._pusher.finish()
        self._accelerator.end_training()

    def resume(self) -> None:
        """Takes up the last saved state, if there is one. From here on a signal ends the run cleanly."""
        self._handlers = {number: signal.signal(number, self._end) for number in (signal.SIGTERM, signal.SIGINT)}
        state = self._output / "state"
        if self._accelerator.is_main_process:
            _restore_folder(state)
            if self._settings.resume_from == "hub":
                explained(fetch_state, self._settings.hub_model_id, self._branch, state)
        self._accelerator.wait_for_everyone()
        if not (state / "run.json").exists():
            return
        try:
            self._accelerator.load_state(str(state))
        except (RuntimeError, ValueError) as error:
            raise SystemExit(
                f"{state} is not of these networks: {error}\nName another output, or give the settings of that run."
            ) from error
        saved = json.loads((state / "run.json").read_text())
        self.step, self._earlier_seconds = saved["step"], saved["seconds"]
        self._begin = self._logged = time.monotonic()
        device = self._accelerator.device
        # Of several processes on a CPU, each has a number, which torch.load does not know.
        place = {"map_location": "cpu" if device.type == "cpu" else device, "weights_only": True}
        load_local_average(self._ema, torch.load(state / self._average_file, **place))
        if self._own is not None:
            self._own.load_state_dict(torch.load(state / self._own_file, **place))
        logger.info("resumed at step %d, after %.1f min", self.step, self._earlier_seconds / 60)

    @property
    def _branch(self) -> str:
        return self._settings.hub_branch or self._output.name

    @property
    def _shown(self) -> dict[str, Path]:
        folders = {"": self._output / "pipeline", ".": self._output / "README.md", "samples": self._output / "samples"}
        return {place: folder for place, folder in folders.items() if folder.exists()}

    def _write_log(self) -> None:
        means = {name: sum(figures) / len(figures) for name, figures in self._sums.items()}
        elapsed, steps = time.monotonic() - self._logged, self._settings.log_steps
        # Of the loop without saving; `waiting` is the share of it in which there was no batch yet.
        means["samples_per_second"] = steps * self._settings.batch_size / elapsed
        means["waiting"] = self._waited / elapsed
        self._sums.clear()
        self._accelerator.log(means, step=self.step)
        if self._accelerator.is_main_process:
            line = "  ".join(f"{name} {value:.4g}" for name, value in means.items())
            logger.info("step %d  %.1f min  %s", self.step, self.seconds / 60, line)
            with open(self._output / "log.jsonl", "a") as file:
                file.write(json.dumps({"step": self.step, "minutes": round(self.seconds / 60, 2), **means}) + "\n")
        self._logged, self._waited = time.monotonic(), 0.0

    def _write_sample(self) -> None:
        target = self._output / "samples" / f"step-{self.step:07d}.mp4"
        write_sample(self._output / "pipeline", self._sample, target, self._accelerator.device)

    def _push(self) -> None:
        if self._pusher.busy:
            logger.info("an earlier push is still under way: this one is left out")
            return
        devices = f"{self._accelerator.num_processes} × {self._accelerator.device.type}"
        stage = type(self._settings).__name__.removesuffix("Settings")
        write_card(self._output / "README.md", self._settings, stage, self.step, self.seconds, devices)
        self._pusher.push(self._shown | {STATE: self._output / "state"}, f"Step {self.step}")

    @property
    def _sharded(self) -> bool:
        return self._accelerator.distributed_type is DistributedType.FSDP

    @property
    def _average_file(self) -> str:
        return f"average_{self._accelerator.process_index}.pt" if self._sharded else "average.pt"

    @property
    def _own_file(self) -> str:
        return f"process_{self._accelerator.process_index}.pt"

    def _end(self, number: int, frame: FrameType | None) -> None:
        logger.info("told to end: this step is finished, then all is saved")
        self._told_to_end = True
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def start(settings: RunSettings, seed: int) -> Accelerator:
    """Starts accelerate with logging and seeds; every process draws its own noise."""
    keep_freed_memory()
    start_logging()
    precision = settings.mixed_precision or "no"  # YAML reads a bare no as false
    accelerator = Accelerator(
        mixed_precision=precision,
        gradient_accumulation_steps=settings.accumulation,
        log_with=settings.tracker,
        project_dir=settings.output,
    )
    explained(settings.samples, accelerator.num_processes)
    if settings.tracker:
        accelerator.init_trackers("asymtalker")
    set_seed(seed, device_specific=True)
    Path(settings.output).mkdir(parents=True, exist_ok=True)
    return accelerator


def open_pipeline(source: str, size: int | None = None) -> AsymTalkerPipeline:
    """Loads the pipeline that a stage starts from, a folder or a Hub id, for frames of so many pixels a side, or any.

    Raises:
        SystemExit: there is none, or it is of another architecture or frame size; says what to do.
    """
    try:
        pipeline = AsymTalkerPipeline.from_pretrained(source)
    except (OSError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise SystemExit(
            f"{source} is not a checkpoint to start from: {error}\nGive the `pipeline` folder of an earlier stage, or "
            "the Hub id of a checkpoint of AsymTalker."
        ) from error
    if size is not None and pipeline.renderer is None and pipeline.frame_size != (size, size):
        made = " × ".join(map(str, pipeline.frame_size))
        raise SystemExit(f"{source} makes frames of {made} pixels, and size is {size}: they have to be the same.")
    return pipeline


def keep_freed_memory() -> None:
    """Tells glibc to keep large blocks when they are freed: fetching them anew costs more than a CPU's arithmetic."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
            mallopt(parameter, 2**31 - 1)


def prepare_transformer(transformer: ModelMixin, settings: RunSettings, device: torch.device) -> ModelMixin:
    """Makes a network ready to be trained under these settings."""
    transformer.to(device=device, dtype=torch.float32)
    if settings.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    if settings.compile:
        transformer.compile_repeated_blocks()
    return transformer


def averaged_weights(transformer: ModelMixin, trained: torch.nn.Module, ema: EMAModel) -> dict[str, Tensor]:
    """The transformer's weights with those of `trained`, a part of it or all, averaged; whole where they are sharded.

    All processes have to call it.
    """
    parameters = list(trained.parameters())
    ema.store(parameters)
    ema.copy_to(parameters)
    state = get_model_state_dict(transformer, options=StateDictOptions(full_state_dict=True))
    state = {name: weights.detach().to("cpu", copy=True) for name, weights in state.items()}
    ema.restore(parameters)
    return state


def save_pipeline(pipeline: AsymTalkerPipeline, weights: dict[str, Tensor], folder: Path) -> None:
    """Writes the pipeline with these weights of its transformer, beside and then renamed."""
    trained = pipeline.transformer
    whole = type(trained).from_config(trained.config)
    whole.load_state_dict(weights)
    beside = folder.with_name(folder.name + ".new")
    pipeline.register_modules(transformer=whole)
    try:
        pipeline.save_pretrained(beside)
    finally:
        pipeline.register_modules(transformer=trained)
    _replace_folder(beside, folder)


def local_average(ema: EMAModel) -> dict[str, Any]:
    """The state of averaged weights as this process has them: of sharded ones, its own shards."""
    state = ema.state_dict()
    return state | {"shadow_params": [_local(weights) for weights in state["shadow_params"]]}


def load_local_average(ema: EMAModel, state: dict[str, Any]) -> None:
    """Takes up `local_average`."""
    for weights, saved in zip(ema.shadow_params, state["shadow_params"], strict=True):
        _local(weights).copy_(saved)
    ema.load_state_dict({name: value for name, value in state.items() if name != "shadow_params"})


def _local(weights: Tensor) -> Tensor:
    return weights.to_local() if isinstance(weights, DTensor) else weights


def update(
    accelerator: Accelerator,
    network: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    rate: float,
    max_grad_norm: float,
) -> Tensor | None:
    """One optimiser step, left out where the gradient is not finite.

    Returns:
        The gradient's norm before clipping; None in a pass that only adds to the gradient.
    """
    if not accelerator.sync_gradients:
        return None
    norm = accelerator.clip_grad_norm_(network.parameters(), max_grad_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    if norm.isfinite() or accelerator.scaler is not None:  # fp16's scaler leaves it out itself, and has to know
        optimizer.step()
    optimizer.zero_grad()
    return norm


def explained(action: Callable[..., Result], *args: Any) -> Result:
    """Ends with the reason, not with a traceback, where the user has to do something."""
    try:
        return action(*args)
    except ValueError as error:
        raise SystemExit(str(error)) from error


def _replace_folder(source: Path, target: Path) -> None:
    """Renames a finished folder over an older one; a kill leaves one of them whole, see `_restore_folder`."""
    old = _aside(target)
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    source.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _restore_folder(target: Path) -> None:
    """Puts the older folder back where a kill came before the finished one took its place."""
    if not target.exists() and _aside(target).exists():
        _aside(target).rename(target)


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")
