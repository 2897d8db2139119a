"""Files of checkpoints: fetched, mapped into memory, checked against a model, and written beside before they count."""

import json
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFETENSORS_WEIGHTS_NAME
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, RepositoryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

NAMED = 5
"""So many names of tensors are given in an error; the others are counted."""


def fetch(source: str | Path, patterns: Sequence[str]) -> Path:
    """Finds a checkpoint: a folder as it is, or the files of a Hub repository that match, downloaded on first use.

    Raises:
        ValueError: `source` is neither, or its owner has to let you in first.
        OSError: the Hub cannot be reached.
    """
    if Path(source).is_dir():
        return Path(source)
    try:
        return Path(snapshot_download(str(source), allow_patterns=list(patterns)))
    except GatedRepoError as error:
        page = f"https://huggingface.co/{source}"
        raise ValueError(f"{source} is gated: accept its terms at {page}, then `hf auth login`.") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"{str(source)!r} is neither a folder nor a repository on the Hub (a private one needs `hf auth login`)."
        ) from error
    except (OSError, HTTPError) as error:
        raise OSError(
            f"{source} could not be downloaded ({type(error).__name__}: {error}). Try again with a network, or give "
            "a folder that holds its files."
        ) from error


def find(root: Path, path: str) -> Path:
    """A file or folder that a checkpoint must have.

    Raises:
        ValueError: it is not there.
    """
    if not (root / path).exists():
        there = ", ".join(sorted(entry.name for entry in root.iterdir())) or "nothing"
        raise ValueError(f"{root} has no {path} (there is: {there}): is it the right source, and all of it?")
    return root / path


def read_config(folder: Path, keys: Sequence[str]) -> dict[str, Any]:
    """These keys of a model's config.json.

    Raises:
        ValueError: the file is missing or broken, or lacks one of them.
    """
    path = find(folder, "config.json")
    try:
        config = json.loads(path.read_text())
        return {key: config[key] for key in keys}
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}): download it again.") from error
    except KeyError as error:
        raise ValueError(f"{path} does not say {error}: it is not the configuration of such a model.") from error


def open_weights(path: Path) -> dict[str, Tensor]:
    """Maps tensors into memory by name; they are read from the file when they are used.

    Args:
        path: the folder of a diffusers model (one file or shards), or a file of safetensors or of torch's own format.

    Raises:
        ValueError: a file is missing, or incomplete.
    """
    if path.is_dir():
        return _open_folder(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}): delete it and download it again.") from error


def _open_folder(folder: Path) -> dict[str, Tensor]:
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        return open_weights(find(folder, SAFETENSORS_WEIGHTS_NAME))
    shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        tensors |= open_weights(find(folder, shard))
    return tensors


def check_weights(model: ModelMixin, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Compares tensors with a model's own, by name and shape; both may be on the meta device.

    Raises:
        ValueError: naming what is missing, what has no place in the model, and what has another shape.
    """
    expected = model.state_dict()
    wrong = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    faults = {
        "missing": [name for name in expected if name not in tensors],
        "unknown": [name for name in tensors if name not in expected],
        "of another shape": wrong,
    }
    if any(faults.values()):
        found = "; ".join(f"{kind}: {_listed(names)}" for kind, names in faults.items() if names)
        raise ValueError(f"{origin} is not the checkpoint of a {type(model).__name__} as configured. {found}.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def write_model(model: ModelMixin, tensors: Mapping[str, Tensor], folder: Path, origin: str) -> None:
    """Writes a model's folder from its configuration and from mapped tensors, which never are in memory together.

    Args:
        model: on the meta device.
        tensors: by the model's own names.
        origin: where they come from, for errors.

    Raises:
        ValueError: see `check_weights`.
        OSError: they cannot be written, as when the disk is full.
    """
    check_weights(model, tensors, origin)
    model.save_config(folder)
    try:
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()},
            folder / SAFETENSORS_WEIGHTS_NAME,
            metadata={"format": "pt"},
        )
    except SafetensorError as error:
        raise OSError(f"{folder} could not be written: {error}") from error


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder to fill that becomes `output` when all went well, and vanishes when not.

    Raises:
        ValueError: `output` is there already.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ValueError(f"{output} exists already: remove it, or choose another --output.")
    partial = output.with_name(f".{output.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
