"""What is trained on: clips of a dataset, or render-free tracks, as lists or as a source without end."""

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from accelerate import PartialState

from train.clips import StreamedClips, load_clips
from train.config import DataSettings
from train.tracks import load_tracks
from train.views import Recording


def split_recordings(settings: DataSettings) -> tuple[list[Recording], list[Recording]]:
    """The stored clips, or the tracks, to train on, and those held out.

    Raises:
        ValueError: the dataset cannot be used.
    """
    with PartialState().local_main_process_first():  # the others find the store filled
        if settings.face_model is not None:
            recordings = load_tracks(settings.dataset, settings.face_model)
        else:
            recordings = load_clips(settings.dataset, settings.split, settings.size, settings.store)
    recordings = recordings[: settings.clips]
    if not settings.holdout:
        return recordings, []
    return [r for n, r in enumerate(recordings) if n % settings.holdout], recordings[:: settings.holdout]


def few_recordings(settings: DataSettings, frames: int) -> tuple[list[Recording], list[Recording]]:
    """As `split_recordings`; of a stream, as many clips as it keeps open.

    Raises:
        ValueError: the dataset cannot be used.
    """
    if not settings.streaming:
        return split_recordings(settings)
    stream = StreamedClips(settings, frames)
    held_out = stream.held_out()
    return [stream.clip(number) for number in range(settings.open_clips)], [held_out] if held_out else []


class RecordingSource(Protocol):
    """Recordings by number, from 0; one that was asked for stays until `keep` lets it go."""

    def clip(self, number: int) -> Recording: ...

    def keep(self, numbers: Iterable[int]) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class RandomRecordings:
    """Recordings in a random order without end; the seed and a number tell which.

    Raises:
        ValueError: all of them are shorter than `frames`.
    """

    def __init__(self, recordings: list[Recording], frames: int, seed: tuple[int, ...]) -> None:
        self._recordings = [recording for recording in recordings if len(recording) >= frames]
        if not self._recordings:
            raise ValueError(f"All recordings are shorter than {frames} frames.")
        self._seed = seed

    def clip(self, number: int) -> Recording:
        return self._recordings[np.random.default_rng((*self._seed, number, 1)).integers(len(self._recordings))]

    def keep(self, numbers: Iterable[int]) -> None:
        """Nothing to do: stored recordings take no memory."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the number tells the recording."""


def open_recordings(
    settings: DataSettings, frames: int, process: int, processes: int
) -> tuple[RecordingSource, Recording]:
    """The recordings of a process, of at least so many frames, and one to make samples of, held out if any is.

    Raises:
        ValueError: the dataset cannot be used.
    """
    if settings.streaming:
        stream = StreamedClips(settings, frames, process, processes)
        return stream, stream.held_out() or stream.clip(0)
    recordings, held_out = split_recordings(settings)
    return RandomRecordings(recordings, frames, (settings.seed, process)), (held_out or recordings)[0]
