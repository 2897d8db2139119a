from tests.train import sharded
from tests.train.processes import run_two


def test_averaged_weights_are_saved_whole_from_their_shards(tmp_path):
    """With torch's own sharding on two processes, as `accelerate` does it on several GPUs (FSDP 2)."""
    run_two(sharded.main, tmp_path / "pipeline", log=tmp_path / "said")
    assert (tmp_path / "pipeline" / "done").exists()
