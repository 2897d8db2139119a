"""Articulation on curves of lips that do, or do not do, what phones made to measure ask for."""

import numpy as np
import pytest

from asymtalker.media.alignment import Phone
from asymtalker.metrics import LabiodentalContact, LipClosure, LipRounding, VowelOrder

FRAMES = 200


def said(*names, every=0.4, lasting=0.12):
    """Phones of these names, one every ten frames, each of which touches three frames."""
    return [Phone(name, every * (i + 1), every * (i + 1) + lasting) for i, name in enumerate(names)]


@pytest.fixture
def swaying():
    """Lips that open and shut from frame to frame of 0.4 to 0.9 of their range, and reach its ends in the last part."""
    curve = 0.65 + 0.25 * np.sin(np.arange(FRAMES))
    curve[180:190], curve[190:] = 0, 1
    return curve


def put(curve, phone, value, shift=0):
    first = round(phone.start * 25) + shift
    curve[first : first + 3] = value


@pytest.mark.parametrize(("shift", "closes"), [(-4, False), (-3, True), (0, True), (3, True), (4, False)])
def test_a_closure_counts_within_a_frame_of_its_phone(swaying, shift, closes):
    (phone,) = phones = said("b")
    put(swaying, phone, 0.05, shift)
    assert LipClosure().measure(swaying, phones) == (float(closes), 1)


def test_the_share_of_closures_is_that_of_the_bilabials_alone(swaying):
    phones = said("p", "aa", "b", "sil", "m", "t", "m")
    for phone in phones[:3]:
        put(swaying, phone, 0.1)
    put(swaying, phones[5], 0.0)
    assert LipClosure().measure(swaying, phones) == (0.5, 4)
    assert LipClosure().measure(swaying * 7 + 3, phones) == (0.5, 4)


def test_the_mean_is_over_phones_and_not_over_clips(swaying):
    metric = LipClosure()
    first, second = said("p"), said("b", "m", "b")
    put(swaying, first[0], 0)
    metric.update(swaying, first)
    metric.update(swaying, second)
    assert metric.values == [1, pytest.approx(1 / 3)]
    assert metric.compute().mean == pytest.approx(0.5)


def test_the_lower_lip_is_raised_throughout_a_labiodental(swaying):
    phones = said("f", "v", "v")
    put(swaying, phones[0], 0.3)
    put(swaying, phones[1], [0.1, 0.9, 0.9])
    assert LabiodentalContact().measure(swaying, phones) == (pytest.approx(1 / 3), 3)


def test_rounding_is_counted_in_standard_deviations_of_the_width():
    width = np.tile([0.9, 1.1], FRAMES // 2)
    phones = said("uw", "iy", "ow", "iy")
    for phone, value in zip(phones, (0.8, 1.2, 0.9, 1.1), strict=True):
        put(width, phone, value)
    value, weight = LipRounding().measure(width, phones)
    assert value == pytest.approx(0.3 / width.std()) and weight == 2
    assert LipRounding().measure(-width, phones)[0] == pytest.approx(-value)


def test_vowels_that_open_the_lips_as_published_correlate_fully():
    curve = 0.01 * np.sin(np.arange(FRAMES))
    phones = said("aa", "iy", "eh", "uw", "ae", "ah")
    openings = (0.9, 0.2, 0.5, 0.2, 0.9, 0.5)
    for phone, value in zip(phones, openings, strict=True):
        put(curve, phone, value)
    assert VowelOrder().measure(curve, phones) == (pytest.approx(1), 6)
    assert VowelOrder().measure(1 - curve, phones)[0] < 0


def test_phones_after_the_end_of_the_video_are_left_out(swaying):
    late = Phone("m", 20.0, 20.1)
    assert LipClosure().measure(swaying, [*said("b"), late])[1] == 1
    with pytest.raises(ValueError, match="None of /p b m/"):
        LipClosure().measure(swaying, [late])


@pytest.mark.parametrize("metric", [LipClosure, LabiodentalContact, LipRounding, VowelOrder])
def test_what_cannot_be_measured_raises(metric, swaying):
    with pytest.raises(ValueError, match=r"is said|are needed"):
        metric().measure(swaying, said("t", "k"))
    with pytest.raises(ValueError, match=r"do not move|keeps its width"):
        metric().measure(np.ones(FRAMES), said("p", "f", "uw", "iy", "aa", "eh", "ah"))
