"""Runs a stage and sends it the signal of an ending machine in a step.

On several processes: python -m torch.distributed.run … -m tests.train.interrupted STAGE STEP ARGUMENTS.
"""

import importlib
import signal
import sys
from types import ModuleType

import pytest

from train.loop import Run


def run_until(stage: ModuleType, step: int, arguments: list[str]) -> None:
    complete_step = Run.complete_step

    def complete(run, **options):
        if run.step == step - 1:
            signal.raise_signal(signal.SIGTERM)
        complete_step(run, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "complete_step", complete)
        stage.main(arguments)


if __name__ == "__main__":
    run_until(importlib.import_module(f"train.{sys.argv[1]}"), int(sys.argv[2]), sys.argv[3:])
