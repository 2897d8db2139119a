"""Arithmetic of a chunk-wise video: frames, latent frames, chunks and audio windows. Integers only.

A window is `1 + r·m` frames, encoded by itself into `1 + m` latent frames, where `r` is the autoencoder's temporal
compression. Its first `continuity_frames` repeat the past (the continuity reference κ), the others are new: a chunk.
Frame 0 is the first frame of the finished video; the first window therefore starts at a negative frame, and the frames
before 0 show the portrait held still, in silence.
"""

from dataclasses import dataclass
from math import ceil

FPS = 25
SAMPLING_RATE = 16_000
SAMPLES_PER_FRAME = SAMPLING_RATE // FPS


@dataclass(frozen=True)
class WindowLayout:
    """How one window divides into carried and new frames.

    Args:
        window_frames: frames of a window, `1 + r·m`.
        continuity_frames: frames carried over from the past, `1 + r·(K − 1)`.
        temporal_ratio: frames per latent frame after the first, `r`.

    Raises:
        ValueError: if a number of frames has no whole number of latent frames, or nothing new is left.
    """

    window_frames: int
    continuity_frames: int
    temporal_ratio: int

    def __post_init__(self) -> None:
        for name in ("window_frames", "continuity_frames"):
            frames = getattr(self, name)
            if frames < 1 or (frames - 1) % self.temporal_ratio:
                raise ValueError(
                    f"{name} must be 1 plus a multiple of {self.temporal_ratio} (the autoencoder's temporal "
                    f"compression), not {frames}."
                )
        if self.continuity_frames >= self.window_frames:
            raise ValueError(
                f"continuity_frames ({self.continuity_frames}) must be smaller than window_frames "
                f"({self.window_frames}): a window needs new frames."
            )

    def holding(self, window_frames: int) -> "WindowLayout":
        """The layout of windows of another length that carry over as many frames."""
        return WindowLayout(window_frames, self.continuity_frames, self.temporal_ratio)

    def check_first_continuity(self, frames: int) -> None:
        """Raises ValueError unless the first window can start from so many frames of the still portrait."""
        if not 1 <= frames <= self.continuity_frames or (frames - 1) % self.temporal_ratio:
            raise ValueError(
                f"first_continuity_frames must be 1 plus a multiple of {self.temporal_ratio}, up to "
                f"{self.continuity_frames}, not {frames}."
            )

    @property
    def latent_frames(self) -> int:
        """Latent frames of a window, `1 + m`."""
        return latent_frame_count(self.window_frames, self.temporal_ratio)

    @property
    def continuity_latents(self) -> int:
        """Latent frames of the continuity reference, `K`."""
        return latent_frame_count(self.continuity_frames, self.temporal_ratio)

    @property
    def new_latents(self) -> int:
        """Latent frames that a chunk generates, `N = 1 + m − K`."""
        return self.latent_frames - self.continuity_latents

    @property
    def new_frames(self) -> int:
        """Frames that a chunk adds to the video, `r·N`."""
        return self.window_frames - self.continuity_frames

    def chunk_count(self, frames: int) -> int:
        """Chunks that cover a video of `frames` frames; the last may be partial."""
        return ceil(frames / self.new_frames)

    def window_start(self, chunk: int) -> int:
        """Frame at which the window of chunk `chunk` (from 0) starts; negative for the first."""
        return chunk * self.new_frames - self.continuity_frames

    def kept_frames(self, chunk: int, frames: int) -> int:
        """New frames of chunk `chunk` that belong to a video of `frames` frames."""
        return max(0, min(self.new_frames, frames - chunk * self.new_frames))


def latent_frame_count(frames: int, temporal_ratio: int) -> int:
    """Latent frames of `frames = 1 + r·m` frames."""
    return 1 + (frames - 1) // temporal_ratio


def video_frame_count(samples: int) -> int:
    """Frames of the video that accompanies `samples` samples of 16 kHz speech: ⌈seconds · 25⌉."""
    return ceil(samples / SAMPLES_PER_FRAME)
