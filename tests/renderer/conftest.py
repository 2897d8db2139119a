"""A rendered person as the renderer sees her."""

from pathlib import Path

import numpy as np
import pytest

from asymtalker.generation import PRESETS
from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.renderer.face import Face
from asymtalker.renderer.landmarks import LIPS
from asymtalker.renderer.lips import CHIN_SEEN, INNER_LOWER, INNER_UPPER, SOFT, Lips
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
def head(renderer, observed):
    return renderer.head_pose(observed)


@pytest.fixture(scope="session")
def face(portrait, observed, head):
    return Face(portrait, observed.points, head)


def gap(points, head, moves=0):
    """How far apart the inner lips are seen, (11,) in eye distances."""
    places, down = points[:, :2] + moves, head.to_pixels(np.array([0.0, 1.0]))
    return (places[list(INNER_LOWER)] - places[list(INNER_UPPER)]) @ down / (down @ down)


def opened(points, head, amount, frames=1):
    """The motion of a lower lip that goes down so far, in eye distances, most in its middle, and the jaw with it."""
    lips = np.zeros((frames, len(LIPS), 2))
    for point, share in {14: 1, 17: 1, 87: 0.9, 317: 0.9, 84: 0.9, 314: 0.9, 178: 0.7, 402: 0.7}.items():
        lips[:, LIPS.index(point), 1] = amount * share
    wider = lips[0, [LIPS.index(point) for point in INNER_LOWER], 1]
    gaps = np.repeat((gap(points, head).clip(min=0) + SOFT + wider)[None], frames, axis=0)
    chin = np.repeat([[0.0, CHIN_SEEN * amount]], frames, axis=0)
    still = np.zeros((frames, 6))
    return Motion(lips, gaps, chin, still[:, 0], still[:, :4], still[:, :2], still, np.ones(frames))


def still(points, head, frames=1):
    return opened(points, head, 0.0, frames)


def lip_moves(points, head, amount):
    """Displacements (478, 2) of landmarks as the lower lip and the jaw go down so far."""
    motion = opened(points, head, amount)
    return Lips(points, head).moves(motion.lips[0], motion.gaps[0], motion.chin[0])
