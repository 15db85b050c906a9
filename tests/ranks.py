"""Run a script in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
TRIES = 3
NOT_CONNECTED = "Gloo connectFullMesh failed"
"""Now and then gloo's ranks refuse each other before anything of ours has run."""


LAUNCHED = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Variables by which a process believes that a launcher has started it as a rank."""


def unlaunched():
    """Environment of a script that starts its ranks itself, and imports ours and the tests'."""
    return {
        **{name: value for name, value in os.environ.items() if name not in LAUNCHED},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "OMP_NUM_THREADS": "1",
    }


def launch(script, folder):
    """Run a script on two ranks, and give what each has saved."""
    path = folder / "train.py"
    path.write_text(script)
    environment = unlaunched()
    for _ in range(TRIES):
        done = _run(path, folder, environment)
        if done.returncode == 0:
            return [torch.load(folder / f"rank_{n}.pt", weights_only=False) for n in (0, 1)]
        if NOT_CONNECTED not in done.stdout:
            break
    raise AssertionError(done.stdout)


def _run(path, folder, environment):
    return subprocess.run(
        [sys.executable, str(path), str(folder)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
