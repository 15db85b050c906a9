"""Ranks are killed after a checkpoint, and what is left of them is found."""

import sys
import textwrap

import pytest

from experiments.faults import ranks
from experiments.faults.ranks import KILLED, _jobs, _Run
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


@pytest.mark.parametrize(("how", "which", "wrong"), [
    ("ends", (1,), ""), ("patient", (1,), "another rank went on"), ("patient", (0, 1), ""),
])  # fmt: skip
def test_ranks_that_are_left_are_found(how, which, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "UNTIL_GONE", 2)
    output = tmp_path / "out"
    output.mkdir()
    run = _Run("text", "spos", tmp_path, output)
    run.command = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(output), how]
    found, seconds = run.kill(which, checkpoints=1, delay=0.3)
    assert (found, seconds >= 0) == (wrong, True)


def test_run_that_is_over_before_is_said(tmp_path):
    run = _Run("text", "spos", tmp_path, tmp_path / "out")
    run.command = [sys.executable, "-c", "raise SystemExit('error: x')"]
    assert run.kill((0,), 1, 0) == ("", -1.0)
    assert run.finish() == "status 1: error: x"


def test_each_rank_and_both_are_killed(tmp_path):
    jobs = [*_jobs(Campaign(tmp_path), tmp_path)]
    assert {job[4] for job in jobs} == {*KILLED.values()}
    assert len({job[3] for job in jobs}) == len(jobs)
    assert jobs == [*_jobs(Campaign(tmp_path), tmp_path)]
