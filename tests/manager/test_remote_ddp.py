"""A supernet that two machines train, started by ``torchrun`` on each."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hosts import need_hosts, two_hosts

ROOT = Path(__file__).parents[2]
PROGRAM = ("-m", "nni_magic.programs", "train", "bert")
SMALL = [
    "--strategy", "magic_at", "--epochs", 1, "--epoch-steps", 4, "--batch-size", 4,
    "--warmup-steps", 2, "--warmup-epochs", 0, "--anchor-interval", 2, "--search-children", 4,
    "--population", 2, "--validation-batches", 1, "--threads", 1,
    "--distributed", "ddp_find_unused_parameters_true",
]  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # mostly imports, on a busy machine


def environment(**more):
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}


def results(folder):
    record = json.loads((folder / "results.json").read_text())
    weights = torch.load(folder / "supernet.ckpt", weights_only=True)["state_dict"]
    return {key: record[key] for key in ("best_child", "random_children_loss")}, weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory, corpus):
    """Results of two local ranks, and of two machines with a rank each."""
    need_hosts()
    folder = tmp_path_factory.mktemp("ddp")
    data = ("--corpus", corpus, "--cache", folder / "cache")
    command = [*PROGRAM, *SMALL, *data]
    subprocess.run(
        [*map(str, (sys.executable, *command, "--devices", 2, "--output", folder / "local"))],
        env=environment(), check=True, timeout=300, capture_output=True,
    )  # fmt: skip
    with two_hosts(folder) as (_, hosts):
        port = str(random.randint(20_000, 30_000))  # of a namespace in which nothing else runs
        running = [
            subprocess.Popen(
                host.command(
                    sys.executable, "-m", "torch.distributed.run", "--nnodes", 2,
                    "--node-rank", rank, "--nproc-per-node", 1,
                    "--master-addr", hosts[0].address, "--master-port", port,
                    *command, "--devices", 1, "--nodes", 2, "--output", folder / "hosts",
                ),
                env=environment(GLOO_SOCKET_IFNAME="eth0"),
                text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            for rank, host in enumerate(hosts)
        ]  # fmt: skip
        try:
            said = [process.communicate(timeout=300)[0] for process in running]
        finally:
            for process in running:
                process.kill()
    assert [process.returncode for process in running] == [0, 0], said
    return results(folder / "local"), results(folder / "hosts")


def test_two_machines_find_what_two_local_ranks_find(trained):
    local, hosts = (found for found, _ in trained)
    assert hosts == local


def test_weights_are_those_of_two_local_ranks_to_the_bit(trained):
    local, hosts = (weights for _, weights in trained)
    assert hosts.keys() == local.keys()
    assert all(torch.equal(hosts[name], local[name]) for name in local)
