"""Speech: decode the sound of any file, or what a microphone gives, to mono samples at one rate."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import av
import librosa
import numpy as np

SpeechSource = str | Path | bytes | np.ndarray | tuple[int, np.ndarray]

LOCAL_ONLY = {"protocol_whitelist": "pipe"}
"""A playlist that poses as a recording must not make the decoder open other files or addresses."""


def read_speech(source: SpeechSource, sampling_rate: int = 16_000, max_seconds: float | None = None) -> np.ndarray:
    """Decodes, mixes down and resamples speech.

    Args:
        source: a file with sound (wav, mp3, m4a, ogg, flac, webm, or a video), its bytes, `(rate, samples)` as
            `gr.Audio` gives it, or mono samples that have the rate already. Samples are (n,) or (n, channels), floats
            in [-1, 1] or integers over their type's range.
        sampling_rate: of the result, in Hz.
        max_seconds: longer speech is refused before all of it is decoded.

    Returns:
        float32 (samples,) in [-1, 1].

    Raises:
        ValueError: there is no sound, or too much of it; the message says what to do.
        OSError: the file cannot be read.
    """
    if isinstance(source, np.ndarray):
        source = (sampling_rate, source)
    if isinstance(source, tuple):
        rate, samples = source
        samples = _mono(np.asarray(samples))
        _check_length(len(samples) / rate, max_seconds)
        if rate != sampling_rate and len(samples):
            samples = librosa.resample(samples, orig_sr=rate, target_sr=sampling_rate)
    else:
        samples = _decode(source, sampling_rate, max_seconds)
    if not len(samples):
        raise ValueError("The recording is empty: give a file or a recording with some speech in it.")
    return np.clip(np.nan_to_num(samples, posinf=1, neginf=-1), -1, 1).astype(np.float32, copy=False)


def _decode(source: str | Path | bytes, sampling_rate: int, max_seconds: float | None) -> np.ndarray:
    name = "The recording" if isinstance(source, bytes) else Path(source).name
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        try:
            with av.open(file, options=LOCAL_ONLY) as container:
                if not container.streams.audio:
                    raise ValueError(
                        f"{name} has no sound: give a recording of speech, or a video in which one speaks."
                    )
                if container.duration is not None:
                    _check_length(container.duration / av.time_base, max_seconds)
                return _collect(_resampled(container, sampling_rate), sampling_rate, max_seconds)
        except av.FFmpegError as error:
            raise ValueError(
                f"{name} could not be decoded as sound ({error.strerror}): give a wav, mp3, m4a, ogg, flac or webm."
            ) from error


def _resampled(container: av.container.InputContainer, sampling_rate: int) -> Iterator[np.ndarray]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling_rate)
    for frame in container.decode(audio=0):
        frame.pts = None  # some files count their time wrongly; the samples follow each other all the same
        for resampled in resampler.resample(frame):
            yield resampled.to_ndarray()[0]
    for resampled in resampler.resample(None):
        yield resampled.to_ndarray()[0]


def _collect(blocks: Iterator[np.ndarray], sampling_rate: int, max_seconds: float | None) -> np.ndarray:
    collected, count = [], 0
    for block in blocks:
        collected.append(block)
        count += len(block)
        _check_length(count / sampling_rate, max_seconds)
    return np.concatenate(collected) if collected else np.zeros(0, np.float32)


def _check_length(seconds: float, max_seconds: float | None) -> None:
    # Files that end within a codec's frame of the limit are what the user cut to the limit.
    if max_seconds is not None and seconds > max_seconds + 0.1:
        raise ValueError(
            f"The recording lasts {seconds:.0f} s or more; at most {max_seconds:g} s are allowed. Give a shorter one."
        )


def _mono(samples: np.ndarray) -> np.ndarray:
    """(n,) or (n, channels) of any number type to float32 (n,)."""
    if samples.dtype.kind == "u":
        half = (np.iinfo(samples.dtype).max + 1) / 2
        samples = (samples.astype(np.float64) - half) / half
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    elif samples.dtype.kind != "f":
        raise ValueError(f"Samples must be integers or floats, not {samples.dtype}.")
    if samples.ndim not in (1, 2):
        raise ValueError(f"Samples must have the shape (n,) or (n, channels), not {samples.shape}.")
    samples = np.nan_to_num(samples.astype(np.float32), posinf=1, neginf=-1)
    return samples if samples.ndim == 1 else samples.mean(axis=1)
