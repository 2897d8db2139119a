"""Speech encoders: a 16 kHz waveform becomes features at 25 frames per second.

Every encoder maps a waveform (B, 640·F) to features (B, F, layers, dim), and says how much past it wants
(`context_frames`) and how far it looks ahead (`lookahead_frames`); `asymtalker.conditioning` cuts the waveform to
these, for a file, a microphone and training alike.
"""

from typing import Any, Self

import librosa
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureEncoder

from asymtalker.chunks import SAMPLES_PER_FRAME, SAMPLING_RATE


class LogMelSpeechEncoder(ModelMixin, ConfigMixin):
    """Log-mel spectrogram with a fixed normalisation: needs no download and no statistics of the file.

    The mel frames that fall in one video frame are its "layers". A mel frame ends where its hop ends, so the features
    of a video frame depend on its own sound and the `window_length − hop_length` samples before it, on nothing later.

    Args:
        mel_bins: mel bands, the feature dimension.
        layers: mel frames per video frame (hop = 640 / layers samples).
        window_length: samples of the analysis window.
        fft_length: samples of the Fourier transform.
        log_mean, log_std: fixed normalisation of log10 power.
        lookahead_frames: video frames of sound after a window that its features may use.
    """

    _keep_in_fp32_modules = ["mel_filters", "window"]

    @register_to_config
    def __init__(
        self,
        mel_bins: int = 80,
        layers: int = 4,
        window_length: int = 400,
        fft_length: int = 512,
        log_mean: float = -4.0,
        log_std: float = 1.8,
        lookahead_frames: int = 2,
    ) -> None:
        super().__init__()
        mel = librosa.filters.mel(sr=SAMPLING_RATE, n_fft=fft_length, n_mels=mel_bins)
        self.mel_filters = nn.Parameter(torch.from_numpy(mel), requires_grad=False)  # (mel_bins, fft_length/2 + 1)
        self.window = nn.Parameter(torch.hann_window(window_length, dtype=torch.float32), requires_grad=False)

    @property
    def layers(self) -> int:
        return self.config.layers

    @property
    def feature_dim(self) -> int:
        return self.config.mel_bins

    @property
    def context_frames(self) -> int:
        """Frames of sound before the end of a window that the features may depend on: the window and a margin."""
        return 0

    @property
    def lookahead_frames(self) -> int:
        return self.config.lookahead_frames

    def forward(self, waveform: Tensor) -> Tensor:
        """Encodes a waveform (B, 640·F) at 16 kHz to features (B, F, layers, mel_bins) in float32."""
        hop = SAMPLES_PER_FRAME // self.config.layers
        frames = waveform.shape[-1] // SAMPLES_PER_FRAME
        past = self.config.window_length - hop
        signal = F.pad(waveform.float(), (past, 0)).unfold(-1, self.config.window_length, hop)
        spectrum = torch.fft.rfft(signal * self.window.float(), n=self.config.fft_length)
        power = spectrum.abs().square() @ self.mel_filters.float().T
        features = (power.clamp(min=1e-6).log10() - self.config.log_mean) / self.config.log_std
        return features[:, : frames * self.config.layers].unflatten(1, (frames, self.config.layers))


class LandmarkSpeechEncoder(ModelMixin, ConfigMixin):
    """Log-mel features through temporal convolutions that were trained to predict lip landmarks from sound.

    What a network that makes video wants to know of sound is how it moves lips. A small one takes far longer to find
    that out from pixels than this one takes from landmarks (`train/speech.py`), and it comes without a download.

    Args:
        hidden_dim: channels of the convolutions, the feature dimension.
        blocks: residual convolutions over three frames; the first `lookahead_frames` of them see a frame ahead.
        points: landmarks that `landmarks` predicts.
        lookahead_frames: video frames of sound after a frame that its features use.
        context_frames: video frames of sound that are encoded for a window, its own included.
        mel_config: arguments of the `LogMelSpeechEncoder`.
    """

    @register_to_config
    def __init__(
        self,
        hidden_dim: int = 128,
        blocks: int = 6,
        points: int = 40,
        lookahead_frames: int = 2,
        context_frames: int = 32,
        mel_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.mel = LogMelSpeechEncoder(**(mel_config or {}))
        self.embed = nn.Linear(self.mel.layers * self.mel.feature_dim, hidden_dim)
        self.convolutions = nn.ModuleList(nn.Conv1d(hidden_dim, hidden_dim, 3) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden_dim, elementwise_affine=False)
        self.to_landmarks = nn.Linear(hidden_dim, 2 * points)
        nn.init.zeros_(self.to_landmarks.weight)  # lips hardly move: random weights would be far off
        nn.init.zeros_(self.to_landmarks.bias)

    @property
    def layers(self) -> int:
        return 1

    @property
    def feature_dim(self) -> int:
        return self.config.hidden_dim

    @property
    def context_frames(self) -> int:
        """Frames of sound before the end of a window that the features may depend on."""
        return self.config.context_frames

    @property
    def lookahead_frames(self) -> int:
        return self.config.lookahead_frames

    def forward(self, waveform: Tensor) -> Tensor:
        """Encodes a waveform (B, 640·F) at 16 kHz to features (B, F, 1, hidden_dim) in the encoder's dtype."""
        spectrum = self.mel(waveform).flatten(2).to(self.embed.weight.dtype)
        hidden = self.embed(spectrum).transpose(1, 2)  # b d f
        for number, convolution in enumerate(self.convolutions):
            ahead = int(number < self.config.lookahead_frames)
            hidden = hidden + F.gelu(convolution(F.pad(hidden, (2 - ahead, ahead))))
        return self.norm(hidden.transpose(1, 2)).unsqueeze(2)

    def landmarks(self, features: Tensor) -> Tensor:
        """Where the lips are by features (B, F, 1, hidden_dim), away from their rest: (B, F, points, 2)."""
        return self.to_landmarks(features.squeeze(2)).unflatten(-1, (-1, 2))


class Wav2Vec2SpeechEncoder(ModelMixin, ConfigMixin):
    """wav2vec2 at 25 frames per second: the outputs of all its transformer layers are the "layers" of a frame.

    The convolutional features are interpolated to the video's rate *before* the transformer encoder, as public
    talking-head models of this family do. The weights are those of `Wav2Vec2Model`, unchanged:
    `encoder.wav2vec2.load_state_dict(Wav2Vec2Model.from_pretrained("facebook/wav2vec2-base-960h").state_dict())`.

    Args:
        wav2vec2_config: a `transformers.Wav2Vec2Config` as a dict; None is wav2vec2-base.
        context_frames: video frames of sound that are encoded for a window, its own included (200: 8 s).
    """

    @register_to_config
    def __init__(self, wav2vec2_config: dict[str, Any] | None = None, context_frames: int = 200) -> None:
        super().__init__()
        config = Wav2Vec2Config(**(wav2vec2_config or {}))
        self.wav2vec2 = Wav2Vec2Model(config)
        self.wav2vec2.feature_extractor = _VideoRateFeatureEncoder(config)
        self.requires_grad_(False)
        self.eval()

    @property
    def layers(self) -> int:
        return self.wav2vec2.config.num_hidden_layers

    @property
    def feature_dim(self) -> int:
        return self.wav2vec2.config.hidden_size

    @property
    def context_frames(self) -> int:
        """Frames of sound before the end of a window that the features may depend on."""
        return self.config.context_frames

    @property
    def lookahead_frames(self) -> int:
        return 0

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: dropout or masking in the features would differ from what inference sees."""
        return super().train(False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Encodes a waveform (B, 640·F) at 16 kHz to features (B, F, layers, hidden_size) in the encoder's dtype.

        The waveform is normalised over its whole length, as wav2vec2's feature extractor does; give it the context.
        """
        waveform = waveform.float()
        variance, mean = torch.var_mean(waveform, dim=-1, keepdim=True, correction=0)
        waveform = (waveform - mean) / (variance + 1e-7).sqrt()
        hidden_states = self.wav2vec2(waveform.to(self.dtype), output_hidden_states=True).hidden_states
        return torch.stack(hidden_states[1:], dim=2)  # the first is the input of the first layer


class _VideoRateFeatureEncoder(Wav2Vec2FeatureEncoder):
    """wav2vec2's convolutions (B, 640·F) → (B, C, ≈ 2·F), linearly interpolated to (B, C, F)."""

    def forward(self, input_values: Tensor) -> Tensor:
        frames = input_values.shape[-1] // SAMPLES_PER_FRAME
        return F.interpolate(super().forward(input_values), size=frames, mode="linear", align_corners=True)
