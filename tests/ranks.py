"""Run a script in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]


def launch(script, folder):
    """Run a script on two ranks, and give what each has saved."""
    path = folder / "train.py"
    path.write_text(script)
    launched = {"LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    environment = {
        **{name: value for name, value in os.environ.items() if name not in launched},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(path), str(folder)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=False) for rank in (0, 1)]
