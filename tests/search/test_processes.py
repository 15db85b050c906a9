"""Forks that share work, and how they end."""

import os
import signal
import sys
import time

import psutil
import pytest
import torch
from forks import no_process_is_left, processes_before  # noqa: F401 (a fixture)
from torch.multiprocessing.spawn import ProcessRaisedException

from nni_magic.search.processes import check_processes, in_processes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def interruptible():
    """Shells have what they start in the background ignore interruptions."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_calls_run_in_forks_of_one_thread_and_come_back_in_order():
    torch.set_num_threads(2)
    try:
        done = in_processes(lambda n: (n, os.getpid(), torch.get_num_threads()), 3)
    finally:
        torch.set_num_threads(1)
    assert [(n, threads) for n, _, threads in done] == [(0, 1), (1, 1), (2, 1)]
    assert len({pid for _, pid, _ in done} | {os.getpid()}) == 4
    assert no_process_is_left()


def test_result_larger_than_a_pipe_holds_comes_back():
    assert in_processes(lambda n: b"x" * 10**6, 2) == [b"x" * 10**6] * 2


def test_this_process_may_watch_the_forks():
    counts = torch.zeros(2, dtype=torch.int64).share_memory_()
    seen = []

    def work(n):
        counts[n].add_(n + 1)
        time.sleep(1)

    in_processes(work, 2, watch=lambda: seen.append(int(counts.sum())))
    assert seen[-1] == 3


def test_error_of_a_fork_ends_the_others():
    def work(n):
        if n:
            raise ValueError("the second cannot")
        time.sleep(600)

    with pytest.raises(ProcessRaisedException, match="ValueError: the second cannot"):
        in_processes(work, 2)
    assert no_process_is_left()


def test_killed_fork_is_reported_with_its_signal():
    with pytest.raises(RuntimeError, match=r"one of 2 processes was ended .* signal SIGKILL"):
        in_processes(lambda n: n or os.kill(os.getpid(), signal.SIGKILL), 2)
    assert no_process_is_left()


def test_interrupted_fork_is_not_taken_for_done():
    with pytest.raises(RuntimeError, match="one of 2 processes was interrupted"):
        in_processes(lambda n: n or os.kill(os.getpid(), signal.SIGINT), 2)


def test_interruption_ends_all_forks():
    me = os.getpid()
    watches = torch.zeros(1).share_memory_()  # Python loses an interruption that comes in a fork

    def work(n):
        while not watches:
            time.sleep(0.01)
        if n:
            os.kill(me, signal.SIGINT)
        time.sleep(600)

    with pytest.raises(KeyboardInterrupt):
        in_processes(work, 2, watch=lambda: watches.fill_(1))
    assert no_process_is_left()


def test_forks_end_with_a_killed_process():
    parent = os.fork()
    if not parent:
        in_processes(lambda n: time.sleep(600), 2)
        os._exit(0)
    deadline = time.monotonic() + 30
    while len(forks := psutil.Process(parent).children()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)  # until they have asked to be told
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert len(forks) == 2
    assert psutil.wait_procs(forks, timeout=30)[1] == []


@pytest.mark.parametrize("processes", [1, 4])
def test_any_number_is_accepted_on_the_cpu(processes):
    check_processes(processes, CPU)


def test_one_process_is_accepted_everywhere(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    check_processes(1, torch.device("cuda", 0))


def test_other_systems_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ValueError, match="processes is 2; accepted is 1 on darwin"):
        check_processes(2, CPU)


def test_gpu_is_refused():
    with pytest.raises(ValueError, match="processes is 2; accepted is 1 on cuda:0"):
        check_processes(2, torch.device("cuda", 0))
