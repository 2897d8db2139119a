"""The networks of a checkpoint; each is a diffusers ModelMixin."""

from asymtalker.models.patch_autoencoder import AutoencoderPatchKLT
from asymtalker.models.speech import LandmarkSpeechEncoder, LogMelSpeechEncoder, Wav2Vec2SpeechEncoder
from asymtalker.models.transformer import AsymTalkerTransformer3DModel

__all__ = [
    "AsymTalkerTransformer3DModel",
    "AutoencoderPatchKLT",
    "LandmarkSpeechEncoder",
    "LogMelSpeechEncoder",
    "Wav2Vec2SpeechEncoder",
]
