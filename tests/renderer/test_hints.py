from asymtalker.renderer.hints import portrait_hints
from asymtalker.renderer.landmarks import Observation
from tests.renderer.conftest import lip_moves


def test_a_good_portrait_needs_no_hint(observed):
    assert observed.confidence > 0.5
    assert portrait_hints(observed) == []


def test_an_open_mouth_and_uncertain_landmarks_are_told(observed, head):
    points = observed.points.copy()
    points[:, :2] += lip_moves(points, head, 0.25)
    (mouth,) = portrait_hints(Observation(points, 1.0))
    assert "wide open" in mouth
    (uncertain,) = portrait_hints(Observation(observed.points, 0.2))
    assert "gently" in uncertain
