import pytest
import torch
from diffusers import WanTransformer3DModel

from asymtalker.models import AsymTalkerTransformer3DModel
from asymtalker.models.transformer import AudioProjection
from tests.tiny import LATENT_CHANNELS, tiny_transformer

WAN = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 8,
    "out_channels": 4,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 2,
}


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    hidden = torch.randn(2, 2 * LATENT_CHANNELS, 6, 4, 4)
    return hidden, torch.tensor([937.5, 100.0]), torch.randn(2, 21, 5, 4, 16)


@torch.no_grad()
def test_equals_wan_where_audio_tokens_are_the_text():
    """Same parameters, same tokens for every latent frame: the output of diffusers' WanTransformer3DModel."""
    torch.manual_seed(0)
    wan = WanTransformer3DModel(**WAN, text_dim=12).eval()
    ours = AsymTalkerTransformer3DModel(**WAN, speech_layers=2, speech_dim=3, audio_tokens=5).eval()
    missing, unexpected = ours.load_state_dict(wan.state_dict(), strict=False)
    assert all(name.startswith("audio_proj.") for name in missing)
    assert all(name.startswith("condition_embedder.text_embedder.") for name in unexpected)

    hidden, timestep, text = torch.randn(2, 8, 3, 8, 8), torch.tensor([937.5, 20.0]), torch.randn(2, 5, 12)
    tokens = wan.condition_embedder.text_embedder(text)
    ours.audio_proj.register_forward_hook(lambda *_: tokens[:, None].expand(-1, 3, -1, -1))
    expected = wan(hidden, timestep, text).sample
    actual = ours(hidden, timestep, torch.randn(2, 9, 5, 2, 3)).sample
    torch.testing.assert_close(actual, expected)


def test_the_default_is_the_1_3b_backbone():
    with torch.device("meta"):
        ours = AsymTalkerTransformer3DModel()
        wan = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, in_channels=32, ffn_dim=8960, num_layers=30
        )
    ours, wan = ({name: tuple(p.shape) for name, p in model.named_parameters()} for model in (ours, wan))
    text = {name: shape for name, shape in wan.items() if "text_embedder" in name}
    audio = {name: shape for name, shape in ours.items() if name.startswith("audio_proj.")}
    assert {k: v for k, v in ours.items() if k not in audio} == {k: v for k, v in wan.items() if k not in text}
    assert audio["audio_proj.proj1.weight"] == (512, 5 * 12 * 768)
    assert audio["audio_proj.proj1_vf.weight"] == (512, 8 * 12 * 768)
    assert audio["audio_proj.proj3.weight"] == (32 * 1536, 512)


@torch.no_grad()
def test_save_and_load(tmp_path, inputs):
    model = tiny_transformer()
    model.save_pretrained(tmp_path)
    loaded = AsymTalkerTransformer3DModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded(*inputs).sample, model(*inputs).sample)


@torch.no_grad()
def test_a_latent_frame_hears_only_its_own_sound():
    """With self-attention silenced, changing the sound of one latent frame changes that frame alone."""
    model = tiny_transformer()
    for block in model.blocks:
        block.attn1.to_out[0].weight.zero_()
        block.attn1.to_out[0].bias.zero_()
    hidden, timestep, speech = torch.randn(1, 16, 6, 4, 4), torch.tensor([500.0]), torch.randn(1, 21, 5, 4, 16)
    changed = speech.clone()
    changed[:, 9:13] += 1  # the four frames of latent frame 3
    difference = (model(hidden, timestep, changed).sample - model(hidden, timestep, speech).sample).abs()
    moved = difference.amax((0, 1, 3, 4)) > 0
    assert moved.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("ratio", [4, 8])
@torch.no_grad()
def test_audio_windows_of_a_latent_frame(ratio):
    """A later latent frame takes [:3] of its first frame's five, the centre of the middle ones, [2:] of its last."""
    project = AudioProjection(feature_dim=1, dim=2, temporal_ratio=ratio, tokens=1, hidden_dim=8)
    seen = {}
    project.proj1.register_forward_pre_hook(lambda _, args: seen.update(first=args[0]))
    project.proj1_vf.register_forward_pre_hook(lambda _, args: seen.update(later=args[0]))
    frames = torch.arange(1.0 + 2 * ratio)[:, None] + torch.arange(-2, 3)  # entry = index of the sound frame
    project(frames.view(1, 1 + 2 * ratio, 5, 1, 1))
    assert seen["first"].tolist() == [[[-2, -1, 0, 1, 2]]]
    starts = (-1, ratio - 1)
    assert seen["later"].tolist() == [[list(range(start, start + ratio + 4)) for start in starts]]


def test_gradient_checkpointing_changes_nothing(inputs):
    model = tiny_transformer().train()
    gradients = []
    for checkpointing in (False, True):
        model.zero_grad()
        if checkpointing:
            model.enable_gradient_checkpointing()
        model(*inputs).sample.square().mean().backward()
        gradients.append(model.blocks[0].ffn.net[0].proj.weight.grad.clone())
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("overrides", [{"in_channels": 24}])
def test_impossible_configurations_are_refused(overrides):
    with pytest.raises(ValueError, match="in_channels"):
        tiny_transformer(**overrides)


def test_speech_of_another_length_is_refused(inputs):
    with pytest.raises(ValueError, match="latent frames"):
        tiny_transformer()(inputs[0], inputs[1], inputs[2][:, :17])
