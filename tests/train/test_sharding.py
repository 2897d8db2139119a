import os
import subprocess
import sys

from tests.train.tiny_stage import ROOT


def test_averaged_weights_are_saved_whole_from_their_shards(tmp_path):
    """With torch's own sharding on two processes, as `accelerate` does it on several GPUs (FSDP 2)."""
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "tests.train.sharded")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *two, str(tmp_path / "pipeline")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:]
    assert (tmp_path / "pipeline" / "done").exists()
