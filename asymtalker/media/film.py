"""Films that are put together after the fact, with moviepy."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from moviepy import CompositeVideoClip, TextClip, VideoFileClip, clips_array

from asymtalker.media.video import MARK

CAPTION_SHARE, LEAST_CAPTION = 0.11, 24
"""Height of a caption, as a share of the film's, and in pixels at least."""
LEAST_HEIGHT, MOST_WIDTH = 256, 960
"""Of each of the two videos, in pixels: small ones are enlarged; beside each other they are not wider than a screen."""


def write_side_by_side(left: str | Path, right: str | Path, output: str | Path, captions: tuple[str, str]) -> Path:
    """Writes two videos beside each other, with the sound of the left one.

    Args:
        captions: what stands above each.

    Raises:
        OSError: a video cannot be read, or the film not be written.
    """
    output = Path(output)
    with ExitStack() as opened:
        clips = [opened.enter_context(closing(VideoFileClip(str(path)))) for path in (left, right)]
        height = max(LEAST_HEIGHT, *(clip.h for clip in clips))
        height = min(height, *(MOST_WIDTH * clip.h // clip.w for clip in clips)) // 2 * 2
        captioned = [_captioned(_resized(clip, height), text) for clip, text in zip(clips, captions, strict=True)]
        film = clips_array([captioned]).with_audio(clips[0].audio)
        film.write_videofile(
            str(output),
            fps=clips[0].fps,
            codec="libx264",
            audio_codec="aac",
            preset="veryfast",
            temp_audiofile_path=str(output.parent),
            ffmpeg_params=["-metadata", f"comment={MARK}", "-movflags", "+faststart"],
            logger=None,
        )
    return output


def _resized(clip: VideoFileClip, height: int) -> VideoFileClip:
    return clip if clip.h == height else clip.resized(height=height)


def _captioned(clip: VideoFileClip, text: str) -> CompositeVideoClip:
    """The clip under a dark bar in which the text stands."""
    bar = max(round(CAPTION_SHARE * clip.h) // 2 * 2, LEAST_CAPTION)
    caption = TextClip(text=text, font_size=round(bar * 0.5), color="white", method="label", margin=(6, 2))
    width = clip.w // 2 * 2
    background = (17, 20, 21)
    return CompositeVideoClip(
        [clip.with_position((0, bar)), caption.with_position((4, "top")).with_duration(clip.duration)],
        size=(width, clip.h + bar),
        bg_color=background,
    )
