import pytest
import torch

from asymtalker.models import AutoencoderPatchKLT
from asymtalker.models.patch_autoencoder import patchify, unpatchify
from asymtalker.renderer.motion_frame import CHANNELS
from tests.tiny import tiny_motion_vae, tiny_vae
from train.autoencoder import fit, reconstruction_psnr


def full_rank() -> AutoencoderPatchKLT:
    torch.manual_seed(0)
    return AutoencoderPatchKLT(latent_channels=3 * 2 * 16, scale_factor_spatial=4, scale_factor_temporal=2)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (21, 6)])
def test_counts(frames, latents):
    vae = tiny_vae()
    z = vae.encode(torch.zeros(2, 3, frames, 32, 48)).latent_dist.mode()
    assert z.shape == (2, 8, latents, 2, 3)
    assert vae.decode(z).sample.shape == (2, 3, frames, 32, 48)


def test_patches_are_cut_and_put_together():
    frames = torch.randn(2, 3, 4, 8, 12)
    patches = patchify(frames, 2, 4)
    assert patches.shape == (2, 2, 2, 3, 3 * 2 * 16)
    torch.testing.assert_close(patches[0, 1, 0, 2].view(3, 2, 4, 4), frames[0, :, 2:4, :4, 8:])
    torch.testing.assert_close(unpatchify(patches, 2, 4), frames)


@torch.no_grad()
def test_the_first_frame_counts_as_a_still_patch():
    """A still clip looks alike in every latent frame, and a single frame like the first of a clip."""
    vae, frame = tiny_vae(), torch.rand(1, 3, 1, 32, 32) * 2 - 1
    z = vae.encode(frame.expand(-1, -1, 9, -1, -1)).latent_dist.mode()
    torch.testing.assert_close(z, z[:, :, :1].expand_as(z))
    torch.testing.assert_close(vae.encode(frame).latent_dist.mode(), z[:, :, :1])


@torch.no_grad()
def test_the_mean_is_no_part_of_the_latents():
    vae = tiny_vae()
    vae.mean.uniform_(-0.5, 0.5)
    zero = torch.zeros(1, 8, 2, 1, 1)
    frames = vae.decode(zero).sample
    torch.testing.assert_close(frames[:, :, 1:], unpatchify(vae.mean.view(1, 1, 1, 1, -1), 4, 16))
    torch.testing.assert_close(vae.encode(frames).latent_dist.mode()[:, :, 1:], zero[:, :, 1:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_frames_stay_in_range():
    assert tiny_vae().decode(100 * torch.randn(1, 8, 2, 2, 2)).sample.abs().max() == 1


@torch.no_grad()
def test_tuples_hold_the_same():
    vae, frames = tiny_vae(), torch.rand(1, 3, 5, 32, 32)
    (posterior,) = vae.encode(frames, return_dict=False)
    torch.testing.assert_close(posterior.mode(), vae.encode(frames).latent_dist.sample())
    (decoded,) = vae.decode(posterior.mode(), return_dict=False)
    torch.testing.assert_close(decoded, vae(frames).sample)


@torch.no_grad()
def test_with_all_components_nothing_is_lost():
    frames = torch.rand(1, 3, 5, 8, 8) * 2 - 1
    torch.testing.assert_close(full_rank()(frames).sample, frames, atol=1e-4, rtol=0)


@torch.no_grad()
def test_encoding_what_was_decoded_changes_nothing():
    vae = tiny_vae()
    z = vae.encode(0.1 * torch.randn(1, 3, 9, 32, 32)).latent_dist.mode()
    torch.testing.assert_close(vae.encode(vae.decode(z).sample).latent_dist.mode()[:, :, 1:], z[:, :, 1:])


def test_a_number_of_frames_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 plus a multiple of 4, not 8"):
        tiny_vae().encode(torch.zeros(1, 3, 8, 32, 32))


def test_more_components_than_values_are_refused():
    with pytest.raises(ValueError, match="latent_channels"):
        AutoencoderPatchKLT(latent_channels=100, scale_factor_spatial=2, scale_factor_temporal=2)


@torch.no_grad()
def test_fit_finds_the_directions_that_matter():
    """Windows made of a few patterns are reproduced by as many components, whatever their colours."""
    torch.manual_seed(0)
    patterns = torch.randn(6, 3, 2, 4, 4)
    patterns = torch.cat([patterns, patterns.flip(-1)])  # mirror images count as well
    amounts = 0.05 * torch.randn(8, 3, 3, 3, 12)
    patches = torch.einsum("bthwk,kcrij->bthwcrij", amounts, patterns).flatten(4)
    windows = list(unpatchify(patches, 2, 4)[:, :, 1:].clamp(-1, 1).split(2))
    for window in windows:
        window[:, :, 0] = 0  # the first frame stands alone: give it nothing to explain
    vae = AutoencoderPatchKLT(latent_channels=12, scale_factor_spatial=4, scale_factor_temporal=2)
    before = reconstruction_psnr(vae, windows)
    fit(vae, windows, whitening=0.5)
    assert reconstruction_psnr(vae, windows) > 60 > before
    torch.testing.assert_close(vae.basis.T @ vae.basis, torch.eye(12), atol=1e-4, rtol=0)
    assert len(vae.config.latents_std) == 12


@pytest.mark.parametrize("whitening", [0.0, 0.5, 1.0])
@torch.no_grad()
def test_fit_recovers_a_planted_distribution(whitening):
    """Mean, subspace, order and deviations of patches that were drawn from a known one."""
    generator = torch.Generator().manual_seed(0)
    planted = torch.linalg.qr(torch.randn(48, 4, generator=generator)).Q
    deviations = torch.tensor([0.4, 0.2, 0.1, 0.05])
    mean = 0.3 * torch.randn(48, generator=generator)
    amounts = torch.randn(16, 1, 16, 16, 4, generator=generator) * deviations
    windows = list(unpatchify(amounts @ planted.T + mean, 1, 4).split(4))
    vae = AutoencoderPatchKLT(latent_channels=4, scale_factor_spatial=4, scale_factor_temporal=1)
    fit(vae, windows, whitening, mirror=False)
    torch.testing.assert_close(vae.mean, mean, atol=0.02, rtol=0)
    alike = (vae.basis.T @ planted).abs()  # up to sign
    torch.testing.assert_close(alike, torch.eye(4), atol=0.05, rtol=0)
    found, wanted = torch.tensor(vae.config.latents_std), deviations**whitening
    torch.testing.assert_close(found / found[0], wanted / wanted[0], atol=0, rtol=0.05)


@torch.no_grad()
def test_saved_and_loaded(tmp_path):
    vae, frames = full_rank(), torch.rand(2, 3, 5, 8, 8) - 0.5
    fit(vae, [frames], whitening=0.5)
    vae.save_pretrained(tmp_path)
    loaded = AutoencoderPatchKLT.from_pretrained(tmp_path)
    assert loaded.config.latents_std == vae.config.latents_std
    torch.testing.assert_close(
        loaded.encode(frames).latent_dist.mode(), vae.encode(frames).latent_dist.mode(), rtol=0, atol=0
    )


@torch.no_grad()
def test_fitted_latents_have_unit_variance():
    torch.manual_seed(0)
    windows = [0.2 * torch.randn(8, 3, 5, 8, 8) for _ in range(8)]
    vae = AutoencoderPatchKLT(latent_channels=48, scale_factor_spatial=4, scale_factor_temporal=2)
    fit(vae, windows, whitening=0.5)
    z = torch.cat([vae.encode(w).latent_dist.mode() for w in windows])
    scaled = z / torch.tensor(vae.config.latents_std).view(-1, 1, 1, 1)
    assert scaled.var().item() == pytest.approx(1, rel=0.15)


def motion_patches(count=64):
    """Windows (count, 93, 21, 1, 1) of six patterns of motion over four frames, each window about its own place."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.linalg.qr(torch.randn(4 * CHANNELS, 6, generator=generator)).Q
    amounts = torch.randn(count, 6, 1, 1, 6, generator=generator)
    windows = unpatchify(0.5 * amounts @ patterns.T, 4, 1)[:, :, 3:]
    windows[:, :, :1] = 0  # the first frame stands alone: give it nothing to explain
    return windows


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (9, 3), (13, 4), (21, 6)])
@torch.no_grad()
def test_motion_frames_have_a_latent_each_four(frames, latents):
    vae = tiny_motion_vae()
    z = vae.encode(torch.zeros(2, CHANNELS, frames, 1, 1)).latent_dist.mode()
    assert z.shape == (2, 8, latents, 1, 1)
    assert vae.decode(z).sample.shape == (2, CHANNELS, frames, 1, 1)


@torch.no_grad()
def test_motion_is_kept_by_as_many_components_as_it_has_and_encoding_again_loses_nothing():
    windows = motion_patches()
    vae = AutoencoderPatchKLT(in_channels=CHANNELS, latent_channels=6, scale_factor_spatial=1)
    fit(vae, [windows], whitening=0.5, mirror=False)
    z = vae.encode(windows).latent_dist.mode()
    decoded = vae.decode(z).sample
    torch.testing.assert_close(decoded, windows, atol=1e-3, rtol=0)
    torch.testing.assert_close(vae.encode(decoded).latent_dist.mode(), z, atol=1e-3, rtol=0)
    # κ is encoded by itself: the five frames that end a window are those that begin the next
    ending = vae.encode(decoded[:, :, -5:]).latent_dist.mode()
    torch.testing.assert_close(vae.decode(ending).sample[:, :, 1:], decoded[:, :, -4:], atol=1e-3, rtol=0)


@torch.no_grad()
def test_what_moves_within_a_patch_may_count_more():
    """Two components for three patterns: the two largest, unless motion counts for more."""
    generator = torch.Generator().manual_seed(0)
    rest = torch.zeros(3, CHANNELS, 4)
    rest[0, 0], rest[1, 1] = 0.5, 0.5  # still
    rest[2, 2] = torch.tensor([0.5, -0.5, 0.5, -0.5])
    amounts = torch.randn(64, 4, 1, 1, 3, generator=generator) * torch.tensor([0.5, 0.4, 0.2])
    windows = unpatchify(amounts @ rest.flatten(1), 4, 1)[:, :, 3:]
    errors = []
    for weight in (0.0, 10.0):
        vae = AutoencoderPatchKLT(in_channels=CHANNELS, latent_channels=2, scale_factor_spatial=1)
        fit(vae, [windows], whitening=0.0, motion_weight=weight, mirror=False)
        errors.append((vae(windows).sample - windows)[:, :, 1:].square().mean((0, 2, 3, 4)))
    assert errors[0][2] > 0.01 and errors[0][1] < 1e-4
    assert errors[1][2] < 1e-4 and errors[1][1] > 0.01
