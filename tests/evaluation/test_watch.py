"""Time and memory of a video on its way."""

import mmap
import time

import numpy as np
import pytest
import torch

from asymtalker.evaluation.watch import Watch


def blocks(seconds, pause=0.0):
    for _ in range(round(seconds * 25 / 16)):
        time.sleep(pause)
        yield np.zeros((16, 8, 8, 3), np.uint8)


def test_the_time_of_making_is_counted_and_that_of_the_user_is_not():
    watch, used, begun = Watch(blocks(4, pause=0.01), torch.device("cpu"), interval=1.0), 0.0, time.perf_counter()
    for _ in watch:
        before = time.perf_counter()
        time.sleep(0.03)
        used += time.perf_counter() - before
    assert 0.06 <= watch.elapsed <= time.perf_counter() - begun - used
    assert 0.01 <= watch.first < watch.elapsed
    assert len(watch.pace) == 4 and max(watch.pace) < 1600


def test_memory_that_a_user_holds_is_seen_from_its_mark_on():
    watch, held = Watch(blocks(65), torch.device("cpu"), interval=10.0), []
    for number, _ in enumerate(watch):
        if number == 50:
            held.append(mmap.mmap(-1, 160_000_000))  # not of what other tests have used and freed
            np.frombuffer(held[0], np.uint8)[:] = 1
    assert list(watch.memory) == [10, 60]
    assert watch.memory[60] - watch.memory[10] == pytest.approx(160, abs=30)
