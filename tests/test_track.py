"""The speech of one video, handed on and taken piece by piece."""

import numpy as np
import pytest

from asymtalker.media.synthesis import SpokenText
from asymtalker.track import SpeechTrack
from tests.conftest import wait_until

RATE = 16_000


@pytest.mark.parametrize("count", [640, 7000, 100_000])
def test_what_was_handed_on_is_taken_in_order(count):
    samples = np.arange(20_000, dtype=np.float32)
    track = SpeechTrack(samples, RATE)
    assert track.samples == 20_000
    assert len(track.take(640)) == 0  # nothing has been handed on
    np.testing.assert_array_equal(np.concatenate(list(track)), samples)
    taken = [track.take(count) for _ in range(20_000 // count + 1)]
    np.testing.assert_array_equal(np.concatenate(taken), samples)
    assert {len(block) for block in taken[:-1]} <= {count}


def test_a_text_is_handed_on_and_its_length_becomes_known():
    text = SpokenText("Hello there. How are you? I hope that you are well.")
    track = SpeechTrack(text, RATE)
    assert track.samples > 0  # an estimate
    sound = np.concatenate(list(track))
    assert track.samples == len(sound)
    np.testing.assert_array_equal(sound, np.concatenate(list(text.stream())))
    np.testing.assert_array_equal(track.take(len(sound)), sound)
    track.close()


def test_too_long_a_text_is_known_without_listening():
    track = SpeechTrack(SpokenText("Hello there. How are you? I hope that you are well."), RATE, 2.5)

    def refused():
        with pytest.raises(ValueError, match=r"at most 2\.5 s"):
            for _ in track:
                pass
        return True

    wait_until(refused, seconds=10)
    track.close()
