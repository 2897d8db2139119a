import numpy as np

from asymtalker.renderer.landmarks import LOWER_LIDS, UPPER_LIDS
from asymtalker.renderer.lids import Lids


def test_open_eyes_are_the_portraits(portrait, observed):
    image = portrait.copy()
    assert Lids(portrait, observed.points).draw(image, 0.0) is image
    np.testing.assert_array_equal(image, portrait)


def test_shut_lids_cover_the_eyes_and_nothing_else(portrait, observed):
    lids = Lids(portrait, observed.points)
    change = np.abs(lids.draw(portrait.copy(), 1.0).astype(int) - portrait).max(-1)
    for pair in (slice(0, 7), slice(7, 14)):
        eye = observed.points[list(UPPER_LIDS[pair] + LOWER_LIDS[pair]), :2]
        x, y = np.round(eye.mean(0)).astype(int)
        assert change[y - 2 : y + 3, x - 2 : x + 3].max() > 20
    unit = np.hypot(*(observed.points[263] - observed.points[33])[:2])
    far = observed.points[list(UPPER_LIDS + LOWER_LIDS), 1].max() + 0.2 * unit
    assert not change[int(far) :].any()
    assert not change[:, : int(observed.points[33, 0] - 0.2 * unit)].any()


def test_half_shut_lids_are_between(portrait, observed):
    lids = Lids(portrait, observed.points)
    half, whole = (np.abs(lids.draw(portrait.copy(), shut).astype(int) - portrait).sum() for shut in (0.4, 1.0))
    assert 0 < half < whole
