"""Joins sentences into one utterance, with pauses between them and an even loudness."""

from __future__ import annotations

import dataclasses

import numpy as np

from asymtalker.chunks import SAMPLING_RATE
from train.animation.performance import Utterance

LEVEL = 0.1
"""Root mean square of the loud parts, to which speech is brought."""
PAUSE = "#"
"""Is a pause in every phone set."""
FLOOR_DB = (-80.0, -55.0)
"""Of the noise that a recording always has, drawn uniformly."""
FADE = 0.005


def join(utterances: list[Utterance], rng: np.random.Generator) -> Utterance:
    """One utterance of several of the same voice, in silence of 0.2 to 1 s at both ends and 0.1 to 0.9 s between."""
    pieces, phones, spans, time = [], [], [], 0.0
    for index, utterance in enumerate(utterances):
        pause = np.zeros(int(rng.uniform(0.1 if index else 0.2, 0.9) * SAMPLING_RATE), np.float32)
        start = time + len(pause) / SAMPLING_RATE
        pieces += [pause, faded(even_loudness(utterance.speech))]
        phones += [PAUSE, *utterance.phones]
        spans += [(time, start), *(np.asarray(utterance.spans).reshape(-1, 2) + start)]
        time = start + len(utterance.speech) / SAMPLING_RATE
    pieces.append(np.zeros(int(rng.uniform(0.2, 1.0) * SAMPLING_RATE), np.float32))
    phones.append(PAUSE)
    spans.append((time, time + len(pieces[-1]) / SAMPLING_RATE))
    speech = np.concatenate(pieces)
    floor = 10 ** (rng.uniform(*FLOOR_DB) / 20)
    speech += floor * rng.standard_normal(len(speech), dtype=np.float32)
    text = " ".join(utterance.text for utterance in utterances)
    return dataclasses.replace(utterances[0], speech=speech, phones=phones, spans=np.array(spans), text=text)


def even_loudness(speech: np.ndarray) -> np.ndarray:
    """Speech whose loud parts have the root mean square `LEVEL`, without clipping."""
    blocks = speech[: len(speech) // 320 * 320].reshape(-1, 320)
    levels = np.sqrt(np.square(blocks).mean(1))
    loud = np.sqrt(np.square(levels[levels > 0.3 * levels.max()]).mean())
    return (speech * min(LEVEL / loud, 0.98 / np.abs(speech).max())).astype(np.float32)


def faded(speech: np.ndarray) -> np.ndarray:
    """Speech without a click at either end."""
    ramp = np.linspace(0, 1, int(FADE * SAMPLING_RATE), dtype=np.float32)
    envelope = np.ones(len(speech), np.float32)
    envelope[: len(ramp)] = ramp
    envelope[-len(ramp) :] = ramp[::-1]
    return speech * envelope
