"""Runs a stage and sends it the signal of an ending machine in a step."""

import importlib
import signal

import pytest

from train.loop import Run


def run_until(stage: str, step: int, arguments: list[str]) -> None:
    """Runs train/STAGE.py with these arguments, until this step."""
    complete_step = Run.complete_step

    def complete(run, **options):
        if run.step == step - 1:
            signal.raise_signal(signal.SIGTERM)
        complete_step(run, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "complete_step", complete)
        importlib.import_module(f"train.{stage}").main(arguments)
