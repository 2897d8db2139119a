"""Compilation ahead of time, for where GPUs are lent by the call (ZeroGPU) and what is compiled does not outlast one.

`compile_blocks` writes what `spaces.aoti_blocks_load` reads: a package for each kind of the transformer's blocks,
without weights, so that all blocks share it. `Runtime(compiled=...)` has them loaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from asymtalker.pipeline import AsymTalkerPipeline
from asymtalker.runtime import warm_up

PACKAGE = "package.pt2"
"""Of each kind of block, in a folder of the kind's name: the layout that `spaces` expects."""
WITHOUT_WEIGHTS = {
    "aot_inductor.package_constants_in_so": False,
    "always_keep_tensor_constants": True,
    "joint_graph_constant_folding": False,
}


class _SeenError(Exception):
    """Ends a run once its first block has been called."""


@torch.no_grad()
def compile_blocks(pipeline: AsymTalkerPipeline, output: Path) -> list[Path]:
    """Compiles a transformer's blocks for this machine's device and the checkpoint's own frame size and guidance.

    Args:
        pipeline: on the device, in the number format that it will have where the packages are used.
        output: folder that gets `KIND/package.pt2`.

    Returns:
        the packages.
    """
    packages = []
    for kind in pipeline.transformer._repeated_blocks:
        block = next(part for part in pipeline.transformer.modules() if type(part).__name__ == kind)
        exported = torch.export.export(block, block_arguments(pipeline, block))
        (output / kind).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output) as folder:
            part = str(Path(folder) / PACKAGE)
            torch._inductor.aoti_compile_and_package(exported, package_path=part, inductor_configs=WITHOUT_WEIGHTS)
            packages.append(Path(part).replace(output / kind / PACKAGE))
    return packages


def block_arguments(pipeline: AsymTalkerPipeline, block: nn.Module) -> tuple[Any, ...]:
    """What the block is called with where a video is made."""
    seen: list[tuple[Any, ...]] = []

    def see(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        seen.append(arguments)
        raise _SeenError

    handle = block.register_forward_pre_hook(see)
    try:
        warm_up(pipeline)
    except _SeenError:
        return seen[0]
    finally:
        handle.remove()
    raise RuntimeError(f"{type(block).__name__} is not part of what makes a video")
