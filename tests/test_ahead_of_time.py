"""Blocks compiled ahead of time: the package that ZeroGPU loads, run here as `spaces` runs it there."""

import shutil

import pytest
import torch

from asymtalker.__main__ import main
from asymtalker.ahead_of_time import PACKAGE, block_arguments
from asymtalker.runtime import Runtime, check_runtime

CPU = torch.device("cpu")


@pytest.mark.skipif(not shutil.which("g++"), reason="compiling wants g++")
def test_one_package_is_every_block_with_its_weights(checkpoint, pipeline, tmp_path, capsys):
    assert main(["compile", "--checkpoint", checkpoint, "--output", str(tmp_path)]) == 0
    (package,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert package == tmp_path / "WanTransformerBlock" / PACKAGE and str(package) in capsys.readouterr().out
    compiled = torch._inductor.aoti_load_package(str(package))
    names = compiled.get_constant_fqns()
    outputs = []
    for block in pipeline.transformer.blocks:
        arguments = block_arguments(pipeline, pipeline.transformer.blocks[0])
        weights = {name: value for name, value in block.state_dict().items() if name in names}
        compiled.load_constants(weights, check_full_update=True, user_managed=True)
        with torch.no_grad():
            outputs.append(compiled(*arguments))
            torch.testing.assert_close(outputs[-1], block(*arguments), atol=0.03, rtol=0.02)  # it may be bfloat16
    assert (outputs[0] - outputs[1]).abs().max() > 0.3


def test_compiled_blocks_are_for_zerogpu_alone(monkeypatch):
    monkeypatch.setenv("ASYMTALKER_COMPILED", "owner/blocks")
    runtime = Runtime.from_environment()
    assert str(runtime) == "compiled ahead of time"
    with pytest.raises(ValueError, match="are for ZeroGPU"):
        check_runtime(runtime, CPU)
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    check_runtime(runtime, CPU)
    with pytest.raises(ValueError, match="go with no other choice"):
        Runtime(compiled="owner/blocks", float8="storage")
