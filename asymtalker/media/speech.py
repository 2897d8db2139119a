"""Speech: decode the sound of any file, or what a microphone gives, to mono samples at one rate."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from pathlib import Path

import av
import librosa
import numpy as np
from av.stream import Disposition

SpeechSource = str | Path | bytes | np.ndarray | tuple[int, np.ndarray]

FORMATS = "aac,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,w64,wav"
SAFELY = {
    # A playlist that poses as a recording must not make the decoder open other files or addresses.
    "options": {"protocol_whitelist": "pipe", "format_whitelist": FORMATS},
    "metadata_errors": "replace",  # tags are often in other encodings than UTF-8
}
"""How `av.open` is to be called on files of strangers."""
CODEC_PADDING = 0.1  # seconds; lossy codecs fill their last frame, with no more than this
PROBING_RATE = 8_000  # Hz; lengths need no more
LARGEST_OFFSET = 60.0  # seconds between the starts of picture and sound; beyond, the file's clock is wrong


def read_speech(source: SpeechSource, sampling_rate: int = 16_000, max_seconds: float | None = None) -> np.ndarray:
    """Decodes, mixes down and resamples speech.

    Args:
        source: a file with sound (wav, mp3, m4a, ogg, flac, webm, or a video), its bytes, `(rate, samples)` as
            `gr.Audio` gives it, or mono samples that have the rate already. Samples are (n,) or (n, channels), floats
            in [-1, 1] or integers over their type's range.
        sampling_rate: of the result, in Hz.
        max_seconds: longer speech is refused before all of it is decoded.

    Returns:
        float32 (samples,) in [-1, 1]. Beside a picture, sample 0 belongs to the first frame: sound that starts later
        has silence before it.

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


class SpeechResampler:
    """Brings sound that comes in pieces to one rate, without a seam between them.

    Args:
        sampling_rate: of the result, in Hz.
    """

    def __init__(self, sampling_rate: int = 16_000) -> None:
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling_rate)
        self._rate: int | None = None

    def push(self, rate: int, samples: np.ndarray) -> np.ndarray:
        """Takes the next piece, (n,) or (n, channels) of any number type; returns what is ready, float32 (samples,).

        Raises:
            ValueError: the rate is another one than before.
        """
        if self._rate not in (None, rate):
            raise ValueError(f"The sound changed from {self._rate} Hz to {rate} Hz: start the recording again.")
        self._rate = rate
        frame = av.AudioFrame.from_ndarray(_mono(np.asarray(samples))[None], format="flt", layout="mono")
        frame.sample_rate = rate
        return self._joined(self._resampler.resample(frame))

    def flush(self) -> np.ndarray:
        """What is still held at the end, float32 (samples,)."""
        return self._joined(self._resampler.resample(None) if self._rate else [])

    def _joined(self, frames: list[av.AudioFrame]) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])


def probe_speech(source: str | Path, max_seconds: float | None = None) -> float:
    """How long a file's sound is in seconds, as the file says; all of it is decoded only where it does not say.

    Raises:
        ValueError: there is no sound, or too much of it; the message says what to do.
        OSError: the file cannot be read.
    """
    with _opened(source, max_seconds) as container:
        if container.duration is not None:
            return container.duration / av.time_base
    return len(read_speech(source, PROBING_RATE, max_seconds)) / PROBING_RATE


def _decode(source: str | Path | bytes, sampling_rate: int, max_seconds: float | None) -> np.ndarray:
    with _opened(source, max_seconds) as container:
        samples = _collect(_resampled(container, sampling_rate), sampling_rate, max_seconds)
        samples = _without_padding(samples, container.streams.audio[0], sampling_rate)
        return _from_first_frame(samples, container, sampling_rate)


@contextmanager
def _opened(source: str | Path | bytes, max_seconds: float | None) -> Iterator[av.container.InputContainer]:
    """A file that has sound, and not too much of it as far as it says; what goes wrong with it is explained."""
    name = "The recording" if isinstance(source, bytes) else Path(source).name
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        try:
            with av.open(file, **SAFELY) as container:
                if not container.streams.audio:
                    raise ValueError(
                        f"{name} has no sound: give a recording of speech, or a video in which one speaks."
                    )
                if container.duration is not None:
                    _check_length(container.duration / av.time_base, max_seconds)
                yield container
        except av.FFmpegError as error:
            raise ValueError(
                f"{name} could not be decoded as sound ({error.strerror}): give a wav, mp3, m4a, ogg, flac or webm."
            ) from error


def _resampled(container: av.container.InputContainer, sampling_rate: int) -> Iterator[np.ndarray]:
    # Recordings that were joined end to end may change their rate or channels on the way.
    for _, frames in groupby(container.decode(audio=0), _sound_format):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=sampling_rate)
        for frame in chain(frames, [None]):  # None: what the resampler still holds
            if frame is not None:
                frame.pts = None  # some files count their time wrongly; the samples follow each other all the same
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray()[0]


def moving_pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams, without the covers that music files carry."""
    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def _sound_format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _collect(blocks: Iterator[np.ndarray], sampling_rate: int, max_seconds: float | None) -> np.ndarray:
    collected, count = [], 0
    for block in blocks:
        collected.append(block)
        count += len(block)
        _check_length(count / sampling_rate, max_seconds)
    return np.concatenate(collected) if collected else np.zeros(0, np.float32)


def _without_padding(samples: np.ndarray, stream: av.AudioStream, sampling_rate: int) -> np.ndarray:
    """Cuts off what the codec added at the end, where the file says how long the sound is."""
    if stream.duration is None:
        return samples
    count = round(stream.duration * stream.time_base * sampling_rate)
    return samples[:count] if 0 < len(samples) - count < CODEC_PADDING * sampling_rate else samples


def _from_first_frame(samples: np.ndarray, container: av.container.InputContainer, sampling_rate: int) -> np.ndarray:
    """Moves the sound of a video so that it starts with the picture."""
    streams = container.streams.audio[0], *moving_pictures(container)[:1]
    starts = [float(stream.start_time * stream.time_base) for stream in streams if stream.start_time is not None]
    if len(starts) < 2 or abs(starts[0] - starts[1]) > LARGEST_OFFSET:
        return samples
    late = round((starts[0] - starts[1]) * sampling_rate)
    return np.pad(samples, (late, 0)) if late > 0 else samples[-late:]


def _check_length(seconds: float, max_seconds: float | None) -> None:
    # Files that end within a codec's frame of the limit are what the user cut to the limit.
    if max_seconds is not None and seconds > max_seconds + 0.1:
        raise ValueError(
            f"The recording lasts {round(seconds, 1):g} s or more; at most {max_seconds:g} s are allowed. "
            "Give a shorter one."
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
