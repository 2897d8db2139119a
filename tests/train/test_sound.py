"""That sound is changed as rooms, lines and surroundings change it, in place, and always the same way."""

import numpy as np
import pytest

from train import sound

CHANGES = [sound.change_loudness, *(change for change, _ in sound.CHANGES)]


@pytest.fixture(scope="module", autouse=True)
def short_stock():
    """A few seconds of noise and music are enough here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound, "STOCK_SECONDS", 4)
        sound.stock.cache_clear()
        yield
    sound.stock.cache_clear()


def tone(hertz=440.0, samples=20_800):
    return (0.2 * np.sin(2 * np.pi * hertz * np.arange(samples) / 16_000)).astype(np.float32)


def level(samples):
    return float(np.sqrt(np.square(samples).mean()))


@pytest.mark.parametrize("change", [*CHANGES, sound.augment])
@pytest.mark.parametrize("samples", [tone(), tone(samples=1_001), np.zeros(20_800, np.float32)])
def test_length_and_type_stay_and_chance_is_repeatable(change, samples):
    before = samples.copy()
    for seed in range(3):
        changed = change(samples, np.random.default_rng(seed))
        assert changed.shape == samples.shape and changed.dtype == np.float32 and np.isfinite(changed).all()
        np.testing.assert_array_equal(changed, change(samples, np.random.default_rng(seed)))
    np.testing.assert_array_equal(samples, before)


def test_a_third_stays_nearly_clean_and_the_others_do_not():
    samples, clean = tone(), 0
    for seed in range(300):
        changed = sound.augment(samples, np.random.default_rng(seed))
        scale = changed @ samples / (samples @ samples)
        clean += level(changed - scale * samples) < 1e-3 * level(changed)
    assert 0.25 < clean / 300 < 0.5
    assert np.abs(changed).max() <= 1


@pytest.mark.parametrize("change", [sound.add_noise, sound.add_music])
def test_what_is_added_is_5_to_40_db_below(change):
    ratios = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        ratios.append(20 * np.log10(level(tone()) / level(change(tone(), rng) - tone())))
    assert min(ratios) > 4.9 and max(ratios) < 40.1 and np.ptp(ratios) > 20


def test_silence_gets_noise():
    assert level(sound.add_noise(np.zeros(20_800, np.float32), np.random.default_rng(0))) > 1e-5


@pytest.mark.parametrize("change", [sound.reverberate, sound.equalise, sound.lowpass, sound.telephone])
def test_nothing_moves_in_time(change):
    samples = np.zeros(8_000, np.float32)
    samples[4_000:4_040] = np.hanning(40)
    for seed in range(10):
        changed = change(samples, np.random.default_rng(seed))
        assert abs(int(np.abs(changed).argmax()) - 4_019) < 12


def test_rooms_ring_afterwards_only():
    samples = np.zeros(8_000, np.float32)
    samples[4_000] = 1
    changed = sound.reverberate(samples, np.random.default_rng(0))
    assert np.abs(changed[:3_999]).max() < 1e-5 and level(changed[4_100:]) > 1e-4
    assert level(changed[7_000:]) < level(changed[4_100:5_000])


def test_telephones_and_codecs_cut_high_tones():
    for change, hertz in ((sound.telephone, 5_000), (sound.lowpass, 7_900)):
        high, low = (
            level(change(tone(pitch), np.random.default_rng(3))) / level(tone(pitch)) for pitch in (hertz, 1_000)
        )
        assert high < 0.05 and low > 0.9
