"""Pictures and sound of a live stream in pieces that a page plays by itself: no container, and nothing held back."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import av
import cv2
import numpy as np

from asymtalker.media.video import BT709, REPEATABLE
from asymtalker.media.yuv import Rectangle, YuvConverter

Pictures = Literal["h264", "jpeg"]
"""H.264 for browsers that decode it frame by frame (WebCodecs), at a tenth of the bytes; JPEG for all others."""
KEY_EVERY = 50  # frames
JPEG_QUALITY = 80
X264 = {"preset": "superfast", "tune": "zerolatency", "crf": "23", "g": str(KEY_EVERY), "threads": "1"}


class PacketWriter:
    """Encodes frames and speech, piece by piece; a piece holds all of its own frames and sound, and nothing else.

    A piece is a number of frames (uint16), for each its bytes (uint32) and whether it stands alone (uint8), then the
    frames, then the sound as 16-bit samples. All numbers are little-endian.

    Args:
        size: (width, height) of the frames in pixels.
        fps: frames per second.
        sampling_rate: of the speech, in Hz.
        label: draw "AI-generated" into a corner.
        moving: outside this rectangle all frames are the same; see `YuvConverter`.
        pictures: how frames are encoded.

    Attributes:
        mime: the codec of the frames as WebCodecs names it, or "jpeg"; known with the first piece.
    """

    def __init__(
        self,
        size: tuple[int, int],
        fps: int,
        sampling_rate: int,
        label: bool = True,
        moving: Rectangle | None = None,
        pictures: Pictures = "h264",
    ) -> None:
        self._converter = YuvConverter(size, label, moving)
        self.size = self._converter.size
        self.mime: str | None = None
        self._frames = 0
        self._fps = fps
        self._encoder = self._open() if pictures == "h264" else None

    def _open(self) -> av.VideoCodecContext:
        encoder = av.CodecContext.create("libx264", "w")
        encoder.width, encoder.height = self.size
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, self._fps)
        encoder.options = X264 | REPEATABLE
        encoder.color_primaries = encoder.color_trc = encoder.colorspace = BT709
        encoder.color_range = av.video.reformatter.ColorRange.MPEG
        return encoder

    def push(self, frames: Iterable[np.ndarray], samples: np.ndarray) -> bytes:
        """Takes the next frames, uint8 (F, H, W, 3) RGB, and their speech, float32 (samples,); returns the piece."""
        encoded = [self._encode(self._converter.convert(frame)) for frame in frames]
        table = [struct.pack("<H", len(encoded)), *(struct.pack("<IB", len(data), key) for data, key in encoded)]
        sound = (np.clip(samples, -1, 1) * np.iinfo(np.int16).max).astype("<i2").tobytes()
        return b"".join([*table, *(data for data, _ in encoded), sound])

    def close(self) -> bytes:
        """A last piece without anything: nothing was held back."""
        return self.push([], np.zeros(0, np.float32))

    def _encode(self, frame: av.VideoFrame) -> tuple[bytes, bool]:
        if self._encoder is None:
            self.mime = "jpeg"
            return _to_jpeg(frame), True
        frame.pts, frame.time_base = self._frames, Fraction(1, self._fps)
        self._frames += 1
        packets = self._encoder.encode(frame)
        data = b"".join(bytes(packet) for packet in packets)
        if self.mime is None:
            self.mime = _codec(data)
        return data, any(packet.is_keyframe for packet in packets)


def _to_jpeg(frame: av.VideoFrame) -> bytes:
    image = frame.to_ndarray(format="bgr24", src_colorspace=av.video.reformatter.Colorspace.ITU709)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _codec(data: bytes) -> str:
    """The name of an H.264 stream's profile and level, from its sequence parameters."""
    at = data.index(b"\x00\x00\x01\x67") + 4
    return f"avc1.{data[at : at + 3].hex()}"
