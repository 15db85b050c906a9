"""Atomic files: whole or absent."""

import os
import signal
import subprocess
import sys

import pytest

from experiments.files import atomic_file


def test_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_file(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert os.listdir(path.parent) == ["file"]


def test_failure_leaves_nothing_and_keeps_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="stop"), atomic_file(tmp_path / "file") as file:
        file.write(b"new")
        raise RuntimeError("stop")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_killed_writer_leaves_no_file(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from experiments.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "file")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.run(command, env=environment).returncode == -signal.SIGKILL
    assert not (tmp_path / "file").exists()


def test_later_of_two_writers_wins(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path) as slow:
        with atomic_file(path) as quick:
            quick.write(b"quick")
        assert path.read_bytes() == b"quick"
        slow.write(b"slow")
    assert path.read_bytes() == b"slow"
