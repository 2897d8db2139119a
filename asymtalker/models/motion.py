"""What a small network need not learn: how a face moves. The network says where each piece of the portrait goes.

A decision of this project, for networks too small to paint a face through noise. Where the published model generates
every texture anew, this one displaces those of the portrait and paints only what displacement cannot show (the inside
of the mouth, closed eyes, what was hidden). As the texture always comes from the portrait, it cannot drift.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asymtalker.models.gestures import Gestures
from asymtalker.models.patch_autoencoder import AutoencoderPatchKLT, patchify, unpatchify
from asymtalker.renderer.landmarks import LIPS, RIGID
from asymtalker.renderer.lips import HEARD_LIPS
from asymtalker.renderer.motion import Motion, fit_pose

CELL = 4
"""Displacements are predicted for cells of this many pixels, and interpolated between them."""
LIP_POINTS, LIP_SCALE = 40, 0.05
"""Landmarks of lips, and how far they move, in distances of the outer eye corners."""
LID_POINTS = 14
"""Landmarks of the upper lids of both eyes, and of the lower."""
FACE_POINTS = LIP_POINTS + 2 + 2 * LID_POINTS
LIP_REACH, LOWER_REACH, HOLD = 0.06, 0.05, 0.05
"""How far around a landmark the picture goes with it, in eye distances, and what holds it back there."""
UPPER_SHARE, LOWER_SHARE = 0.9, 0.1
"""Of the way between them that lids go to meet."""
LID_SKIN, LID_RIM, LID_OVERLAP, LID_REACH = 0.08, 0.02, 0.03, 0.035
"""In eye distances: the skin above an eye that its upper lid stretches, but for the rim; how far beyond the lower lid
it goes in the end, for landmarks are not exact; how far beside a landmark the lid is known."""
LID_EDGE, LASH_WIDTH = 0.35, 0.7
"""How soft its edge is, and half the width of the lashes on it, in pixels."""
LASHES = 0.5
"""Of the light is lost there."""
FINE_CELL = 2
"""Lips are parted for cells of this many."""
PYRAMID = (16, 8, 4, 2)
ITERATIONS = 4
STRUCTURE_WINDOW = 5
STRUCTURE_FLOOR = 1e-2
"""Added to the structure tensor of colours in [-1, 1]: where there is nothing to see, nothing moves."""
COORDINATE_OCTAVES = 4
FADE = 0.9
"""What the displaced and painted portrait misses of κ's last frame is kept at this share from frame to frame."""
ARTICULATION = 0.7
"""Share of the lips' movements that is handed to a renderer: those that were learnt are of rendered people, who open
their mouths wider than real ones do."""
EASE = 0.8
"""A new frame still holds on to where κ has left the head at this share, the next at its square, and so on."""


def warp(image: Tensor, displacement: Tensor, mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Looks up an image (B, C, H, W) at each pixel plus a displacement (B, 2, H, W) of (x, y) pixels.

    For what is to be looked at "bicubic": between pixels, "bilinear" blurs half of the fine detail away.
    """
    height, width = image.shape[-2:]
    y = torch.arange(height, device=image.device, dtype=image.dtype)[:, None]
    x = torch.arange(width, device=image.device, dtype=image.dtype)
    grid = torch.stack(
        [(x + displacement[:, 0] + 0.5) * (2 / width) - 1, (y + displacement[:, 1] + 0.5) * (2 / height) - 1], dim=-1
    )
    moved = F.grid_sample(image, grid, mode=mode, padding_mode="border", align_corners=False)
    return moved.clamp(-1, 1) if mode == "bicubic" else moved  # it overshoots at edges


def lucas_kanade_step(image: Tensor, difference: Tensor) -> Tensor:
    """The displacement of `image` (B, C, H, W) that best explains `difference` = target − image, to first order.

    Returns:
        (B, 2, H, W) in pixels, within ±1.
    """
    gx, gy = torch.gradient(image, dim=(3, 2))
    products = torch.stack([gx * gx, gx * gy, gy * gy, gx * difference, gy * difference], dim=1).sum(2)
    xx, xy, yy, xd, yd = _box(products, STRUCTURE_WINDOW).unbind(1)
    xx, yy = xx + STRUCTURE_FLOOR, yy + STRUCTURE_FLOOR
    determinant = xx * yy - xy * xy
    step = torch.stack([yy * xd - xy * yd, xx * yd - xy * xd], dim=1) / determinant.unsqueeze(1)
    return step.clamp(-1, 1)


def optical_flow(image: Tensor, target: Tensor, pyramid: tuple[int, ...] = PYRAMID) -> Tensor:
    """Finds the displacement with which `warp(image, ·)` looks like `target` (pyramidal Lucas–Kanade).

    Args:
        image, target: (B, C, H, W) in [-1, 1].
        pyramid: pixels averaged to one, from coarse to fine.

    Returns:
        (B, 2, H / s, W / s) in full-size pixels, s the last of the pyramid.
    """
    displacement = torch.zeros_like(F.avg_pool2d(image[:, :2], pyramid[0]))
    for scale in pyramid:
        coarse, wanted = F.avg_pool2d(image, scale), F.avg_pool2d(target, scale)
        displacement = _resize(displacement, coarse.shape[-2:])
        for _ in range(ITERATIONS):
            moved = warp(coarse, displacement / scale)
            displacement = _box(displacement + scale * lucas_kanade_step(moved, wanted - moved), 3)
    return displacement


@torch.no_grad()
def measure_displacement(portrait: Tensor, frames: Tensor) -> Tensor:
    """Where frames (B, 3, F, H, W) look in the portrait (B, 3, H, W) by optical flow: (B, 2, F, H/4, W/4) in pixels.

    The flow is found finer than a cell: lips part by a few pixels, which averages over cells would hide.
    """
    count = frames.shape[2]
    flow = optical_flow(_repeat(portrait, count), _fold(frames))
    return _unfold(F.avg_pool2d(flow, CELL // PYRAMID[-1]), count)


class LandmarkFinder(nn.Module):
    """Finds landmarks in a portrait: a few convolutions, and the mean place of what they see.

    Args:
        hidden_dim: channels of the convolutions.
    """

    def __init__(self, hidden_dim: int = 64) -> None:
        super().__init__()
        self.see = nn.Conv2d(3 * CELL**2, hidden_dim, 3, padding=1)
        self.gather = nn.Conv2d(hidden_dim, hidden_dim, 3, stride=2, padding=1)
        self.relate = nn.ModuleList(
            nn.Conv2d(hidden_dim, hidden_dim, 3, padding=dilation, dilation=dilation) for dilation in (1, 2, 4)
        )
        self.out = nn.Conv2d(hidden_dim, FACE_POINTS, 1)

    def forward(self, portraits: Tensor) -> Tensor:
        """Landmarks (B, 70, 2) in pixels of portraits (B, 3, H, W) in [-1, 1].

        Those of the lips (40), the outer eye corners (2), the upper lids (14) and, opposite them, the lower (14).
        """
        dtype = self.see.weight.dtype
        hidden = F.silu(self.gather(F.silu(self.see(F.pixel_unshuffle(portraits.to(dtype), CELL)))))
        for convolution in self.relate:
            hidden = hidden + F.silu(convolution(hidden))
        shares = self.out(hidden).float().flatten(2).softmax(-1)  # b points (h w)
        y, x = (_middles(side, 2 * CELL, shares) for side in portraits.shape[-2:])
        return shares @ torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)


def face_displacement(points: Tensor, lips: Tensor, lids: Tensor, size: tuple[int, int]) -> Tensor:
    """Where a portrait with moved lips and lower lids looks in the portrait as it is.

    Around a moved landmark the picture is displaced as the landmark is, and less and less further away.

    Args:
        points: landmarks of the portraits as `LandmarkFinder` gives them, (B, 70, 2).
        lips: movements of the lips, (B, 80) in eye distances.
        lids: how far the lids are shut, (B,), from 0 (as in the portrait) to 1.
        size: height and width of the portraits.

    Returns:
        (B, 2, H/2, W/2) in pixels.
    """
    mouth, upper, lower, unit = _face_parts(points)
    parted = lips.float().unflatten(1, (LIP_POINTS, 2)) * unit
    raised = lids.float().view(-1, 1, 1) * LOWER_SHARE * (upper - lower)
    taken = _take_along(mouth, parted, LIP_REACH * unit, size) + _take_along(lower, raised, LOWER_REACH * unit, size)
    return -taken[:, :2] / (taken[:, 2:] + HOLD)


def lid_layer(points: Tensor, lids: Tensor, size: tuple[int, int]) -> Tensor:
    """The upper lids of a portrait, lowered: skin stretched over the eyes, which stay where they are.

    It is a layer of its own because a displacement that has to change at a lid's edge, from the lid's to none, sweeps
    through the eye in between.

    Args:
        points, lids, size: see `face_displacement`.

    Returns:
        Where the layer looks in the portrait, in pixels, what it covers and where lashes are, from 0 to 1:
        (B, 2 + 1 + 1, H, W).
    """
    _, upper, lower, unit = _face_parts(points)
    y, x = (torch.arange(side, device=points.device, dtype=torch.float32) + 0.5 for side in size)
    near = torch.exp(-0.5 * ((x.view(-1, 1) - upper[:, None, :, 0]) / (LID_REACH * unit)).square())  # b x p
    total = near.sum(-1, keepdim=True)
    edge = (near @ upper[..., 1:] / (total + 1e-6)).transpose(1, 2)  # b 1 x
    way = (lower - upper)[..., 1:] * UPPER_SHARE + (LID_RIM + LID_OVERLAP) * unit
    lowered = lids.float().view(-1, 1, 1) * (near @ way / (total + HOLD)).transpose(1, 2)
    skin = (LID_SKIN - LID_RIM) * unit
    below_top = y.view(-1, 1) - (edge - LID_SKIN * unit)  # b y x
    look_up = -below_top.clamp(min=0) * lowered / (skin + lowered)
    above_edge = skin + lowered - below_top
    covers = torch.sigmoid(above_edge / LID_EDGE) * (look_up < 0)
    lashes = torch.exp(-0.5 * (above_edge / LASH_WIDTH - 1).square()) * (lowered / way.amax(1, keepdim=True))
    return torch.stack([torch.zeros_like(look_up), look_up, covers, lashes], dim=1)


class Lids(NamedTuple):
    """The lids of those portraits that blink.

    Attributes:
        shut: which portraits, (N,).
        layer: theirs, as `lid_layer` gives it, (N, 4, H, W).
    """

    shut: Tensor
    layer: Tensor


def lower_lids(points: Tensor, lids: Tensor, displacement: Tensor) -> Lids:
    """Lids that go with a displacement (B, 2, H, W) in pixels; points, lids: see `face_displacement`."""
    shut = lids.nonzero().squeeze(1)  # eyes are open most of the time
    layer = lid_layer(points[shut], lids[shut], displacement.shape[-2:])
    return Lids(shut, warp(layer, displacement[shut]) if len(shut) else layer)


def show_face(
    portraits: Tensor, displacement: Tensor, lids: Lids, mode: Literal["bilinear", "bicubic"] = "bilinear"
) -> Tensor:
    """Portraits (B, 3, H, W) displaced by (B, 2, H, W) pixels, with their upper lids lowered over that."""
    faces, shut = warp(portraits, displacement, mode), lids.shut
    if not len(shut):
        return faces
    look_up, covers, lashes = lids.layer.split([2, 1, 1], dim=1)
    lid = warp(portraits[shut], displacement[shut] + look_up, mode)
    lid = lid - LASHES * lashes * (lid + 1)
    return faces.index_copy(0, shut, torch.lerp(faces[shut], lid, covers))


def move_face(portraits: Tensor, points: Tensor, lips: Tensor, lids: Tensor) -> Tensor:
    """Portraits (B, 3, H, W) with lips and lids moved and nothing painted; arguments as for `face_displacement`."""
    displacement = _resize(face_displacement(points, lips, lids, portraits.shape[-2:]), portraits.shape[-2:])
    return show_face(portraits, displacement, lower_lids(points, lids, torch.zeros_like(displacement)))


class Painter(nn.Module):
    """Moves the lips of a portrait as the voice has it, shuts its lids, and paints what comes to light.

    A portrait with closed lips has nothing between them to be displaced, and a network of a few tokens cannot say where
    lips part. Landmarks can: the portrait's are found, those of a moment are heard, and the picture between them is
    displaced accordingly. A few convolutions correct that and paint the inside of the mouth, or a shut lid. They are
    trained with lips and lids as they moved in real clips, where nothing is left to be guessed, and used with lips that
    are heard (`listen`).

    Args:
        speech_dim: numbers in the speech features around a frame.
        hidden_dim: channels of the convolutions.
        features: what the convolutions are told of the lips.
    """

    def __init__(self, speech_dim: int, hidden_dim: int = 64, features: int = 32) -> None:
        super().__init__()
        colours, parts = 3 * CELL**2, (CELL // FINE_CELL) ** 2
        self.finder = LandmarkFinder()
        self.lips = nn.Linear(speech_dim, 2 * LIP_POINTS)
        self.told = nn.Linear(2 * LIP_POINTS + 1, features)
        self.find = nn.Conv2d(colours + 2 * parts + 2 + features, hidden_dim, 3, padding=1)
        self.open = nn.ModuleList(nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1) for _ in range(2))
        self.scale = nn.ModuleList(nn.Linear(features, hidden_dim) for _ in range(2))
        self.part = nn.Conv2d(hidden_dim, 2 * parts, 3, padding=1)
        self.colour = nn.Conv2d(hidden_dim, colours, 3, padding=1)
        for layer in (self.lips, self.part, self.colour):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def listen(self, speech: Tensor) -> Tensor:
        """Speech features around frames (B, F, 5, layers, dim) to lip movements (B, F, 80), in eye distances."""
        return self.lips(speech.flatten(2).to(self.lips.weight.dtype))

    def forward(self, portraits: Tensor, displacement: Tensor, points: Tensor, lips: Tensor, lids: Tensor) -> Tensor:
        """Shows portraits with their lips and lids moved.

        Args:
            portraits: (B, 3, H, W) in [-1, 1].
            displacement: of all but lips and lids, (B, 2, H, W) in pixels.
            points, lips, lids: see `face_displacement`.
        """
        return self.show(portraits, displacement, points, lips, lids)[0]

    def show(
        self, portraits: Tensor, displacement: Tensor, points: Tensor, lips: Tensor, lids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As `forward`; returns what is shown, and what of it is paint (B, 3, H, W)."""
        dtype, size = self.find.weight.dtype, portraits.shape[-2:]
        parted = face_displacement(points, lips, lids, size)
        parted = warp(parted, F.avg_pool2d(displacement, FINE_CELL) / FINE_CELL)  # lips go with the head
        lowered = lower_lids(points, lids, displacement)
        cells = F.pixel_unshuffle(show_face(portraits, displacement + _resize(parted, size), lowered).to(dtype), CELL)
        moved = F.pixel_unshuffle(parted.to(dtype), CELL // FINE_CELL)
        voice = self.told(torch.cat([lips / LIP_SCALE, lids.unsqueeze(1)], dim=1).to(dtype))
        y, x = (torch.linspace(-1, 1, side, device=portraits.device, dtype=dtype) for side in cells.shape[-2:])
        places = torch.stack(torch.meshgrid(x, y, indexing="xy")).expand(len(portraits), -1, -1, -1)
        heard = voice[:, :, None, None].expand(-1, -1, *cells.shape[-2:])
        hidden = F.silu(self.find(torch.cat([cells, moved, places, heard], dim=1)))
        for convolution, scale in zip(self.open, self.scale, strict=True):
            hidden = hidden + F.silu(convolution(hidden) * (1 + scale(voice)[:, :, None, None]))
        parted = parted + F.pixel_shuffle(self.part(hidden), CELL // FINE_CELL).to(parted.dtype)
        shown = show_face(portraits, displacement + _resize(parted, size), lowered, "bicubic")
        paint = F.pixel_shuffle(self.colour(hidden), CELL).to(shown.dtype)
        return shown + paint, paint


class Observation(NamedTuple):
    """What the motion prior sees before it guesses.

    Attributes:
        portrait: (B, 3, H, W).
        points: its landmarks, (B, 70, 2) in pixels.
        present: the last frame of κ, (B, 3, H, W).
        start: `d₀`, with which the portrait, its lips as they are heard then, looks like `present`, (B, 2, H, W) in
            pixels.
        gestures: what the noise says of blinks and of the head, (B, N + K), see `asymtalker.models.gestures`.
    """

    portrait: Tensor
    points: Tensor
    present: Tensor
    start: Tensor
    gestures: Tensor

    @property
    def start_of_cells(self) -> Tensor:
        return F.avg_pool2d(self.start, CELL)


class MotionPrior(nn.Module):
    """A guess of a window: the portrait, displaced as the network says, starting from where κ has left the face.

    The last frame of κ is compared with the portrait by optical flow, `d₀`. The network sees the window with `d₀`
    applied and, for each frame, a first-order estimate of how the (noisy) frame is displaced from that; it answers with
    displacements to be added to `d₀`. What is missing of κ's last frame fades out over the first new ones, so that
    nothing jumps. With `x̂` the portrait so displaced, `s` the deviation of x₀ from it and
    `u = x_σ − (1−σ)·x̂`, the best linear estimate of the flow is `−x̂ + k·u`, `k = (σ − (1−σ)·s²) / D`,
    `D = (1−σ)²·s² + σ²`, and deviates by `s/√D`, which scales the rest of the network's answer (preconditioning as in
    EDM, arXiv 2206.00364).

    It looks at pixels, so it wants the linear autoencoder's basis (`adopt`); AsymTalkerPipeline sees to that.

    Args:
        dim: width of the transformer.
        latent_frames: latent frames of a window, `1 + m`.
        continuity_latents: latent frames of κ, `K`.
        channels: channels of a latent.
        temporal_ratio, spatial_ratio: of the autoencoder.
        audio_tokens: audio tokens per latent frame.
        speech_dim: numbers in the speech features around a frame.
    """

    def __init__(
        self,
        dim: int,
        latent_frames: int,
        continuity_latents: int,
        channels: int,
        temporal_ratio: int,
        spatial_ratio: int,
        audio_tokens: int,
        speech_dim: int,
    ) -> None:
        super().__init__()
        self.continuity_latents = continuity_latents
        self.frames, self.patch = temporal_ratio, spatial_ratio
        patch_dim = 3 * temporal_ratio * spatial_ratio**2
        # The autoencoder's, and saved with it alone; random until `adopt`.
        basis = torch.linalg.qr(torch.randn(patch_dim, channels, dtype=torch.float32)).Q
        self.register_buffer("mean", torch.zeros(patch_dim), persistent=False)
        self.register_buffer("basis", basis.contiguous(), persistent=False)
        self.register_buffer("scale", torch.ones(channels), persistent=False)
        self.deviation = nn.Parameter(torch.ones(latent_frames, channels), requires_grad=False)  # s
        cells = 2 * (spatial_ratio // CELL) ** 2
        new_latents = latent_frames - continuity_latents
        self.gestures = Gestures(new_latents, temporal_ratio * new_latents)
        told = (temporal_ratio + 1) * cells + channels + 6 * COORDINATE_OCTAVES + len(self.gestures.fields)
        self.embedding = nn.Linear(told, dim)
        self.displacement_out = nn.Linear(dim, temporal_ratio * cells)
        self.voice = nn.Linear(audio_tokens * dim, dim)
        self.painter = Painter(speech_dim)
        for layer in (self.displacement_out, self.voice):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def last_frame(self) -> int:
        """Index of κ's last frame in a window."""
        return self.frames * (self.continuity_latents - 1)

    def adopt(self, vae: AutoencoderPatchKLT) -> None:
        """Takes over the autoencoder's basis and latent scale, in float32."""
        like = {"device": self.deviation.device, "dtype": torch.float32}
        self.mean, self.basis = vae.mean.detach().to(**like), vae.basis.detach().to(**like)
        self.scale = torch.tensor(vae.config.latents_std or 1.0, **like).expand(vae.basis.shape[1])

    def paint(self, latents: Tensor) -> Tensor:
        """Normalised latents (B, C, T, h, w) to frames (B, 3, r·T, H, W)."""
        return unpatchify(self._patches(latents) + self.mean.float(), self.frames, self.patch)

    def project(self, frames: Tensor) -> Tensor:
        """Frames (B, 3, r·T, H, W) to normalised latents (B, C, T, h, w)."""
        latents = (patchify(frames, self.frames, self.patch) - self.mean.float()) @ self.basis.float()
        return (latents / self.scale.float()).permute(0, 4, 1, 2, 3)

    def observe(self, window: Tensor, reference: Tensor, sigma: Tensor, speech: Tensor) -> tuple[Observation, Tensor]:
        """Compares a window (B, C, T, h, w) with the portrait in z_ref; sigma (B,), speech as for `guess`.

        Returns:
            What was seen, and features for each token (B, T·h·w, dim).
        """
        last = slice(self.continuity_latents - 1, self.continuity_latents)
        portrait = self.paint(reference[:, :, :1])[:, :, -1]
        present = self.paint(window[:, :, last])[:, :, -1]
        points = self.painter.finder(portrait)
        lips = self.painter.listen(speech[:, self.last_frame : self.last_frame + 1])[:, 0]
        awake = torch.zeros_like(lips[:, 0])  # a blink is over before its chunk is
        talking = self.painter(portrait, torch.zeros_like(portrait[:, :2]), points, lips, awake)
        displacement = _resize(optical_flow(talking, present), portrait.shape[-2:])
        moved = warp(talking, displacement)
        held = self.project(moved.unsqueeze(2).expand(-1, -1, self.frames, -1, -1))  # b c 1 h w

        known = torch.ones_like(window[:1, :1, :, :1, :1])
        known[:, :, self.continuity_latents :] = 0
        share = known + (1 - known) * (1 - sigma.view(-1, 1, 1, 1, 1))
        image, difference = F.avg_pool2d(moved, CELL), self._coarse(window - share * held)
        count = difference.shape[2]
        evidence = lucas_kanade_step(_repeat(image, count), _fold(difference))  # (b f) 2 y x
        start = F.avg_pool2d(displacement, CELL) / CELL
        gestures = self.gestures.read_noise(window[:, :, self.continuity_latents :], sigma)
        features = [
            self._cells(_unfold(evidence, count)),
            self._cells(start.unsqueeze(2).expand(-1, -1, self.frames, -1, -1), 1).expand(
                -1, window.shape[2], -1, -1, -1
            ),
            (held - reference[:, :, :1]).permute(0, 2, 3, 4, 1).expand(-1, window.shape[2], -1, -1, -1),
            _coordinates(window).expand(len(window), -1, -1, -1, -1),
            self.gestures.movement(gestures)[:, None, None, None].expand(-1, *window.shape[2:], -1),
        ]
        return Observation(portrait, points, present, displacement, gestures), torch.cat(features, dim=-1).flatten(1, 3)

    def voiced(self, hidden_states: Tensor, tokens: Tensor) -> Tensor:
        """Scales what is known of each place (B, T·h·w, dim) by the sound of its moment (B, T, tokens, dim).

        A product of the two is what a mouth that opens with the voice takes; without this layer it has to grow out of
        sums of both in the feed-forward layers, which takes far longer.
        """
        scale = 1 + self.voice(tokens.flatten(2)).unsqueeze(2)
        return (hidden_states.unflatten(1, (tokens.shape[1], -1)) * scale).flatten(1, 2)

    def displace(self, hidden_states: Tensor, seen: Observation, grid: list[int]) -> Tensor:
        """The displacements that the network wants for the new frames, (B, 2, r·N, H/4, W/4) in pixels.

        Args:
            hidden_states: (B, T·h·w, dim).
            seen: see `observe`.
            grid: T, h, w.
        """
        cells = self.displacement_out(hidden_states).float().unflatten(1, grid)[:, self.continuity_latents :]
        side = self.patch // CELL
        cells = cells.unflatten(-1, (2, self.frames, side, side))  # b n h w 2 r y x
        change = cells.permute(0, 4, 1, 5, 2, 6, 3, 7).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        change = _smooth(_from_still(change), dim=2)[:, :, 1:]
        eased = 1 - _decay(EASE, change.shape[2], change)
        drawn = self.gestures(seen.gestures, change.shape[-2:])
        return seen.start_of_cells.unsqueeze(2) + drawn + CELL * eased * change

    def guess(self, seen: Observation, displacement: Tensor, speech: Tensor, blinking: bool = True) -> Tensor:
        """x̂ of the new latents (B, C, N, h, w): the portrait displaced and painted.

        Args:
            seen: see `observe`; `d₀` lends its finer detail to the first frames' displacement.
            displacement: (B, 2, r·N, H/4, W/4).
            speech: features of the window, (B, 1 + r·m, 5, layers, dim).
            blinking: whether it blinks where the noise says so.
        """
        size, coarse = seen.portrait.shape[-2:], seen.start_of_cells
        fine = (seen.start - _resize(coarse, size)).unsqueeze(2)
        displacement = torch.cat([coarse.unsqueeze(2), displacement], dim=2)  # that of κ's last frame before them
        count = displacement.shape[2]
        kept = F.pad(_decay(EASE, count - 1, fine), (0, 0, 0, 0, 1, 0), value=1.0)
        field = _unfold(_resize(_fold(displacement), size), count) + kept * fine
        lips = self.painter.listen(speech[:, self.last_frame :]).flatten(0, 1)
        points = seen.points.repeat_interleave(count, 0)
        lids = F.pad(self.gestures.lids(seen.gestures), (1, 0)).flatten() * blinking
        frames = _unfold(self.painter(_repeat(seen.portrait, count), _fold(field), points, lips, lids), count)
        missing = (seen.present - frames[:, :, 0]).unsqueeze(2)
        return self.project(frames[:, :, 1:] + _decay(FADE, count - 1, frames) * missing)

    def motions(self, displacement: Tensor, noise: Tensor, speech: Tensor, points: list[np.ndarray]) -> list[Motion]:
        """What the network says of the new frames, for `asymtalker.renderer`.

        Args:
            displacement: its answer, (B, 2, r·N, H/4, W/4) in pixels.
            noise: what the window was made of, (B, C, N, h, w).
            speech: features of the window, (B, 1 + r·m, 5, layers, dim).
            points: landmarks of each portrait, (478, 3) in pixels of the network's frames.
        """
        numbers = self.gestures.read_noise(noise, torch.ones_like(noise[:, 0, 0, 0, 0]))
        lids = self.gestures.lids(numbers).cpu().numpy()
        heard = self.painter.listen(speech[:, self.last_frame + 1 :]).float().unflatten(2, (LIP_POINTS, 2))
        lips = ARTICULATION * heard[:, :, [HEARD_LIPS.index(point) for point in LIPS]]
        poses = [
            fit_pose(found, _read_field(-field, found[list(RIGID), :2]).cpu().numpy())
            for field, found in zip(displacement.float(), points, strict=True)
        ]
        return [Motion(*parts) for parts in zip(lips.cpu().numpy(), lids, poses, strict=True)]

    def flow(self, window: Tensor, guess: Tensor, sigma: Tensor, residual: Tensor) -> Tensor:
        """The flow (B, C, T, h, w), zero for κ, given x̂ of the new latents and the network's unit-scale residual."""
        new = slice(self.continuity_latents, None)
        sigma = sigma.float().view(-1, 1, 1, 1, 1)
        variance = self.deviation[new].float().T[None, :, :, None, None] ** 2
        spread = (1 - sigma) ** 2 * variance + sigma**2
        gain = (sigma - (1 - sigma) * variance) / spread
        flow = gain * (window[:, :, new].float() - (1 - sigma) * guess) - guess
        flow = flow + (variance / spread).sqrt() * residual[:, :, new].float()
        return F.pad(flow, (0, 0, 0, 0, self.continuity_latents, 0))

    def unexplained(self, sigma: Tensor) -> Tensor:
        """Mean variance of the new latents' flow that the displaced portrait leaves to the network, (B,)."""
        variance = self.deviation[self.continuity_latents :].float() ** 2
        sigma = sigma.float().view(-1, 1, 1)
        return (variance / ((1 - sigma) ** 2 * variance + sigma**2)).mean((1, 2))

    def _coarse(self, latents: Tensor) -> Tensor:
        """Latents (B, C, T, h, w) to frames averaged over cells, without the mean: (B, 3, r·T, H/4, W/4)."""
        side = self.patch // CELL
        basis = self.basis.float().unflatten(0, (3, self.frames, side, CELL, side, CELL)).mean((3, 5)).flatten(0, 3)
        return unpatchify(self._scaled(latents) @ basis.T, self.frames, side)

    def _patches(self, latents: Tensor) -> Tensor:
        return self._scaled(latents.float()) @ self.basis.float().T

    def _scaled(self, latents: Tensor) -> Tensor:
        """(b, c, t, h, w) -> (b, t, h, w, c), contiguous: matmul would copy the basis for each row of the others"""
        return latents.permute(0, 2, 3, 4, 1).contiguous() * self.scale.float()

    def _cells(self, field: Tensor, frames: int | None = None) -> Tensor:
        """(b, c, t·r, h·y, w·x) -> (b, t, h, w, c·r·y·x)"""
        frames = frames or self.frames
        return patchify(field[:, :, : field.shape[2] // self.frames * frames], frames, self.patch // CELL)


def _read_field(field: Tensor, places: np.ndarray) -> Tensor:
    """A field of cells (2, F, h, w) at places (R, 2) in pixels: (F, R, 2)."""
    size = torch.tensor(field.shape[:-3:-1]) * CELL
    grid = (torch.from_numpy(places).float() + 0.5) * (2 / size) - 1
    grid = grid.to(field.device).expand(field.shape[1], 1, -1, -1)
    found = F.grid_sample(field.transpose(0, 1), grid, padding_mode="border", align_corners=False)  # f 2 1 r
    return found[:, :, 0].transpose(1, 2)


def _face_parts(points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Landmarks (B, 70, 2) to those of lips, upper lids and lower lids, and the distance of the eyes, (B, 1, 1)."""
    mouth, eyes, upper, lower = points.float().split([LIP_POINTS, 2, LID_POINTS, LID_POINTS], dim=1)
    return mouth, upper, lower, (eyes[:, 1] - eyes[:, 0]).norm(dim=-1).clamp(min=1).view(-1, 1, 1)


def _from_still(change: Tensor) -> Tensor:
    """(B, C, F, h, w) with κ's last frame before it, since which nothing has changed."""
    return F.pad(change, (0, 0, 0, 0, 1, 0))


def _decay(share: float, frames: int, like: Tensor) -> Tensor:
    """share¹, share², ... for so many frames, (F, 1, 1)."""
    return (share ** torch.arange(1, frames + 1, device=like.device, dtype=like.dtype)).view(-1, 1, 1)


def _middles(side: int, cell: int, like: Tensor) -> Tensor:
    """Where the middles of cells are along a side of a picture, (side / cell,) in pixels."""
    return cell * (torch.arange(side // cell, device=like.device, dtype=like.dtype) + 0.5)


def _take_along(places: Tensor, moves: Tensor, reach: Tensor, size: tuple[int, int]) -> Tensor:
    """How moving landmarks take along what is near them.

    Args:
        places, moves: (B, P, 2) in pixels.
        reach: standard deviation of what is near, (B, 1, 1).
        size: height and width of the picture.

    Returns:
        Sums over landmarks of moves by nearness, and of nearness, (B, 3, H/2, W/2).
    """
    arrived = places + moves
    y, x = (_middles(side, FINE_CELL, places) for side in size)
    away = x - arrived[..., :1], y - arrived[..., 1:]
    near_x, near_y = (torch.exp(-0.5 * (distance / reach).square()) for distance in away)  # b p side
    values = torch.cat([moves, torch.ones_like(moves[..., :1])], dim=-1).transpose(1, 2).unsqueeze(-1)  # b 3 p 1
    return (values * near_y.unsqueeze(1)).transpose(2, 3) @ near_x.unsqueeze(1)


def _box(x: Tensor, size: int) -> Tensor:
    return F.avg_pool2d(F.pad(x, (size // 2,) * 4, mode="replicate"), size, stride=1)


def _smooth(x: Tensor, dim: int) -> Tensor:
    """Averages frames along `dim` with their neighbours, 1 : 2 : 1: each latent frame speaks for its own only."""
    count = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, count - 1)], dim)
    after = torch.cat([x.narrow(dim, 1, count - 1), x.narrow(dim, count - 1, 1)], dim)
    return (before + 2 * x + after) / 4


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return x if x.shape[-2:] == size else F.interpolate(x, size=size, mode="bilinear")


def _fold(x: Tensor) -> Tensor:
    """(b, c, f, h, w) -> (b·f, c, h, w)"""
    return x.transpose(1, 2).flatten(0, 1)


def _unfold(x: Tensor, frames: int) -> Tensor:
    """(b·f, c, h, w) -> (b, c, f, h, w)"""
    return x.unflatten(0, (-1, frames)).transpose(1, 2)


def _repeat(image: Tensor, frames: int) -> Tensor:
    """(b, c, h, w) -> (b·f, c, h, w)"""
    return image.unsqueeze(1).expand(-1, frames, -1, -1, -1).flatten(0, 1)


def _coordinates(window: Tensor) -> Tensor:
    """Where a token is in the window, in sines of octaves: (1, T, h, w, 6·octaves)."""
    axes = [torch.linspace(0, 1, size + 1, device=window.device)[:-1] + 0.5 / size for size in window.shape[2:]]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    angles = places.unsqueeze(-1) * (torch.pi * 2.0 ** torch.arange(COORDINATE_OCTAVES, device=window.device))
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(3).unsqueeze(0)
