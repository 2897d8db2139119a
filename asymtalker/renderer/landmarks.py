"""Which of the face mesh's 478 landmarks lie where, and what is found in a portrait.

The numbers are those of MediaPipe's face mesh. "Right" and "left" are the person's own: the right eye is on the left of
an image that is not mirrored.
"""

from typing import NamedTuple

import numpy as np

POINTS = 478

# fmt: off
LIPS_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
LIPS_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
"""Closed rings, from the person's right corner along the lower lip to the left corner and back along the upper lip.
Both rings have opposite points at the same place: `LIPS_OUTER[i]` is the nearest outer point of `LIPS_INNER[i]`."""
LIPS = LIPS_OUTER + LIPS_INNER
MOUTH_CORNERS = 61, 291
UPPER_LIP, LOWER_LIP = 13, 14
"""The middle of the inner lips."""

RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
"""Closed rings, from the outer corner along the lower lid to the inner corner and back along the upper lid. A point of
one eye mirrors the point at the same place of the other."""
EYES = RIGHT_EYE, LEFT_EYE
OUTER_EYES = 33, 263
INNER_EYES = 133, 362
UPPER_LIDS = (246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398)
LOWER_LIDS = (7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382)
"""Of the right eye, then the left, from the outer corner to the inner (corners left out), upper and lower points
opposite each other."""
LIDS = UPPER_LIDS + LOWER_LIDS
IRISES = (468, 469, 470, 471, 472), (473, 476, 475, 474, 477)
"""Of the right eye and of the left: the centre, then the rim's inner, upper, outer and lower point."""

RIGHT_BROW = (70, 63, 105, 66, 107, 55, 65, 52, 53, 46)
LEFT_BROW = (300, 293, 334, 296, 336, 285, 295, 282, 283, 276)
"""Closed rings, from the outer end along the upper edge to the inner end and back along the lower edge."""
BROWS = RIGHT_BROW, LEFT_BROW

NOSE_BRIDGE = (168, 6, 197, 195, 5, 4, 1)
NOSE_TIP = 1
NOSE_WINGS = (48, 64, 98, 97, 2, 326, 327, 294, 278)
"""The lower edge of the nose, from the right wing to the left."""
NOSE = NOSE_BRIDGE + NOSE_WINGS
CHIN = 152
OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
"""The outline of the face as a closed ring, from the middle of the forehead by the person's left side to the chin."""
JAW = (454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234)
"""The part of the outline below the ears, from the left to the right."""
RIGID = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 168, 6,
         197, 195, 5, 4, 1, 98, 327, 2, 33, 133, 362, 263, 70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
"""Forehead, temples, nose, eye corners and brows: what speech hardly moves."""
# fmt: on


class Observation(NamedTuple):
    """The landmarks found in a square portrait.

    Attributes:
        points: float32 (478, 3) in pixels of the image given: x to the right, y down, z in the same scale, smaller is
            nearer to the camera.
        confidence: that there is a face, and that the points lie on it, from 0 to 1.
    """

    points: np.ndarray
    confidence: float
