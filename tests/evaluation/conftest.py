"""A dataset of the shape that HDTF and VFHQ are prepared in: mp4 clips with sound, and rows of metadata."""

import json

import cv2
import numpy as np
import pytest

from asymtalker.media.video import VideoWriter

SECONDS = 2.0


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """Four usable clips of three people under test/, one without sound and one of another frame rate."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "test").mkdir()
    people = {"a-0": "ann", "a-1": "ann", "b-0": "ben", "c-0": "cleo", "mute": "dan", "slow": "eve"}
    for index, name in enumerate(people):
        write_clip(folder / "test" / f"{name}.mp4", index, silent=name == "mute", fps=12 if name == "slow" else 25)
    rows = [{"file_name": f"{name}.mp4", "person": person} for name, person in people.items()]
    (folder / "test" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def write_clip(path, seed, silent=False, fps=25):
    """Smooth noise that moves, with bursts of sound in its second half."""
    random = np.random.default_rng(seed)
    picture = cv2.resize(random.integers(0, 256, (10, 10, 3), dtype=np.uint8), (96, 96), interpolation=cv2.INTER_CUBIC)
    count = round(SECONDS * fps)
    frames = np.stack([np.roll(picture, round(3 * np.sin(frame / 4)), axis=1) for frame in range(count)])
    with VideoWriter(path, (96, 96), fps, 16_000, label=False) as writer:
        writer.write(frames)
        if not silent:
            sound = 0.1 * random.normal(size=round(SECONDS * 16_000))
            writer.write_speech((sound * (np.arange(len(sound)) > len(sound) // 2)).astype(np.float32))
