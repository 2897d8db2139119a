"""Processes that begin with the libraries imported: importing them takes each longer than what most tests do."""

import contextlib
import multiprocessing
import os
import runpy
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from tests.train.tiny_stage import ROOT

# A server imports them once, and every process is a fork of it: as fresh as one of its own, for it has run nothing.
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["tests.train.interrupted", "tests.train.sharded", "train.akd"])


def run_two(target: Callable, *arguments: object, log: Path) -> None:
    """Runs `target` on two processes that find each other as those of `torch.distributed.run` do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
    run_all([(target, shared | {"RANK": rank, "LOCAL_RANK": rank}, *arguments) for rank in (0, 1)], log)


def run_script(path: str, *arguments: str, log: Path) -> str:
    """What `python path …` says, run in the repository's root."""
    run_all([(_as_script, {}, path, *arguments)], log)
    return log.with_suffix(".0").read_text()


def run_all(calls: list[tuple], log: Path) -> None:
    """Runs (function, environment, arguments…) side by side; fails with what they said where one fails."""
    logs = [log.with_suffix(f".{number}") for number in range(len(calls))]
    processes = [START.Process(target=_begin, args=(file, *call)) for file, call in zip(logs, calls, strict=True)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    said = "\n".join(file.read_text()[-5000:] for file in logs)
    assert [process.exitcode for process in processes] == [0] * len(processes), said


def _begin(log: Path, function: Callable, environment: dict, *arguments: object) -> None:
    os.environ.update({"ACCELERATE_USE_CPU": "true"} | {name: str(value) for name, value in environment.items()})
    torch.set_num_threads(1)
    with open(log, "w") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        try:
            function(*arguments)
        except BaseException:
            traceback.print_exc()
            raise


def _as_script(path: str, *arguments: str) -> None:
    """Python gives a script the folder it is in, not the one it is called in."""
    own = ("train", "asymtalker", "tests")
    for name in [name for name in sys.modules if name.split(".")[0] in own]:
        del sys.modules[name]
    os.chdir(ROOT)
    sys.path[:] = [str(ROOT / Path(path).parent), *(place for place in sys.path if place not in ("", str(ROOT)))]
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")
