"""Forked processes are timed, killed and listened to."""

import os
import signal
import sys
import time

import pytest

from experiments.faults.processes import forked, last_line


def test_status_and_what_is_said_are_given(tmp_path):
    log = tmp_path / "log"

    def says():
        os.write(1, b"one\ntwo\n\n")  # what is printed goes to pytest
        sys.exit(3)

    assert forked(says, log=log) == 3
    assert last_line(log) == "two"


def test_process_that_kills_itself_is_told_from_one_that_ends(tmp_path):
    log = tmp_path / "log"
    assert forked(lambda: os.kill(os.getpid(), signal.SIGKILL), log=log) == -signal.SIGKILL
    assert forked(lambda: None, log=log) == 0


def test_process_is_killed_by_the_clock(tmp_path):
    begin = time.monotonic()
    status = forked(time.sleep, 60, log=tmp_path / "log", kill_after=0.2)
    assert (status, time.monotonic() - begin < 30) == (-signal.SIGKILL, True)


def test_process_that_hangs_is_an_error(tmp_path):
    with pytest.raises(TimeoutError, match=r"sleep ran for longer than 0\.1 s"):
        forked(time.sleep, 60, log=tmp_path / "log", timeout=0.1)


def test_file_that_is_not_there_says_nothing(tmp_path):
    assert last_line(tmp_path / "log") == ""
