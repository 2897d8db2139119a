"""Articulation: whether the lips do what each phone asks of them, as a viewer sees it in the video.

All take a curve of `asymtalker.metrics.face_mesh` without NaN (`fill_gaps`), and the phones that are heard, with their
times (`asymtalker.media.alignment`). Curves are compared with their own range, from the 5th to the 95th percentile of
the clip, so that the face and the unit do not matter.

"Rendered clips" are 42 test clips of the project's corpus, whose lips follow the phones by rule: their videos as the
face mesh reads them, phones by forced alignment. RAISED was chosen on 40 of its training clips.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr

from asymtalker.media.alignment import Phone
from asymtalker.metrics.estimate import ClipMetric

BILABIALS = ("p", "b", "m")
LABIODENTALS = ("f", "v")
ROUNDED = ("uw", "ow", "w")
SPREAD = ("iy", "ih", "ey")
OPENNESS = {"aa": 2, "ae": 2, "ao": 2, "eh": 1, "ah": 1, "iy": 0, "ih": 0, "uw": 0}
"""Vowels by the height of the tongue and so of the jaw, in the classes of the IPA's chart: open, mid and close."""
CLOSED = 0.2
"""Of the opening's range; what lies below it counts as closed lips."""
RAISED = 0.4
"""Of the range of the lower lip's distance from the nose; what lies below it counts as raised to the teeth."""
TOLERANCE = 1
"""Frames before and after a phone in which its closure is looked for: sound and lips are seldom nearer in step."""
LEAST_VOWELS = 4


class _PhoneMetric(ClipMetric):
    """Base of what is measured phone by phone.

    Args:
        fps: frames per second.
    """

    def __init__(self, fps: float = 25.0) -> None:
        super().__init__()
        self.fps = fps

    def _parts(self, curve: np.ndarray, phones: list[Phone], names: tuple[str, ...], more: int = 0) -> list[np.ndarray]:
        """The curve in the frames that each phone of these names touches, and `more` frames before and after them."""
        spans = [
            (
                int(np.floor(round(phone.start * self.fps, 3))) - more,
                int(np.ceil(round(phone.end * self.fps, 3))) + more,
            )
            for phone in phones
            if phone.name in names
        ]
        parts = (curve[max(start, 0) : end] for start, end in spans)
        return [part for part in parts if len(part)]


class LipClosure(_PhoneMetric):
    """Share of the bilabials /p b m/ in which the inner lips close: their opening falls below 0.2 of its range.

    The frames that the phone touches count, and one before and after. Rendered clips: 0.99 of 151 bilabials; by the
    same measure 0.34 of vowels and 0.20 of tongue consonants, as closures and silences are their neighbours. With
    phones guessed from the sound it is 0.69, as half of the guessed bilabials are none.
    """

    def measure(self, opening: np.ndarray, phones: list[Phone]) -> tuple[float, float]:
        """Of lip openings (F,); weighted by the number of bilabials.

        Raises:
            ValueError: there is no bilabial, or the lips do not move.
        """
        parts = self._parts(_in_range(opening), phones, BILABIALS, TOLERANCE)
        _check(parts, BILABIALS)
        return float(np.mean([part.min() < CLOSED for part in parts])), float(len(parts))


class LabiodentalContact(_PhoneMetric):
    """Share of the labiodentals /f v/ in which the lower lip is raised to the upper teeth.

    The teeth are seldom seen and have no landmarks, but they stay with the skull: so the distance of the lower lip's
    outer edge from the nose says how near the lip is to them, and the mean over the phone must lie below 0.4 of its
    range. Rendered clips: 0.74 of 77 labiodentals, 0.29 of vowels and 0.30 of tongue consonants. The opening of the
    lips tells them apart less well: on the training clips it fell below 0.35 in 0.48, 0.32 and 0.30 of them.
    """

    def measure(self, lower_lip: np.ndarray, phones: list[Phone]) -> tuple[float, float]:
        """Of distances of the lower lip from the nose (F,); weighted by the number of labiodentals.

        Raises:
            ValueError: there is no labiodental, or the lips do not move.
        """
        parts = self._parts(_in_range(lower_lip), phones, LABIODENTALS)
        _check(parts, LABIODENTALS)
        return float(np.mean([part.mean() < RAISED for part in parts])), float(len(parts))


class LipRounding(_PhoneMetric):
    """Effect size of rounding: how much wider the mouth is in /iy ih ey/ than in /uw ow w/, in standard deviations of
    its width over the clip. Rendered clips: 2.8."""

    def measure(self, width: np.ndarray, phones: list[Phone]) -> tuple[float, float]:
        """Of mouth widths (F,); weighted by the harmonic mean of the numbers of phones, as its variance asks for.

        Raises:
            ValueError: there is no phone of one of the kinds, or the mouth keeps its width.
        """
        width = np.asarray(width, dtype=np.float64)
        if np.ptp(width) == 0:
            raise ValueError("The mouth keeps its width.")
        means = {}
        for names in (ROUNDED, SPREAD):
            means[names] = [part.mean() for part in self._parts(width, phones, names)]
            _check(means[names], names)
        difference = np.mean(means[SPREAD]) - np.mean(means[ROUNDED])
        a, b = len(means[ROUNDED]), len(means[SPREAD])
        return float(difference / width.std()), 2 * a * b / (a + b)


class VowelOrder(_PhoneMetric):
    """Rank correlation (Spearman's, with ties) of how far the lips open in vowels with how open those vowels are:
    /aa ae ao/ above /eh ah/ above /iy ih uw/. Rendered clips: 0.70."""

    def measure(self, opening: np.ndarray, phones: list[Phone]) -> tuple[float, float]:
        """Of lip openings (F,), the largest of each vowel; weighted by the number of vowels.

        Raises:
            ValueError: there are too few vowels or all are of one class, or the lips do not move.
        """
        opening = np.asarray(opening, dtype=np.float64)
        known = [(OPENNESS[name], part.max()) for name in OPENNESS for part in self._parts(opening, phones, (name,))]
        classes, openings = zip(*known, strict=True) if known else ((), ())
        if len(known) < LEAST_VOWELS or len(set(classes)) < 2:
            raise ValueError(f"{LEAST_VOWELS} vowels or more of two classes are needed, not {len(known)}.")
        if len(set(openings)) < 2:
            raise ValueError("The lips do not move.")
        return float(spearmanr(classes, openings).statistic), float(len(known))


def _in_range(curve: np.ndarray) -> np.ndarray:
    """A curve (F,) moved and scaled so that 0 and 1 are its 5th and 95th percentile."""
    low, high = np.quantile(np.asarray(curve, dtype=np.float64), [0.05, 0.95])
    if low == high:
        raise ValueError("The lips do not move.")
    return (np.asarray(curve) - low) / (high - low)


def _check(parts: list, names: tuple[str, ...]) -> None:
    if not parts:
        raise ValueError(f"None of /{' '.join(names)}/ is said.")
