"""Ranks that train together are killed or stopped, one or two; then the run is started again."""

from __future__ import annotations

import contextlib
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

RUNS = (("text", "magic_at", 2), ("shrinking", "spos", 2), ("shrinking", "magic_at", 4))
"""Runs with their strategy and number of ranks."""

FAULTS = {
    "rank 0 killed": (signal.SIGKILL, (0,)),
    "rank 1 killed": (signal.SIGKILL, (1,)),
    "ranks 0 and 1 killed": (signal.SIGKILL, (0, 1)),
    "rank 1 stopped": (signal.SIGSTOP, (1,)),
}
TIMES = 1
"""Times that each is done in each run."""

TIME_OUT, UNTIL_GONE = 30, 90
"""Seconds that ranks wait for each other, and within which those that are left must have ended."""


class _Run:
    """Processes of the program, on gloo."""

    def __init__(self, run: str, strategy: str, n_ranks: int, data: Path, output: Path) -> None:
        more = (
            f"--devices {n_ranks} --distributed ddp_find_unused_parameters_true "
            f"--rank-timeout {TIME_OUT}"
        )
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
            _end_group(process.pid)
            return "hangs"
        _, left = psutil.wait_procs(_group(process.pid), timeout=UNTIL_GONE)
        _end_group(process.pid)
        if status:
            return f"status {status}: {last_line(self.log)}"
        return "a rank goes on behind the end of rank 0" if left else ""

    def disturb(
        self, fault: signal.Signals, ranks: tuple[int, ...], checkpoints: int, delay: float
    ) -> tuple[str, float]:
        """Send ranks a signal some time after a checkpoint.

        Gives what went wrong, and the seconds until all processes that can end by themselves were
        gone; -1, if the run was over before.
        """
        process = self.start()
        for _ in range(checkpoints):
            if not self._next_checkpoint(process):
                return "", -1.0
        time.sleep(delay)
        every = [process, *process.children()]
        hit = [every[rank] for rank in ranks if rank < len(every)]
        for each in hit:
            each.send_signal(fault)
        stopped = hit if fault == signal.SIGSTOP else []
        begin = time.monotonic()
        _, left = psutil.wait_procs([e for e in every if e not in stopped], timeout=UNTIL_GONE)
        seconds = time.monotonic() - begin
        _end_group(process.pid)
        return "another rank went on" if left else "", seconds

    def _next_checkpoint(self, process: psutil.Popen) -> bool:
        before = self._written()
        while self._written() == before:
            if process.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def _written(self) -> int:
        return self.checkpoint.stat().st_mtime_ns if self.checkpoint.exists() else 0


def _group(leader: int) -> list[psutil.Process]:
    """All ranks of a run, as they are of one group of processes."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == leader:
                found.append(process)
    return found


def _end_group(leader: int) -> None:
    left = _group(leader)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left)


def _whole(run: str, strategy: str, n_ranks: int, data: Path) -> Path:
    output = data / f"{run}-{strategy}-{n_ranks}"
    if wrong := _Run(run, strategy, n_ranks, data, output).finish():
        raise RuntimeError(f"{n_ranks} undisturbed ranks of {run}, {strategy}: {wrong}")
    return output


def _disturbed(
    run: tuple[str, str, int], data: Path, kind: str, output: Path, when: tuple[int, float]
) -> tuple[str, float]:
    disturbed = _Run(*run, data, output)
    wrong, seconds = disturbed.disturb(*FAULTS[kind], *when)
    wrong = wrong or disturbed.finish()
    reference = data / "-".join(map(str, run))
    return wrong or "; ".join(list(differences(reference, output))[:3]), seconds


def _jobs(campaign: Campaign, data: Path) -> Iterator[tuple]:
    rng = random.Random(campaign.seed)
    for run in RUNS[: 1 if campaign.short else None]:
        for kind in FAULTS:
            for n in range(TIMES):
                output = data / "-".join([*map(str, run), *kind.split(), str(n)])
                yield run, data, kind, output, (rng.randint(1, 2), rng.random())


def ranks(campaign: Campaign) -> list[Tried]:
    """Kill each of the first two ranks, and both, and stop one."""
    data = campaign.folder / "ranks"
    data.mkdir()
    write_corpus(data / "corpus")
    jobs = [*_jobs(campaign, data)]
    runs = dict.fromkeys((*run, data) for run, *_ in jobs)
    in_workers(_whole, runs, 1)  # the first one makes the tokens
    found = in_workers(_disturbed, jobs, campaign.workers)
    return [
        Tried(kind, wrong, f"{run}, {when}", {"seconds until all had ended": round(seconds, 1)})
        for (run, _, kind, _, when), (wrong, seconds) in zip(jobs, found, strict=True)
        if seconds >= 0
    ]


RANKS = Part("ranks", "two and four ranks, of which one is killed or stopped, or two are", ranks)
