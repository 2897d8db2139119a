"""Encoded windows on disk: what a large autoencoder and speech encoder make of a clip is made once, and used again."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from train.data import StoredWindows, StreamedWindows

Batch = dict[str, Tensor]
NUMBER = "number"
"""A batch that is still to be encoded has its number in the cache under this name."""


class CachedWindows:
    """Batches of windows, of which the first ones are kept encoded; after the last of them comes the first again.

    Batches that are not there yet come as their source gives them, with their number; `store` puts them there.

    Args:
        windows: the source.
        folder: of the cache, shared by runs and processes.
        count: batches of a process that are kept.
        passes: batches of a process in a step of the optimiser.
        process: number of this process.
        made_with: settings that the encoded windows depend on.

    Raises:
        ValueError: the cache was made with other settings.
    """

    def __init__(
        self,
        windows: StoredWindows | StreamedWindows,
        folder: str | Path,
        count: int,
        passes: int,
        process: int,
        made_with: dict[str, Any],
    ) -> None:
        self.sample = windows.sample
        self._windows, self._folder = windows, Path(folder)
        self._count, self._passes, self._process = count, passes, process
        self._check(made_with)

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches after `step` steps of the optimiser: encoded ones, or raw ones with their number."""
        index, raw = step * self._passes, None
        while True:
            number = index % self._count
            if self._path(number).exists():
                yield {name: _wide(values) for name, values in load_file(self._path(number)).items()}
            else:
                raw = self._windows.batches(number // self._passes) if raw is None else raw
                yield next(raw) | {NUMBER: torch.tensor(number)}
            index += 1

    def store(self, number: Tensor, encoded: Batch) -> None:
        """Keeps a batch, in half precision where it is of floats."""
        path = self._path(int(number))
        beside = path.with_suffix(".part")
        save_file({name: _narrow(values) for name, values in encoded.items()}, beside)
        beside.replace(path)

    def state_dict(self) -> dict[str, Any]:
        return self._windows.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._windows.load_state_dict(state)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._process}-{number:07d}.safetensors"

    def _check(self, made_with: dict[str, Any]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        record = self._folder / "made_with.json"
        wanted = json.loads(json.dumps(made_with))
        if not record.exists():
            record.write_text(json.dumps(wanted, indent=2))
        found = json.loads(record.read_text())
        other = [
            f"{name}: {found.get(name)!r}, not {value!r}" for name, value in wanted.items() if found.get(name) != value
        ]
        if other:
            raise ValueError(f"The cache {self._folder} was made with {'; '.join(other)}. Name another folder.")


def relevant_settings(settings: Any, networks: dict[str, Any]) -> dict[str, Any]:
    """What encoded windows depend on: how they are drawn, and the configurations of what encodes them."""
    names = ("dataset", "split", "holdout", "size", "clips", "streaming", "open_clips", "passes", "seed", "batch_size")
    names += ("accumulation", "cold_start", "reference_reach", "quiet_reference", "jitter", "reference_mode")
    values = dataclasses.asdict(settings)
    configs = {
        role: {key: value for key, value in dict(network.config).items() if not key.startswith("_")}
        for role, network in networks.items()
    }
    return {name: values[name] for name in names} | configs


def _narrow(values: Tensor) -> Tensor:
    return (values.half() if values.is_floating_point() else values).cpu().contiguous()


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.is_floating_point() else values
