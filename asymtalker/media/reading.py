"""A text that is being read aloud, for whoever listens meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from asymtalker.media.spool import SpeechSpool, StreamClosed
from asymtalker.media.synthesis import SpokenText, load_synthesizer

BEGINNING = 5.0
"""Seconds in which the first frames of a video are made: they need the machine more than the reader does."""
RESTS = (20.0, 3.0)
"""Seconds that it rests for a second of work, in the beginning and later, but half the time at most that is spoken."""
logger = logging.getLogger(__name__)


def read_aloud(text: SpokenText, sampling_rate: int, max_seconds: float | None = None) -> SpeechSpool:
    """Has a thread read a text, much faster than it is spoken; returns where its sound arrives.

    Closing that ends the thread. What is wrong with the text is raised by `SpeechSpool.available`.

    Args:
        sampling_rate, max_seconds: see `SpokenText.stream`.
    """
    spool = SpeechSpool.create()
    work = (spool, text, sampling_rate, max_seconds)
    threading.Thread(target=_fill, args=work, name="read aloud", daemon=True).start()
    return spool


def _fill(spool: SpeechSpool, text: SpokenText, sampling_rate: int, max_seconds: float | None) -> None:
    with suppress(StreamClosed):
        try:
            load_synthesizer(text.voice)
            began, worked = time.monotonic(), time.thread_time()
            for samples in text.stream(sampling_rate, max_seconds):
                spool.append(samples)
                rest = RESTS[time.monotonic() - began > BEGINNING] * (time.thread_time() - worked)
                time.sleep(min(rest, len(samples) / sampling_rate / 2))
                worked = time.thread_time()
        except StreamClosed:
            raise
        except ValueError as error:
            spool.fail(str(error))
        except Exception as error:  # or whoever listens would wait for ever
            logger.exception("A text could not be read")
            spool.fail(f"The text could not be read ({error}): leave out what is unusual in it, or give a recording.")
        else:
            spool.end()
