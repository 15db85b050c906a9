"""One of two ranks that train together is killed, or both are; then the run is started again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from experiments.faults.processes import in_workers, last_line
from experiments.faults.runs import differences, words_of, write_corpus
from experiments.faults.tried import Campaign, Part, Tried

__all__ = ["RANKS"]

RUNS = (("text", "magic_at"), ("shrinking", "spos"))
KILLED = {"rank 0": (0,), "rank 1": (1,), "both ranks": (0, 1)}
TIMES = 2
"""Times that each is done in each run."""

UNTIL_GONE = 60
"""Seconds within which the rank that is left must have ended."""


class _Run:
    """Two processes of the program, on gloo."""

    def __init__(self, run: str, strategy: str, data: Path, output: Path) -> None:
        more = "--devices 2 --distributed ddp_find_unused_parameters_true"
        words = [*words_of(run, strategy, data, output), *more.split()]
        self.command = [sys.executable, "-m", "nni_magic.programs", "train", *words]
        self.log = output.with_suffix(".log")
        self.checkpoint = output / "supernet.ckpt"

    def start(self) -> psutil.Popen:
        launched = ("RANK", "WORLD_SIZE", "MASTER_", "NODE_RANK")
        kept = {name: value for name, value in os.environ.items()
                if not name.removeprefix("LOCAL_").startswith(launched)}  # fmt: skip
        with self.log.open("ab") as log:
            return psutil.Popen(
                self.command, env={**kept, "OMP_NUM_THREADS": "1"}, stdout=log,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def finish(self) -> str:
        """Run to the end; gives what went wrong."""
        process = self.start()
        try:
            status = process.wait(timeout=300)
        except psutil.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "hangs"
        return f"status {status}: {last_line(self.log)}" if status else ""

    def kill(self, ranks: tuple[int, ...], checkpoints: int, delay: float) -> tuple[str, float]:
        """Kill ranks some time after a checkpoint.

        Gives what went wrong, and the seconds until all processes were gone; -1, if the run was
        over before.
        """
        process = self.start()
        for _ in range(checkpoints):
            if not self._next_checkpoint(process):
                return "", -1.0
        time.sleep(delay)
        both = [process, *process.children()]
        for rank in ranks:
            if rank < len(both):
                both[rank].kill()
        begin = time.monotonic()
        _, left = psutil.wait_procs(both, timeout=UNTIL_GONE)
        for each in left:
            each.kill()
        psutil.wait_procs(left)
        return "another rank went on" if left else "", time.monotonic() - begin

    def _next_checkpoint(self, process: psutil.Popen) -> bool:
        before = self._written()
        while self._written() == before:
            if process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def _written(self) -> int:
        return self.checkpoint.stat().st_mtime_ns if self.checkpoint.exists() else 0


def _whole(run: str, strategy: str, data: Path) -> Path:
    output = data / f"{run}-{strategy}"
    if wrong := _Run(run, strategy, data, output).finish():
        raise RuntimeError(f"two undisturbed ranks of {run}, {strategy}: {wrong}")
    return output


def _killed(
    run: str,
    strategy: str,
    data: Path,
    output: Path,
    ranks: tuple[int, ...],
    when: tuple[int, float],
) -> tuple[str, float]:
    disturbed = _Run(run, strategy, data, output)
    wrong, seconds = disturbed.kill(ranks, *when)
    wrong = wrong or disturbed.finish()
    reference = data / f"{run}-{strategy}"
    return wrong or "; ".join(list(differences(reference, output))[:3]), seconds


def _jobs(campaign: Campaign, data: Path) -> Iterator[tuple]:
    rng = random.Random(campaign.seed)
    for run, strategy in RUNS[: 1 if campaign.short else None]:
        for kind, ranks in KILLED.items():
            for n in range(TIMES):
                output = data / f"{run}-{strategy}-{kind}-{n}".replace(" ", "-")
                yield run, strategy, data, output, ranks, (rng.randint(1, 2), rng.random())


def ranks(campaign: Campaign) -> list[Tried]:
    """Kill each rank, and both."""
    data = campaign.folder / "ranks"
    data.mkdir()
    write_corpus(data / "corpus")
    jobs = [*_jobs(campaign, data)]
    pairs = dict.fromkeys((*job[:2], data) for job in jobs)
    in_workers(_whole, pairs, 1)  # the first one makes the tokens
    found = in_workers(_killed, jobs, campaign.workers)
    kinds = {which: name for name, which in KILLED.items()}
    return [
        Tried(f"{kinds[job[4]]} killed", wrong, f"{job[0]}, {job[1]}, {job[5]}",
              {"seconds until all had ended": round(seconds, 1)})
        for job, (wrong, seconds) in zip(jobs, found, strict=True)
        if seconds >= 0
    ]  # fmt: skip


RANKS = Part("ranks", "two ranks of which one is killed, or both", ranks)
