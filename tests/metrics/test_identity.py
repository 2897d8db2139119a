"""Identity: the example portraits are different people; a moved, darkened or blinking one is not."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from asymtalker.media.portrait import crop_portrait, read_portrait
from asymtalker.metrics import (
    STRANGERS,
    IdentityDrift,
    appearance_distance,
    distance_between_people,
    geometry_distance,
)
from asymtalker.metrics.identity import ARCFACE_TEMPLATE, FIVE_POINTS, align_face

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("amara", "henry", "leon", "nora")


@pytest.fixture(scope="module")
def people():
    crops = [crop_portrait(read_portrait(EXAMPLES / f"{name}.jpg")).image for name in NAMES]
    return [np.asarray(crop.resize((128, 128))) for crop in crops]


@pytest.fixture(scope="module")
def unit(people):
    return distance_between_people(people, NAMES, appearance_distance)


def test_the_same_picture_is_at_zero(people):
    assert appearance_distance(people[0], people[0]) == pytest.approx(0, abs=2e-2)


def test_a_moved_and_darker_head_is_nearer_than_anybody_else(people, unit):
    for index, portrait in enumerate(people):
        matrix = cv2.getRotationMatrix2D((64, 64), 4, 1.03) + np.array([[0, 0, 3], [0, 0, -2]])
        moved = cv2.warpAffine(portrait, matrix, (128, 128), borderMode=cv2.BORDER_REPLICATE) // 4 * 3
        others = [appearance_distance(other, portrait) for place, other in enumerate(people) if place != index]
        assert appearance_distance(moved, portrait) < 0.45 * unit < min(others)


def test_a_flat_picture_is_nobody(people):
    grey = np.full((128, 128, 3), 90, np.uint8)
    assert appearance_distance(grey, people[0]) == pytest.approx(np.pi / 2)
    assert appearance_distance(grey, grey) == 0


def test_drift_is_seen_in_the_interval_where_it_happens(people, unit):
    drift = IdentityDrift(people[0], interval=1.0, every=5)
    for person in (people[0], people[0], people[1]):
        drift.update(np.repeat(person[None], 25, axis=0))
    distances = drift.compute() / unit
    assert distances.shape == (3,)
    assert distances[:2].max() < 0.05 < 0.5 < distances[2]
    drift.reset()
    with pytest.raises(ValueError, match="No frames"):
        drift.compute()


def test_blocks_give_what_the_whole_gives(people):
    video = np.stack([np.roll(people[0], shift, axis=1) for shift in range(12)])
    whole, blocks = (IdentityDrift(people[0], interval=1.0, every=5) for _ in range(2))
    whole.update(video)
    for start in range(0, 12, 4):
        blocks.update(video[start : start + 4])
    np.testing.assert_array_equal(whole.compute(), blocks.compute())


def test_the_unit_needs_two_people(people):
    with pytest.raises(ValueError, match="two people"):
        distance_between_people(people[:2], ["one", "one"], appearance_distance)


def test_the_unit_of_one_portrait_is_about_that_of_the_examples(unit):
    assert pytest.approx(unit, rel=0.15) == STRANGERS


def test_geometry_does_not_mind_where_the_face_is_nor_what_the_mouth_does():
    face = np.random.default_rng(0).normal(size=(478, 3))
    turned = 3 * face @ np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0] + 5
    turned[[13, 14, 17]] += 9  # the lips
    assert geometry_distance(turned, face) == pytest.approx(0, abs=1e-6)
    assert geometry_distance(np.random.default_rng(2).normal(size=(478, 3)), face) > 0.5


def test_arcface_gets_the_five_points_where_it_wants_them():
    template = np.array(ARCFACE_TEMPLATE)
    points = np.zeros((478, 3))
    points[list(FIVE_POINTS), :2] = 1.5 * template + 20
    frame = np.zeros((224, 224, 3), np.uint8)
    for point in points[list(FIVE_POINTS), :2]:
        cv2.circle(frame, tuple(np.round(point).astype(int).tolist()), 3, (255, 255, 255), -1)
    face = align_face(frame, points)
    assert face.shape == (112, 112, 3)
    for x, y in template.round().astype(int):
        assert face[y, x].min() > 200
    assert face.mean() < 20
