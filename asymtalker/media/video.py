"""Video files: write an mp4 as its frames are made, and read one frame by frame."""

from __future__ import annotations

import io
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from asymtalker.media.speech import SAFELY, SpeechResampler, moving_pictures
from asymtalker.media.yuv import LABEL, Rectangle, YuvConverter

MARK = f"{LABEL} with AsymTalker"
"""What the metadata of every file says, label or not."""
BT709 = 1
"""Of the colour tags of H.264: primaries, transfer and matrix alike."""
THREADS = "2"
"""Of the encoder. Its file depends on their number, and each holds frames: so they are the same on every machine."""
REPEATABLE = {"x264-params": "asm=avx2"} if "AVX512" in cv2.getCPUFeaturesLine() else {}
"""x264's AVX-512 code does not make the same file of the same frames each time."""
FRAGMENT_RATE = 48_000
"""Hz; AAC comes in frames of 1024 samples, and holds two back: three times shorter than at the speech's own rate."""


@dataclass(frozen=True)
class VideoProbe:
    """Attributes:
    fps: frames per second.
    frames: frames in all, as the file says, or estimated from its length.
    width, height: pixels.
    seconds: length.
    """

    fps: float
    frames: int
    width: int
    height: int
    seconds: float


class _Mp4Encoder:
    """Frames and speech on their way into an mp4 (H.264, AAC), one as fast as the other.

    Args:
        size: (width, height) of the frames in pixels; H.264 wants even sides, an odd one is extended by a pixel.
        fps: frames per second.
        sampling_rate: of the speech, in Hz.
        label: draw "AI-generated" into a corner.
        moving: outside this rectangle all frames are the same, which saves time; see `YuvConverter`.
    """

    def __init__(
        self, size: tuple[int, int], fps: int, sampling_rate: int, label: bool, moving: Rectangle | None = None
    ) -> None:
        self._fps, self._sampling_rate = fps, sampling_rate
        self._converter = YuvConverter(size, label, moving)
        self._frames = self._samples = 0

    def _open(
        self,
        file: str | IO[bytes],
        metadata: Mapping[str, str],
        x264: Mapping[str, str],
        **options: str,
    ) -> None:
        self._container = av.open(file, "w", format="mp4", options=options)
        self._container.metadata.update(metadata)
        self._video = self._container.add_stream("libx264", rate=self._fps)
        self._video.width, self._video.height = self._converter.size
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"preset": "veryfast", "threads": THREADS, **REPEATABLE, **x264}
        context = self._video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = ColorRange.MPEG
        self._audio = self._container.add_stream("aac", rate=self._sampling_rate, layout="mono")

    def write(self, frames: Iterable[np.ndarray]) -> None:
        """Appends frames, uint8 (F, H, W, 3) RGB, or an iterator of such frames (H, W, 3).

        Raises:
            ValueError: a frame has another size or type.
        """
        for image in frames:
            frame = self._converter.convert(image)
            frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
            self._frames += 1
            self._container.mux(self._video.encode(frame))

    def write_speech(self, samples: np.ndarray) -> None:
        """Appends mono speech, float32 (samples,) in [-1, 1]."""
        if not len(samples):
            return
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = self._sampling_rate
        frame.pts, frame.time_base = self._samples, Fraction(1, self._sampling_rate)
        self._samples += len(samples)
        self._container.mux(self._audio.encode(frame))

    def _close(self) -> None:
        """Writes what the encoders still hold, and the end of the file."""
        for stream in (self._video, self._audio):
            self._container.mux(stream.encode(None))
        self._container.close()


class VideoWriter(_Mp4Encoder):
    """Writes frames and speech to an mp4 (H.264, AAC) as they come, in memory that does not grow with its length.

    The file is written beside its place and renamed when the `with` block ends well; otherwise nothing is left of it.

    Args:
        path: the mp4.
        size: (width, height) of the frames in pixels; H.264 wants even sides, an odd one is extended by a pixel.
        fps: frames per second.
        sampling_rate: of the speech, in Hz.
        label: draw "AI-generated" into a corner.
        generated: say in the metadata that it is AI-generated; leave out only for real footage.
        metadata: further tags of the file, such as title.
        crf: quality of H.264, 0 (lossless) to 51.
        moving: outside this rectangle (left, top, right, bottom) all frames are the same, which saves time.

    Raises:
        OSError: the file cannot be written there.
        ValueError: the frames have another size, or there were none.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: int,
        sampling_rate: int,
        label: bool = True,
        generated: bool = True,
        metadata: Mapping[str, str] | None = None,
        crf: int = 18,
        moving: Rectangle | None = None,
    ) -> None:
        super().__init__(size, fps, sampling_rate, label, moving)
        self._path = Path(path)
        self._beside = self._path.with_name(f".{self._path.stem}-{secrets.token_hex(4)}.part")
        self._metadata = {**(metadata or {}), **({"comment": MARK} if generated else {})}
        self._crf = crf

    def __enter__(self) -> Self:
        if self._path.is_dir():
            raise IsADirectoryError(f"{self._path} is a folder: name the file to write.")
        self._beside.touch(exist_ok=False)  # the encoder opens late; a path that cannot be written is known now
        self._open(str(self._beside), self._metadata, {"crf": str(self._crf)}, movflags="faststart")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._complete()
        finally:
            with suppress(av.FFmpegError):  # of a failure, the first error is the one that says why
                self._container.close()
            self._beside.unlink(missing_ok=True)

    def _complete(self) -> None:
        if not self._frames:
            raise ValueError("A video needs at least one frame: none was written.")
        self._close()
        self._beside.replace(self._path)


class FragmentWriter(_Mp4Encoder):
    """Writes frames and speech as pieces of one fragmented mp4, which players take in while it is being made.

    The pieces one after the other are the file. The encoder of the sound holds the last frames' worth of a piece
    back for the next.

    Args:
        size, fps, sampling_rate, label, moving: see `VideoWriter`.
    """

    def __init__(
        self, size: tuple[int, int], fps: int, sampling_rate: int, label: bool = True, moving: Rectangle | None = None
    ) -> None:
        super().__init__(size, fps, FRAGMENT_RATE, label, moving)
        self._sound, self._rate = SpeechResampler(FRAGMENT_RATE), sampling_rate
        self._pieces = io.BytesIO()
        self.mime: str | None = None
        """What `MediaSource.addSourceBuffer` wants to know; set with the first piece."""
        x264 = {"crf": "20", "tune": "zerolatency", "g": str(fps)}
        options = {"movflags": "delay_moov+default_base_moof", "frag_duration": "1"}  # microsecond: a frame a fragment
        self._open(_Appended(self._pieces), {"comment": MARK}, x264, **options)

    def push(self, frames: Iterable[np.ndarray], samples: np.ndarray) -> bytes:
        """Takes the next frames, uint8 (F, H, W, 3) RGB, and their speech, float32 (samples,); returns the piece."""
        self.write(frames)
        self.write_speech(self._sound.push(self._rate, samples))
        return self._take()

    def close(self) -> bytes:
        """Ends the video; returns its last piece."""
        self.write_speech(self._sound.flush())
        self._close()
        return self._take()

    def _take(self) -> bytes:
        piece = self._pieces.getvalue()
        self._pieces.seek(0)
        self._pieces.truncate()
        if self.mime is None and (at := piece.find(b"avcC")) >= 0:
            self.mime = f'video/mp4; codecs="avc1.{piece[at + 5 : at + 8].hex()}, mp4a.40.2"'
        return piece


class _Appended:
    """A file that can only be written to its end, so that the encoder does not come back to what is sent."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def read_frames(source: str | Path | bytes) -> Iterator[np.ndarray]:
    """Decodes a video frame by frame, uint8 (H, W, 3) RGB.

    Raises:
        ValueError: it is not a video.
    """
    with open_video(source) as (container, stream):
        for frame in container.decode(stream):
            yield frame.to_ndarray(format="rgb24", src_colorspace=_matrix(frame))


def probe_video(source: str | Path | bytes) -> VideoProbe:
    """Reads rate, size and length of a video without decoding it.

    Raises:
        ValueError: it is not a video.
    """
    with open_video(source) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or 0)
        length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
        frames = stream.frames or round(float(length) * fps)
        return VideoProbe(fps, frames, stream.codec_context.width, stream.codec_context.height, float(length))


@contextmanager
def open_video(source: str | Path | bytes) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """Opens a video for decoding: its container, and its moving pictures.

    Raises:
        ValueError: it is not a video, or cannot be decoded; also from within the `with` block.
    """
    name = "The file" if isinstance(source, bytes) else Path(source).name
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        try:
            with av.open(file, **SAFELY) as container:
                streams = moving_pictures(container)
                if not streams:
                    raise ValueError(f"{name} has no moving picture: give a video.")
                if streams[0].codec_context is None:
                    raise ValueError(f"{name} is in a codec that cannot be decoded: save it as H.264 (mp4).")
                yield container, streams[0]
        except av.FFmpegError as error:
            raise ValueError(
                f"{name} could not be decoded as a video ({error.strerror}): give an mp4, webm or mov."
            ) from error


def _matrix(frame: av.VideoFrame) -> Colorspace:
    """The frame's colour matrix; a file that does not say is taken for BT.601, as decoders do."""
    return Colorspace.ITU709 if frame.colorspace == BT709 else Colorspace.ITU601
