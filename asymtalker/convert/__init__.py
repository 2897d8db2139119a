"""Public checkpoints of the same architecture become pipeline folders of this project.

Facts about the published files (names, shapes, settings) are those of the repositories
`Soul-AILab/SoulX-FlashHead-1_3B`, `Wan-AI/Wan2.1-T2V-1.3B-Diffusers`, `Lightricks/LTX-Video` and
`facebook/wav2vec2-base-960h`. Nothing of them is part of this package: they are downloaded when asked for.
"""

from asymtalker.convert.flashhead import FLASHHEAD, convert_flashhead, outline_flashhead
from asymtalker.convert.parts import SPEECH_ENCODER, VARIANTS
from asymtalker.convert.wan import LTX_VIDEO, WAN, convert_wan

__all__ = [
    "FLASHHEAD",
    "LTX_VIDEO",
    "SPEECH_ENCODER",
    "VARIANTS",
    "WAN",
    "convert_flashhead",
    "convert_wan",
    "outline_flashhead",
]
