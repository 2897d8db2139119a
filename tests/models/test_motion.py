import math

import pytest
import torch
from torch import Tensor

from asymtalker.models.motion import (
    EASE,
    FADE,
    LandmarkFinder,
    MotionPrior,
    Observation,
    Painter,
    face_displacement,
    lid_layer,
    lucas_kanade_step,
    measure_displacement,
    move_face,
    optical_flow,
    warp,
)
from tests.tiny import tiny_transformer, tiny_vae

SIDE = 64
POINTS = torch.rand(1, 70, 2, generator=torch.Generator().manual_seed(0)) * 32
AWAKE = torch.zeros(1)


def picture(shift: tuple[float, float] = (0.0, 0.0), side: int = SIDE) -> Tensor:
    """A smooth picture (1, 3, side, side) that looks `shift` = (x, y) pixels further on."""
    y, x = torch.meshgrid(torch.arange(side) + shift[1], torch.arange(side) + shift[0], indexing="ij")
    waves = [(x / 9).sin() * (y / 11).cos(), (x / 7 + y / 13).sin(), (x / 15 - y / 8).cos()]
    return torch.stack(waves).unsqueeze(0) * 0.8


def constant(shift: tuple[float, float], side: int = SIDE) -> Tensor:
    return torch.tensor(shift).view(1, 2, 1, 1).expand(-1, -1, side, side)


def still(prior: MotionPrior, portrait: Tensor, present: Tensor | None = None, side: int = 32) -> Observation:
    """What is seen where nothing moves and nothing is to."""
    numbers = torch.full((1, 7 * prior.gestures.new_latents), 3.0)  # of blinks there is none
    prior.gestures.fields.zero_()
    present = portrait if present is None else present
    return Observation(portrait, POINTS, present, torch.zeros(1, 2, side, side), numbers)


def full_prior() -> MotionPrior:
    """A prior with a basis that keeps everything, for 32² frames."""
    torch.manual_seed(0)
    return MotionPrior(
        dim=8,
        latent_frames=3,
        continuity_latents=1,
        channels=48,
        temporal_ratio=1,
        spatial_ratio=4,
        audio_tokens=2,
        speech_dim=4,
    )


def test_warp_looks_up_displaced_pixels():
    image = picture()
    torch.testing.assert_close(warp(image, constant((3.0, -2.0)))[..., 4:-4, 4:-4], image[..., 2:-6, 7:-1])
    torch.testing.assert_close(warp(image, constant((0.0, 0.0))), image)


def test_fine_detail_survives_bicubic_displacement():
    """Stripes of four pixels, half a pixel off: a bilinear look-up keeps cos(π/4) of their height."""
    stripes = torch.cos(torch.arange(64.0) * torch.pi / 2).expand(1, 3, 64, 64)
    field = torch.tensor([0.5, 0.0]).view(1, 2, 1, 1).expand(1, 2, 64, 64)
    heights = [warp(stripes, field, mode)[..., 8:-8].square().mean().sqrt() for mode in ("bilinear", "bicubic")]
    assert heights[0] == pytest.approx(math.sqrt(0.5) * math.cos(math.pi / 4), rel=1e-2)
    assert heights[1] > 1.1 * heights[0]


def test_lucas_kanade_step_is_exact_to_first_order():
    image, target = 9 * picture(), 9 * picture((0.2, -0.1))  # contrast far above the floor
    step = lucas_kanade_step(image, target - image)
    torch.testing.assert_close(step.mean((0, 2, 3)), torch.tensor([0.2, -0.1]), atol=0.02, rtol=0)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.5, -0.5), (-5.0, 4.0)])
def test_optical_flow_finds_a_shift(shift):
    flow = optical_flow(picture(), picture(shift))
    assert flow.shape == (1, 2, SIDE // 2, SIDE // 2)
    inside = flow[..., 6:-6, 6:-6]
    torch.testing.assert_close(inside, constant(shift, inside.shape[-1]), atol=0.35, rtol=0)


def test_nothing_moves_where_nothing_is_to_be_seen():
    flat = torch.full((1, 3, SIDE, SIDE), 0.3)
    assert optical_flow(flat, flat + 0.01).abs().max() < 0.1


def test_displacements_of_frames_are_in_the_order_of_the_frames():
    frames = torch.stack([picture((shift, 0.0))[0] for shift in (0.0, 1.0, 2.0)], dim=1).unsqueeze(0)
    displacement = measure_displacement(picture(), frames)
    assert displacement.shape == (1, 2, 3, SIDE // 4, SIDE // 4)
    torch.testing.assert_close(displacement[0, 0].median(-1)[0].median(-1)[0], torch.arange(3.0), atol=0.3, rtol=0)


def test_paint_and_project_are_inverse():
    prior, frames = full_prior(), torch.rand(2, 3, 3, 32, 32)
    prior.scale.fill_(2.0)
    prior.mean.fill_(0.1)
    torch.testing.assert_close(prior.paint(prior.project(frames)), frames, atol=1e-4, rtol=0)


def test_adopts_the_autoencoder():
    vae = tiny_vae()
    vae.register_to_config(latents_std=[2.0] * 8, latents_mean=[0.0] * 8)
    vae.mean.fill_(0.2)
    prior = MotionPrior(8, 6, 2, channels=8, temporal_ratio=4, spatial_ratio=16, audio_tokens=2, speech_dim=4)
    prior.adopt(vae)
    latents = torch.randn(1, 8, 6, 4, 4) * 0.1
    expected = vae.decode(latents * 2).sample
    torch.testing.assert_close(prior.paint(latents)[:, :, 3:], expected)


def test_holds_the_face_where_the_past_left_it():
    """Without a word from the network the portrait is displaced to the last carried frame, and stays there."""
    prior, portrait, present = full_prior(), picture(side=32), picture((2.0, 1.0), side=32)
    reference = prior.project(portrait.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    window = prior.project(present.unsqueeze(2).expand(-1, -1, 3, -1, -1))
    seen, features = prior.observe(window, reference, torch.tensor([0.5]), torch.randn(1, 3, 2, 2, 1))
    torch.testing.assert_close(seen.portrait, portrait, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.present, present, atol=1e-4, rtol=0)
    assert features.shape == (1, 3 * 64, prior.embedding.in_features)
    displacement = prior.displace(torch.randn(1, 3 * 64, 8), seen, [3, 8, 8])
    guess = prior.paint(prior.guess(seen, displacement, speech=torch.randn(1, 3, 2, 2, 1)))
    error = (guess - present.unsqueeze(2))[..., 6:-6, 6:-6].abs().mean()
    away = (portrait - present)[..., 6:-6, 6:-6].abs().mean()
    assert guess.shape == (1, 3, 2, 32, 32) and error < 0.15 * away


def test_what_displacement_misses_of_the_past_fades_out():
    """A mark on κ that the portrait has not got is still there in the next frame, fainter in each, and then gone."""
    torch.manual_seed(0)
    prior = MotionPrior(8, 3, 1, channels=768, temporal_ratio=4, spatial_ratio=8, audio_tokens=2, speech_dim=4)
    marked = torch.zeros(1, 3, 32, 32)
    marked[..., 12:20, 12:20] = 0.1  # too faint to be taken for motion
    seen = still(prior, torch.zeros(1, 3, 32, 32), marked)
    guess = prior.guess(seen, torch.zeros(1, 2, 8, 8, 8), speech=torch.randn(1, 9, 2, 2, 1))
    left = prior.paint(guess)[0, 0, :, 16, 16] / 0.1
    torch.testing.assert_close(left, FADE ** torch.arange(1.0, 9.0), atol=1e-3, rtol=0)


def test_displacement_sets_out_from_where_it_is():
    """The first frame goes a smaller part of the way than those after it: nothing moves at once."""
    prior = MotionPrior(8, 3, 1, channels=8, temporal_ratio=4, spatial_ratio=16, audio_tokens=2, speech_dim=4)
    with torch.no_grad():
        prior.displacement_out.bias.fill_(1.0)
    displacement = prior.displace(torch.zeros(1, 3 * 4, 8), still(prior, torch.zeros(1, 3, 32, 32)), [3, 2, 2])
    eased = torch.tensor([0.75, *[1.0] * 7]) * (1 - EASE ** torch.arange(1.0, 9.0))
    torch.testing.assert_close(displacement[0, 0, :, 0, 0], 4 * eased)


def test_evidence_shows_where_a_frame_has_gone():
    """A new frame that moved on from κ shows in the features of its own tokens only."""
    prior = full_prior()
    reference = prior.project(picture(side=32).unsqueeze(2).expand(-1, -1, 3, -1, -1))
    frames = picture(side=32).unsqueeze(2).repeat(1, 1, 3, 1, 1)
    frames[:, :, 2] = picture((1.5, 0.0), side=32)
    features = prior.observe(prior.project(frames), reference, torch.zeros(1), torch.randn(1, 3, 2, 2, 1))[1].unflatten(
        1, (3, 64)
    )
    evidence = features[0, :, :, :2].abs().mean((1, 2))  # x and y of the one cell and frame of a token
    assert evidence[2] > 0.1 and evidence[:2].max() < 0.02


def test_displacements_are_laid_out_as_pixels():
    """The answer of one token moves its own cells in its own frames, x before y."""
    torch.manual_seed(0)
    prior = MotionPrior(8, 3, 1, channels=8, temporal_ratio=4, spatial_ratio=16, audio_tokens=2, speech_dim=4)
    with torch.no_grad():
        prior.displacement_out.weight[:64] = 1.0  # the x half
    hidden = torch.zeros(1, 3 * 4, 8)
    hidden[0, 4 * 2 + 1] = 0.5  # last latent frame, first row, second column of 2 × 2
    displacement = prior.displace(hidden, still(prior, torch.zeros(1, 3, 32, 32)), [3, 2, 2])
    moved = torch.zeros(1, 2, 8, 8, 8)
    moved[:, 0, 3:, :4, 4:] = 8 * 0.5 * 4 * torch.tensor([0.25, 0.75, 1, 1, 1]).view(-1, 1, 1)  # frames are averaged
    moved *= (1 - EASE ** torch.arange(1.0, 9.0)).view(-1, 1, 1)
    torch.testing.assert_close(displacement, moved)


def test_flow_is_the_best_linear_estimate():
    """For Gaussian x₀ around the guess, a zero residual is the conditional mean of the flow, at every σ."""
    torch.manual_seed(0)
    prior = MotionPrior(8, 3, 1, channels=1, temporal_ratio=1, spatial_ratio=4, audio_tokens=2, speech_dim=4)
    prior.deviation[1:] = 0.5
    guess = torch.randn(200_000, 1, 2, 1, 1)
    clean = guess + 0.5 * torch.randn_like(guess)
    noise = torch.randn_like(clean)
    for level in (0.2, 0.75, 1.0):
        sigma = torch.full((len(clean),), level)
        noisy = (1 - level) * clean + level * noise
        window = torch.cat([torch.zeros(len(clean), 1, 1, 1, 1), noisy], dim=2)
        flow = prior.flow(window, guess, sigma, torch.zeros_like(window))
        error, offset = noise - clean - flow[:, :, 1:], noisy - (1 - level) * guess
        assert abs((error * offset).mean()) < 5e-3  # what is left is uncorrelated with what was known
        assert error.square().mean().item() == pytest.approx(prior.unexplained(sigma)[0].item(), rel=0.02)


def test_displacements_learn_by_gradient():
    """The displacement and the painting of a transformer both receive gradients from the flow alone."""
    model = tiny_transformer(motion_prior=(6, 2)).train()
    sample, displacement = model(
        torch.randn(1, 16, 6, 4, 4), torch.tensor([750.0]), torch.randn(1, 21, 5, 4, 16), return_dict=False
    )
    assert displacement.shape == (1, 2, 16, 16, 16)
    sample.square().mean().backward()
    assert model.motion.displacement_out.weight.grad.abs().max() > 0
    assert model.proj_out.weight.grad.abs().max() > 0


def test_the_voice_of_a_moment_scales_its_own_places():
    torch.manual_seed(0)
    prior = full_prior()
    hidden, tokens = torch.randn(1, 3 * 4, 8), torch.randn(1, 3, 2, 8)
    torch.testing.assert_close(prior.voiced(hidden, tokens), hidden)  # a fresh network hears nothing
    with torch.no_grad():
        prior.voice.weight.normal_()
    other = tokens.clone()
    other[:, 1] += 1
    moved = (prior.voiced(hidden, other) - prior.voiced(hidden, tokens)).abs().amax(-1).unflatten(1, (3, 4))[0]
    assert (moved[1] > 0).all() and not moved[[0, 2]].any()


def landmarks(middle: tuple[float, float], eyes: float = 40.0) -> Tensor:
    """Lips on an ellipse around a place, eyes so far apart, and lids a tenth of that: (1, 70, 2)."""
    angles = torch.linspace(0, 2 * math.pi, 41)[:-1]
    lips = torch.stack([6 * angles.cos(), 2 * angles.sin()], dim=-1) + torch.tensor(middle)
    corners = torch.tensor([[-eyes / 2, -20.0], [eyes / 2, -20.0]]) + torch.tensor(middle)
    middles = torch.stack([torch.linspace(0.4, 0.1, 7), torch.full((7,), 0.0)], dim=-1) * eyes
    lids = torch.cat([-middles, middles]) + torch.tensor([middle[0], middle[1] - 20])
    gap = torch.tensor([0.0, eyes / 20])
    return torch.cat([lips, corners, lids - gap, lids + gap]).unsqueeze(0)


def test_lips_take_the_picture_around_them_along():
    """A landmark that goes down looks above itself, a place far away where it is; twice as far for twice the face."""
    down = torch.zeros(1, 40, 2)
    down[..., 1] = 0.1
    for eyes in (20.0, 40.0):
        field = face_displacement(landmarks((32, 40), eyes), down.flatten(1), AWAKE, (64, 64))
        assert field.shape == (1, 2, 32, 32)
        torch.testing.assert_close(field[0, 1, 20, 16], torch.tensor(-0.1 * eyes), atol=0.1 * eyes, rtol=0.15)
        assert field[0, :, :8].abs().max() < 0.05 and field[0, 0].abs().max() < 1e-4


def test_lips_that_part_open_between_them():
    """Above the middle the picture comes from below its place, under it from above: the line between is stretched."""
    points = landmarks((32, 32))
    apart = torch.zeros(1, 40, 2)
    apart[..., 1] = 0.1 * torch.sign(points[:, :40, 1] - 32)
    field = face_displacement(points, apart.flatten(1), AWAKE, (64, 64))[0, 1, :, 16]
    assert field[:15].max() > 2 and field[17:].min() < -2
    stripes = torch.zeros(1, 3, 64, 64)
    stripes[..., 31:33, :] = 1.0
    parted = move_face(stripes, points, apart.flatten(1), AWAKE)
    assert parted[0, 0, :, 32].sum() > 2 * stripes[0, 0, :, 32].sum()
    torch.testing.assert_close(move_face(stripes, points, torch.zeros(1, 80), AWAKE), stripes)


def test_lids_that_shut_cover_the_eyes():
    """White eyes in a dark face: the further the lids are shut the less is seen of them, and nothing else moves."""
    points = landmarks((32, 44), eyes=40.0)
    face = torch.zeros(1, 3, 64, 64)
    for left in (16, 36):
        face[..., 22:26, left : left + 12] = 1.0
    seen = []
    for lids in (0.0, 0.5, 1.0):
        moved = move_face(face, points, torch.zeros(1, 80), torch.tensor([lids]))
        seen.append(moved[0, 0, 16:32].sum() / face[0, 0].sum())
        torch.testing.assert_close(moved[..., 40:, :], face[..., 40:, :], atol=1e-3, rtol=0)
    assert seen[0] == pytest.approx(1, abs=1e-3) and 0.2 < seen[1] < 0.7 and seen[2] < 0.1


def test_a_lid_is_stretched_and_ends_at_its_edge():
    points = landmarks((32, 44), eyes=40.0)
    layer = lid_layer(points, torch.tensor([0.5]), (64, 64))
    look_up, covers = layer[0, 1, :, 22], layer[0, 2, :, 22]  # through an eye, whose lids are at 22 and 26
    assert (
        layer.shape == (1, 4, 64, 64)
        and not layer[:, 0].any()
        and (look_up[21:24] < -1).all()
        and not look_up[:18].any()
    )
    assert covers[20:23].min() > 0.9 and covers[:18].max() == 0 and covers[27:].max() < 0.01
    assert layer[0, 3, :, 22].argmax() in (23, 24) and layer[0, 3, :, 2].max() < 0.01  # lashes
    assert not lid_layer(points, torch.zeros(1), (64, 64)).any()


def test_the_finder_learns_where_lips_are():
    torch.manual_seed(0)
    finder = LandmarkFinder(hidden_dim=16)
    optimizer = torch.optim.Adam(finder.parameters(), lr=3e-3)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def faces(count: int) -> tuple[Tensor, Tensor]:
        places = torch.stack([landmarks((20 + 24 * float(u), 30 + 20 * float(v)))[0] for u, v in torch.rand(count, 2)])
        middle = places[:, :40].mean(1)[:, :, None, None]
        mouth = (((x - middle[:, 0]) / 8) ** 2 + ((y - middle[:, 1]) / 3) ** 2 < 1).float()
        return (mouth.unsqueeze(1) * 2 - 1).expand(-1, 3, -1, -1), places

    for _ in range(150):
        pictures, places = faces(8)
        loss = (finder(pictures) - places).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    pictures, places = faces(8)
    assert (finder(pictures)[:, :40] - places[:, :40]).abs().mean() < 2.0
    assert finder(pictures).shape == (8, 70, 2)


def lively_painter() -> Painter:
    torch.manual_seed(0)
    painter = Painter(speech_dim=12)
    for layer in (painter.colour, painter.part, painter.lips):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return painter


@torch.no_grad()
def test_a_fresh_painter_leaves_the_displaced_picture_alone():
    images, displacement = torch.rand(2, 3, 32, 32), torch.randn(2, 2, 32, 32)
    painter = Painter(speech_dim=12)
    lips = painter.listen(torch.randn(1, 2, 3, 2, 2))[0]
    painted = painter(images, displacement, POINTS.expand(2, -1, -1), lips, AWAKE.expand(2))
    torch.testing.assert_close(painted, warp(images, displacement, "bicubic"))


@torch.no_grad()
def test_the_painter_hears_each_frame_by_itself():
    painter, speech = lively_painter(), torch.randn(1, 4, 3, 2, 2)
    other = speech.clone()
    other[:, 1] += 1
    moved = (painter.listen(other) - painter.listen(speech)).abs().amax(-1)[0] > 0
    assert moved.tolist() == [False, True, False, False]


@torch.no_grad()
def test_the_painter_paints_by_lips_and_by_what_is_there():
    """Other lips change the painting; the same surroundings elsewhere are painted about alike."""
    painter, images, lips = lively_painter(), torch.rand(1, 3, 64, 64), 0.1 * torch.randn(1, 80)
    still = torch.zeros(1, 2, 64, 64)
    painted = painter(images, still, landmarks((24, 40)), lips, AWAKE)
    assert (painter(images, still, landmarks((24, 40)), -lips, AWAKE) - painted).abs().max() > 1e-3
    assert (painter(images, still, landmarks((24, 40)), lips, AWAKE + 1) - painted).abs().max() > 1e-3
    painter.find.weight[:, 56:58] = 0  # blind to where it is, it must paint a shifted picture shifted
    torch.testing.assert_close(
        painter(images.roll(16, dims=-1), still, landmarks((40, 40)), lips, AWAKE)[..., 34:46],
        painter(images, still, landmarks((24, 40)), lips, AWAKE).roll(16, dims=-1)[..., 34:46],
        atol=5e-4,
        rtol=0,
    )


def test_the_painter_learns_what_is_between_lips():
    """Where lips part, something white comes to light, which the closed picture has not got."""
    torch.manual_seed(0)
    points = landmarks((32, 40)).expand(2, -1, -1)
    closed = torch.zeros(2, 3, 64, 64)
    wanted = closed.clone()
    wanted[1, :, 38:42, 28:36] = 1.0
    lips = 0.1 * torch.tensor([0.0, 1.0]).view(2, 1).expand(-1, 80)
    painter, still = Painter(speech_dim=1, hidden_dim=16, features=4), torch.zeros(2, 2, 64, 64)
    optimizer = torch.optim.Adam(painter.parameters(), lr=3e-3)
    for _ in range(200):
        loss = (painter(closed, still, points, lips, AWAKE.expand(2)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2 * (closed - wanted).square().mean()
