"""Ranks are killed or stopped after a checkpoint, and what is left of them is found."""

import signal
import sys
import textwrap

import pytest

from experiments.faults import ranks
from experiments.faults.ranks import FAULTS, RUNS, _jobs, _Run
from experiments.faults.tried import Campaign

# Two processes, of which the first ends with the second, or goes on.
SCRIPT = """
    import pathlib, subprocess, sys, time
    folder, patient = pathlib.Path(sys.argv[1]), sys.argv[2] == "patient"
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "supernet.ckpt").write_text("x")
    while patient or other.poll() is None:
        time.sleep(0.02)
    sys.exit(1)
"""


@pytest.mark.parametrize(("how", "fault", "which", "wrong"), [
    ("ends", signal.SIGKILL, (1,), ""),
    ("patient", signal.SIGKILL, (1,), "another rank went on"),
    ("patient", signal.SIGKILL, (0, 1), ""),
    ("ends", signal.SIGSTOP, (1,), "another rank went on"),
])  # fmt: skip
def test_ranks_that_are_left_are_found(how, fault, which, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "UNTIL_GONE", 2)
    output = tmp_path / "out"
    output.mkdir()
    run = _Run("text", "spos", 2, tmp_path, output)
    run.command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(output), how]
    found, seconds = run.disturb(fault, which, checkpoints=1, delay=0.3)
    assert (found, seconds >= 0) == (wrong, True)


def test_run_that_is_over_before_is_said(tmp_path):
    run = _Run("text", "spos", 2, tmp_path, tmp_path / "out")
    run.command = [sys.executable, "-c", "raise SystemExit('error: x')"]
    assert run.disturb(signal.SIGKILL, (0,), 1, 0) == ("", -1.0)
    assert run.finish() == "status 1: error: x"


def test_every_run_has_every_fault(tmp_path):
    jobs = [*_jobs(Campaign(tmp_path), tmp_path)]
    assert {(job[0], job[2]) for job in jobs} == {(run, kind) for run in RUNS for kind in FAULTS}
    assert len({job[3] for job in jobs}) == len(jobs)
    assert jobs == [*_jobs(Campaign(tmp_path), tmp_path)]
