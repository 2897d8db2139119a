"""Visemes: what the mouth aims at for a phone.

The weights are those with which the clips of the corpus were animated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from train.animation.units import unit_vector


@dataclass(frozen=True, eq=False)
class Viseme:
    """A target of the mouth.

    Attributes:
        target: weights of the units, (30,).
        dominance: how much it counts against its neighbours.
        reach: seconds over which its influence falls off to 1/e.
        contact: "lips" for lips that must touch, "teeth" for a lower lip that must touch the upper teeth.
    """

    target: np.ndarray
    dominance: float = 1.0
    reach: float = 0.045
    contact: Literal["lips", "teeth"] | None = None


def _viseme(dominance: float = 1.0, reach: float = 0.045, contact: str | None = None, **weights: float) -> Viseme:
    return Viseme(unit_vector(weights), dominance, reach, contact)


def _spread(weight: float) -> dict[str, float]:
    return {"MouthLeftPullSide": weight, "MouthRightPullSide": weight}


def _rounded(kiss: float, lower: float, upper: float) -> dict[str, float]:
    return {"LipsKiss": kiss, "lowerLipForward": lower, "UpperLipForward": upper}


VISEMES = {
    "rest": _viseme(0.9),
    "bilabial": _viseme(2.6, 0.03, "lips", lowerLipUp=0.42, UpperLipBackward=0.22, lowerLipBackward=0.12),
    "labiodental": _viseme(2.0, contact="teeth", JawDrop=0.07, lowerLipBackward=0.55, lowerLipUp=0.28, UpperLipUp=0.42),
    "narrow lips": _viseme(1.5, JawDrop=0.08, lowerLipDown=0.05, lowerLipUp=0.08),
    "dental": _viseme(0.9, JawDrop=0.14, lowerLipDown=0.28, UpperLipUp=0.12, TongueOut=0.38),
    "alveolar": _viseme(0.55, JawDrop=0.13, lowerLipDown=0.32, UpperLipUp=0.16, TonguePointUp=0.6, TongueUp=0.3),
    "lateral": _viseme(0.7, JawDrop=0.19, lowerLipDown=0.28, UpperLipUp=0.16, TonguePointUp=0.8, TongueUp=0.45),
    "velar": _viseme(0.35, JawDrop=0.18, lowerLipDown=0.22, UpperLipUp=0.12),
    "postalveolar": _viseme(1.6, 0.07, JawDrop=0.09, lowerLipDown=0.42, UpperLipUp=0.28, **_rounded(0.55, 0.42, 0.35)),
    "sibilant": _viseme(0.9, JawDrop=0.04, lowerLipDown=0.42, UpperLipUp=0.22, **_spread(0.35)),
    "rhotic": _viseme(0.9, 0.07, JawDrop=0.15, lowerLipDown=0.15, **_rounded(0.5, 0.25, 0.2)),
    "lingual trill": _viseme(0.6, JawDrop=0.17, lowerLipDown=0.25, UpperLipUp=0.14, TonguePointUp=0.8, TongueUp=0.4),
    "open": _viseme(JawDrop=0.95, UpperLipUp=0.06),
    "open front": _viseme(JawDrop=0.78, UpperLipUp=0.15, **_spread(0.4)),
    "central": _viseme(JawDrop=0.52, UpperLipUp=0.05),
    "mid front": _viseme(JawDrop=0.55, UpperLipUp=0.12, **_spread(0.45)),
    "close front": _viseme(JawDrop=0.20, UpperLipUp=0.16, lowerLipDown=0.16, **_spread(0.8)),
    "mid back": _viseme(1.2, 0.07, JawDrop=0.82, **_rounded(0.75, 0.2, 0.15)),
    "close back": _viseme(1.5, 0.07, JawDrop=0.24, **_rounded(1.0, 0.45, 0.45)),
    "close front rounded": _viseme(1.4, 0.07, JawDrop=0.2, lowerLipDown=0.1, **_rounded(0.85, 0.4, 0.4)),
    "mid front rounded": _viseme(1.2, 0.07, JawDrop=0.45, **_rounded(0.7, 0.3, 0.3)),
}
