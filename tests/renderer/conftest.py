"""A rendered person as the renderer sees her."""

from pathlib import Path

import numpy as np
import pytest

from asymtalker.generation import PRESETS
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.renderer.face import Face
from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.motion import Motion
from asymtalker.renderer.renderer import FaceRenderer

EXAMPLE = Path(__file__).parents[2] / "examples" / "nora.jpg"
SIDE = 256


@pytest.fixture(scope="session")
def renderer():
    return FaceRenderer.from_pretrained(PRESETS / "tiny" / "renderer")


@pytest.fixture(scope="session")
def portrait():
    return np.asarray(crop_portrait(read_portrait(EXAMPLE)).image.resize((SIDE, SIDE)))


@pytest.fixture(scope="session")
def observed(renderer, portrait):
    return renderer.observe(portrait)


@pytest.fixture(scope="session")
def face(portrait, observed):
    return Face(portrait, observed.points)


def still(frames=1):
    return Motion(np.zeros((frames, len(LIPS), 2)), np.zeros(frames), np.zeros((frames, 6)))


def opened(amount, frames=1):
    """The lower lip that much lower, in eye distances, most in its middle."""
    motion = still(frames)
    for point, share in {14: 1, 17: 1, 87: 0.9, 317: 0.9, 84: 0.9, 314: 0.9, 178: 0.7, 402: 0.7}.items():
        motion.lips[:, LIPS.index(point), 1] = amount * share
    return motion
