"""What the landmarks of a portrait say about how well it will do."""

from __future__ import annotations

import numpy as np

from asymtalker.renderer.landmarks import LOWER_LIP, UPPER_LIP, Observation
from asymtalker.renderer.motion import FaceFrame

CERTAIN = 0.5
"""Confidence from which on landmarks count as a face's: below it, the face moves less and less."""
WIDE_OPEN = 0.14
"""Lips that are farther apart than this, in eye distances, show a mouth that laughs or shouts."""


def portrait_hints(observed: Observation) -> list[str]:
    """Sentences for the user, none where all is well."""
    hints = []
    if observed.confidence < CERTAIN:
        hints.append("The features of the face are hard to make out, so it moves only gently.")
    lips = observed.points[[UPPER_LIP, LOWER_LIP], :2]
    if np.hypot(*(lips[1] - lips[0])) > WIDE_OPEN * FaceFrame.of(observed.points).unit:
        hints.append("The mouth is wide open: a picture in which it is closed, or smiles a little, does better.")
    return hints
