"""The expression units of an animated face, in the order in which the corpus stores them."""

import numpy as np

UNITS = (
    "JawDrop",
    "LeftBrowDown",
    "LeftCheekUp",
    "LeftInnerBrowUp",
    "LeftLowerLidUp",
    "LeftOuterBrowUp",
    "LeftUpperLidClosed",
    "LeftUpperLidOpen",
    "LipsKiss",
    "MouthLeftPullSide",
    "MouthLeftPullUp",
    "MouthRightPullSide",
    "MouthRightPullUp",
    "RightBrowDown",
    "RightCheekUp",
    "RightInnerBrowUp",
    "RightLowerLidUp",
    "RightOuterBrowUp",
    "RightUpperLidClosed",
    "RightUpperLidOpen",
    "TongueOut",
    "TonguePointUp",
    "TongueUp",
    "UpperLipBackward",
    "UpperLipForward",
    "UpperLipUp",
    "lowerLipBackward",
    "lowerLipDown",
    "lowerLipForward",
    "lowerLipUp",
)
INDEX = {name: index for index, name in enumerate(UNITS)}


def unit_vector(weights: dict[str, float]) -> np.ndarray:
    """Weights (30,) of all units, zero where none is named.

    Raises:
        KeyError: a name is not one of `UNITS`.
    """
    vector = np.zeros(len(UNITS))
    for name, weight in weights.items():
        vector[INDEX[name]] = weight
    return vector


def mouth_opening(units: np.ndarray) -> np.ndarray:
    """How far the lips are apart, (...,), for units (..., 30): 0 at rest, below 0 where they are pressed together."""
    return units[..., INDEX["JawDrop"]] + 0.5 * (units[..., INDEX["lowerLipDown"]] - units[..., INDEX["lowerLipUp"]])
