"""One run at a time writes into a folder."""

import os
import signal
import subprocess
import sys

import pytest

from nni_magic.support.locks import sole_writer

HOLDS = (
    "import sys, time, pathlib\n"
    "from nni_magic.support.locks import sole_writer\n"
    "with sole_writer(pathlib.Path(sys.argv[1]), 'output'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_second_writer_is_refused_by_name_and_a_killed_one_is_not_waited_for(tmp_path):
    (folder := tmp_path / "runs" / "a").mkdir(parents=True)
    command = [sys.executable, "-c", HOLDS, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match=r"output is '\S+/runs/a', into which another run writ"),
            sole_writer(folder, "output"),
        ):
            pass
        with sole_writer(folder.parent, "output"):
            pass
        os.kill(other.pid, signal.SIGKILL)
    for _ in range(2):  # one after the other
        with sole_writer(folder, "output"):
            assert list(folder.iterdir()) == []


def test_lock_ends_with_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), sole_writer(tmp_path, "output"):
        raise RuntimeError("stop")
    with sole_writer(tmp_path, "output"):
        pass


def test_patient_writer_waits_for_the_end_of_another(tmp_path):
    command = [sys.executable, "-c", HOLDS.replace("60", "2"), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(ValueError, match="into which another run writes"),
            sole_writer(tmp_path, "output", patience=0.2),
        ):
            pass
        with sole_writer(tmp_path, "output", patience=60):
            assert other.wait(30) == 0
