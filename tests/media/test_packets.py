"""Pieces of a live stream: each holds its own frames and sound, and decodes with nothing held back."""

import av
import cv2
import numpy as np
import pytest

from asymtalker.media.packets import KEY_EVERY, PacketWriter
from asymtalker.media.yuv import YuvConverter

FPS, RATE = 25, 16_000
SIZE = (96, 64)


def picture(number):
    """A frame whose brightness says which one it is."""
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    return np.stack([across + number, down + 2 * number, across + down], axis=-1).astype(np.uint8)


def unpack(piece):
    """Frames with whether they stand alone, and the sound."""
    count, at = int.from_bytes(piece[:2], "little"), 2
    table = [(int.from_bytes(piece[at + 5 * n :][:4], "little"), piece[at + 5 * n + 4]) for n in range(count)]
    at += 5 * count
    frames = []
    for size, key in table:
        frames.append((piece[at : at + size], bool(key)))
        at += size
    return frames, np.frombuffer(piece[at:], "<i2") / 32767


def test_h264_comes_out_frame_by_frame():
    writer = PacketWriter(SIZE, FPS, RATE, label=False)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    shown, keys = [], []
    for start in range(0, KEY_EVERY + 4, 4):
        frames, _ = unpack(writer.push([picture(start + n) for n in range(4)], np.zeros(4 * RATE // FPS, np.float32)))
        assert len(frames) == 4
        for data, key in frames:
            keys.append(key)
            shown += decoder.decode(av.Packet(data))
            assert len(shown) == len(keys)  # at once
    assert writer.mime.startswith("avc1.64")
    assert [number for number, key in enumerate(keys) if key] == [0, KEY_EVERY]
    for number, frame in enumerate(shown):
        image = frame.to_ndarray(format="rgb24", src_colorspace=1)
        assert np.abs(image.astype(float) - picture(number)).mean() < 5


def test_jpeg_shows_the_same_picture_with_its_label():
    writer = PacketWriter(SIZE, FPS, RATE, pictures="jpeg")
    ((data, key),), _ = unpack(writer.push([picture(3)], np.zeros(640, np.float32)))
    shown = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    expected = YuvConverter(SIZE, True).convert(picture(3)).to_ndarray(format="rgb24", src_colorspace=1)
    assert (key, writer.mime) == (True, "jpeg")
    assert np.abs(shown.astype(float) - expected).mean() < 6


@pytest.mark.parametrize("pictures", ["h264", "jpeg"])
def test_sound_is_all_in_its_piece(pictures):
    sound = np.sin(np.arange(2 * 640) / 7).astype(np.float32)
    writer = PacketWriter(SIZE, FPS, RATE, pictures=pictures)
    pieces = [writer.push([picture(n)], sound[640 * n : 640 * (n + 1)]) for n in range(2)]
    np.testing.assert_allclose(np.concatenate([unpack(piece)[1] for piece in pieces]), sound, atol=1e-4)
    assert [len(part) for part in unpack(writer.close())] == [0, 0]
    assert writer.size == SIZE
