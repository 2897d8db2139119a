"""What speech does not determine: how a head moves while it talks, and when it blinks. The noise of a window says so.

A decision of this project. One step of denoising gives the mean of what could be, and the mean of heads that move is
one that is still. So a few numbers of the noise are given a meaning: how far the head departs, along its principal
movements, from what was to be expected of where it is and of how fast it goes. In training they are set to what the
clip shows, which couples noise and data (any coupling with the same marginals will do for flow matching, as in
minibatch optimal transport, arXiv 2302.00482); in use they are noise like the rest, and one step moves the head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asymtalker.chunks import FPS

GRID = 8
"""Movements of the head are fields of so many places across the picture."""
CHANNELS = 6
"""Of each new latent frame so many channels, the last, say of the head's movements by their mean over the picture."""
LIMIT = 4.0
"""Departures are cut off at so many deviations."""
BLINKS_PER_MINUTE = 20
"""Between those of people at rest (17) and in conversation (26; Bentivoglio et al. 1997)."""
BLINK = (0.3, 0.9, 1.0, 0.95, 0.45, 0.15)
"""How far lids are shut in the frames of a blink: a quarter of a second, faster to shut than to open."""


class Gestures(nn.Module):
    """Principal movements of the head within a chunk, blinks, and where in the noise they are.

    The last channels of an autoencoder whose components are sorted show the least of a picture, and their mean over it
    nothing that is seen; there the numbers are: first one for each new latent frame, for blinks, then those of the
    movements. Movements are zero until `train.gestures.fit_gestures`.

    Args:
        new_latents: new latent frames of a window, N.
        new_frames: frames of these, r·N.
    """

    def __init__(self, new_latents: int, new_frames: int) -> None:
        super().__init__()
        self.new_latents, self.new_frames = new_latents, new_frames
        count, field = CHANNELS * new_latents, 2 * GRID**2
        for name, shape in (
            ("fields", (count, 2, new_frames, GRID, GRID)),  # in widths of the picture
            ("reading", (count, field * new_frames)),
            ("expected", (count, 2 * field)),
        ):
            self.register_parameter(name, nn.Parameter(torch.zeros(shape), requires_grad=False))

    def read_noise(self, latents: Tensor, sigma: Tensor) -> Tensor:
        """The numbers (B, N + K) in new latents (B, C, N, h, w) at noise levels (B,); standard normal in noise."""
        shown = latents[:, -CHANNELS - 1 :]
        numbers = shown.mean((-2, -1)) * math.sqrt(shown[0, 0, 0].numel())
        return (numbers.flatten(1) / sigma.view(-1, 1)).clamp(-LIMIT, LIMIT)

    def write_noise(self, latents: Tensor, sigma: Tensor, numbers: Tensor) -> Tensor:
        """New latents (B, C, N, h, w) at noise levels (B,) in which `read_noise` finds these numbers (B, N + K)."""
        shown = latents[:, -CHANNELS - 1 :]
        wanted = (sigma.view(-1, 1) * numbers).view(shown.shape[:3]) / math.sqrt(shown[0, 0, 0].numel())
        change = wanted - shown.mean((-2, -1))
        return torch.cat([latents[:, : -CHANNELS - 1], shown + change[..., None, None]], dim=1)

    def read_movement(self, displacement: Tensor) -> Tensor:
        """The numbers (B, K) that describe how a head moves.

        Args:
            displacement: of κ's first frame, κ's last, and the new frames, (B, 2, 2 + r·N, h, w) in pixels of a picture
                four times as wide.
        """
        before, now, change = split_movement(coarse_movement(displacement))
        told = change.flatten(1) @ self.reading.T.float()
        past = torch.cat([now.flatten(1), (now - before).flatten(1)], dim=1)
        return (told - past @ self.expected.T.float()).clamp(-LIMIT, LIMIT)

    def movement(self, numbers: Tensor) -> Tensor:
        """Of numbers (B, N + K) those of the head's movements, (B, K)."""
        return numbers[:, self.new_latents :]

    def forward(self, numbers: Tensor, size: tuple[int, int]) -> Tensor:
        """Numbers (B, N + K) to displacements of the new frames, (B, 2, r·N, *size) in pixels, four times as fine."""
        fields = torch.einsum("bk,kcfyx->bfcyx", self.movement(numbers).float(), self.fields.float())
        fine = F.interpolate(fields.flatten(0, 1), size=size, mode="bilinear") * (4 * size[1])
        return fine.unflatten(0, fields.shape[:2]).transpose(1, 2)

    def lids(self, numbers: Tensor) -> Tensor:
        """Numbers (B, N + K) to how far the lids are shut in the new frames, (B, r·N), from 0 to 1.

        In a chunk there is a blink or none. Whether is as probable as many blinks a minute have it, and when is as
        likely as any other time; it is over before the chunk is, so that nothing has to be carried on.
        """
        share = torch.special.ndtr(numbers[:, :1].float()) / (BLINKS_PER_MINUTE / 60 * self.new_frames / FPS)
        start = (share * (self.new_frames - len(BLINK) + 1)).floor()
        since = torch.arange(self.new_frames, device=numbers.device) - start
        shut = torch.tensor(BLINK, device=numbers.device)[since.long().clamp(0, len(BLINK) - 1)]
        return torch.where((share < 1) & (since >= 0) & (since < len(BLINK)), shut, 0.0)


def coarse_movement(displacement: Tensor) -> Tensor:
    """Displacements (B, 2, F, h, w) in pixels of a picture four times as wide, in widths of it: (B, 2, F, 8, 8)."""
    frames = displacement.transpose(1, 2)
    coarse = F.adaptive_avg_pool2d(frames.flatten(0, 1), GRID) / (4 * displacement.shape[-1])
    return coarse.unflatten(0, frames.shape[:2]).transpose(1, 2)


def split_movement(movement: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Movements (B, 2, 2 + F, 8, 8) as in `read_movement` to: before, now, and changes since now (B, 2, F, 8, 8)."""
    before, now = movement[:, :, 0], movement[:, :, 1]
    return before, now, movement[:, :, 2:] - now.unsqueeze(2)
