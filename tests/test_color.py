import pytest
import torch

from asymtalker.color import lab_to_rgb, match_lab, rgb_to_lab

# Lab (D65, 2°) of sRGB colours, as printed in colour-science references.
KNOWN = {
    (1.0, 1.0, 1.0): (100.0, 0.0, 0.0),
    (0.0, 0.0, 0.0): (0.0, 0.0, 0.0),
    (1.0, 0.0, 0.0): (53.24, 80.09, 67.20),
    (0.0, 1.0, 0.0): (87.73, -86.18, 83.18),
    (0.0, 0.0, 1.0): (32.30, 79.19, -107.86),
    (0.5, 0.5, 0.5): (53.39, 0.0, 0.0),
    (0.02, 0.02, 0.02): (1.40, 0.0, 0.0),  # on the straight part of both curves: 903.3 · 0.02 / 12.92
}


@pytest.mark.parametrize("rgb", KNOWN)
def test_known_colours(rgb):
    lab = rgb_to_lab(torch.tensor(rgb).view(3, 1, 1)).flatten()
    torch.testing.assert_close(lab, torch.tensor(KNOWN[rgb]), atol=0.05, rtol=0)


def test_back_and_forth():
    rgb = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    rgb[1] *= 0.04  # the dark have laws of their own
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(rgb)), rgb, atol=1e-4, rtol=0)


def statistics(frames):
    lab = rgb_to_lab((frames.transpose(1, 2) + 1) / 2)
    return torch.stack([lab.mean((-2, -1)), lab.std((-2, -1))])


@pytest.fixture
def pictures():
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(1, 3, 4, 16, 16, generator=generator) * 0.5 - 0.4
    return frames, torch.rand(1, 3, 16, 16, generator=generator) * 0.6 - 0.1


def test_full_strength_takes_the_statistics_of_the_portrait(pictures):
    frames, portrait = pictures
    matched = statistics(match_lab(frames, portrait, 1.0))
    wanted = statistics(portrait.unsqueeze(2)).expand_as(matched)
    torch.testing.assert_close(matched, wanted, atol=0.6, rtol=0.05)
    assert (statistics(frames) - wanted).abs().max() > 5


def test_no_strength_changes_nothing(pictures):
    frames, portrait = pictures
    torch.testing.assert_close(match_lab(frames, portrait, 0.0), frames, atol=1e-4, rtol=0)


def test_a_flat_frame_takes_the_mean():
    frames, portrait = torch.full((1, 3, 1, 8, 8), -0.5), torch.full((1, 3, 8, 8), 0.25)
    torch.testing.assert_close(match_lab(frames, portrait, 1.0), portrait.unsqueeze(2), atol=1e-2, rtol=0)


def test_half_strength_goes_half_way(pictures):
    frames, portrait = pictures
    start, half, full = (statistics(match_lab(frames, portrait, strength))[0] for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half, (start + full) / 2, atol=0.6, rtol=0)
