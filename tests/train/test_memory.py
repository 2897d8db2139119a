import pytest
import torch

from asymtalker.models import AsymTalkerTransformer3DModel
from tests.tiny import LATENT_CHANNELS, tiny_pipeline
from train.memory import estimate, main

CONFIG = dict(tiny_pipeline().transformer.config)
WINDOW = (6, 4, 4)


def kept_for_real(samples, checkpointed):
    """Bytes that a real forward pass keeps, attention left out: on a CPU it is another kernel's."""
    torch.manual_seed(0)
    model = AsymTalkerTransformer3DModel(**CONFIG).train()
    if checkpointed:
        model.enable_gradient_checkpointing()
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    known = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    inputs = torch.randn(samples, 2 * LATENT_CHANNELS, *WINDOW), torch.full((samples,), 500.0)
    with torch.autocast("cpu", torch.bfloat16), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = model(*inputs, torch.randn(samples, 21, 5, 4, 16))
    del result
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in known)


def test_weights_and_what_training_adds():
    parameters = sum(p.numel() for p in AsymTalkerTransformer3DModel(**CONFIG).parameters() if p.requires_grad)
    teacher = estimate(CONFIG, WINDOW, 2, distils=False, checkpointed=False)
    assert (teacher.frozen, teacher.weights, teacher.training) == (0, 4 * parameters, 16 * parameters)
    student = estimate(CONFIG, WINDOW, 2, distils=True, checkpointed=False)
    assert (student.frozen, student.weights, student.training) == tuple(n * parameters for n in (4, 8, 28))
    assert student.activations == teacher.activations
    halved = student.sharded(2)
    assert halved.total == student.frozen + (student.weights + student.training) // 2 + student.activations


@pytest.mark.parametrize("samples", [1, 3])
def test_activations_are_those_of_a_real_pass(samples):
    found = estimate(CONFIG, WINDOW, samples, distils=False, checkpointed=False).activations
    assert 1 <= found / kept_for_real(samples, checkpointed=False) < 1.4  # each device has kernels of its own


def test_checkpointing_keeps_little_of_a_deep_network():
    deep = CONFIG | {"num_layers": 12}
    plain, checkpointed = (estimate(deep, WINDOW, 1, distils=False, checkpointed=kind) for kind in (False, True))
    assert checkpointed.activations < 0.3 * plain.activations


def test_the_command_reads_a_checkpoint(tmp_path, capsys):
    tiny_pipeline().save_pretrained(tmp_path / "checkpoint")
    config = tmp_path / "akd.yaml"
    config.write_text("batch_size: 8\naccumulation: 2\nteacher: x\n")
    main(["--config", str(config), "--checkpoint", str(tmp_path / "checkpoint"), "--processes", "2"])
    shown = capsys.readouterr().out
    assert shown.startswith("2 samples a pass and process") and "sharded (FSDP)" in shown
    with pytest.raises(SystemExit):
        main(["--config", str(config), "--checkpoint", str(tmp_path / "checkpoint"), "--processes", "3"])
