"""Atomic files: whole or absent."""

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nni_magic.support.files import (
    atomic_file,
    filled_folder,
    read_json,
    replacing_folder,
    write_json,
    write_picture,
    write_table,
)


def test_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_file(path) as file:
        file.write(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert os.listdir(path.parent) == ["file"]


def test_a_folder_that_nothing_was_written_into_goes_with_its_new_parents(tmp_path):
    (tmp_path / "mine").mkdir()
    with (
        pytest.raises(RuntimeError, match="stop"),
        filled_folder("output", tmp_path / "mine" / "a" / "b") as folder,
    ):
        assert folder.is_dir()
        raise RuntimeError("stop")
    assert os.listdir(tmp_path) == ["mine"]
    assert os.listdir(tmp_path / "mine") == []


def test_a_folder_stays_with_what_a_failure_has_left_in_it_or_if_it_was_there(tmp_path):
    for path, name in ((tmp_path / "new", "kept"), (tmp_path, None)):
        with pytest.raises(RuntimeError, match="stop"), filled_folder("output", path):
            if name:
                (path / name).write_text("half")
            raise RuntimeError("stop")
    assert os.listdir(tmp_path / "new") == ["kept"]


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
        "from nni_magic.support.files import atomic_file\n"
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


def test_value_is_read_back(tmp_path):
    value = {"a": [1, 2.5, "x"], "b": None}
    write_json(tmp_path / "folder" / "x.json", value)
    assert read_json(tmp_path / "folder" / "x.json") == value
    assert json.loads((tmp_path / "folder" / "x.json").read_text()) == value


def test_score_that_is_not_a_number_is_read_back(tmp_path):
    write_json(tmp_path / "x.json", [math.nan, -math.inf])
    [nan, infinity] = read_json(tmp_path / "x.json")
    assert math.isnan(nan)
    assert infinity == -math.inf


def test_missing_file_is_none(tmp_path):
    assert read_json(tmp_path / "x.json") is None
    assert read_json(tmp_path / "missing" / "x.json") is None


def test_new_file_replaces_the_old_one(tmp_path):
    write_json(tmp_path / "x.json", list(range(1000)))
    write_json(tmp_path / "x.json", 1)
    assert read_json(tmp_path / "x.json") == 1
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize("old", [None, "old"])
def test_interrupted_writing_leaves_what_was_there(old, tmp_path, monkeypatch):
    if old is not None:
        write_json(tmp_path / "x.json", old)

    def killed(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(tmp_path / "x.json", "new")
    assert read_json(tmp_path / "x.json") == old


def _write_often(path, value):
    for _ in range(200):
        write_json(path, [value] * 500)


def test_reader_never_sees_a_part_while_processes_write(tmp_path):
    path = tmp_path / "x.json"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(path, n)) for n in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        value = read_json(path)
        assert value is None or (len(value) == 500 and len(set(value)) == 1)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["x.json"]


def test_full_disk_is_named_with_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    message = r"No space left on device: '\S+file'"
    with (
        pytest.raises(OSError, match=message),
        atomic_file(tmp_path / "file"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_file_of_a_killed_writer_is_removed_by_the_next_one(tmp_path):
    script = (
        "import os, signal, sys\n"
        "from nni_magic.support.files import atomic_file\n"
        "with atomic_file(sys.argv[1]) as file:\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    [left] = os.listdir(tmp_path)
    assert left.endswith(".tmp")
    (tmp_path / ".file.more.abcdefgh.tmp").touch()  # of another target
    write_json(tmp_path / "file", 1)
    assert sorted(os.listdir(tmp_path)) == [".file.more.abcdefgh.tmp", "file"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2", "hello"])
def test_file_that_is_no_json_is_named(content, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=r"'\S+x.json' is damaged, or no JSON at all"):
        read_json(tmp_path / "x.json")


def test_writers_of_one_path_at_once_leave_one_whole_file_and_no_other(tmp_path):
    path = tmp_path / "x.json"

    def writes(value):
        for _ in range(40):
            write_json(path, [value] * 300)
            assert len(set(read_json(path))) == 1

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(writes, range(6)))
    assert list(tmp_path.iterdir()) == [path]


def test_table_is_written_whole_or_not_at_all(tmp_path):
    def rows():
        yield ["a", "b,c"]
        raise RuntimeError("stop")

    write_table(path := tmp_path / "a.csv", [["a", "b,c"], [1, "d"]])
    with pytest.raises(RuntimeError, match="stop"):
        write_table(path, rows())
    assert path.read_bytes() == b'a,"b,c"\r\n1,d\r\n'


@pytest.mark.parametrize(("name", "begin"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml")])
def test_picture_is_written_in_the_format_of_its_name(tmp_path, name, begin):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    write_picture(figure, tmp_path / name, dpi=50)
    assert (tmp_path / name).read_bytes().startswith(begin)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_appears_whole_and_takes_the_place_of_the_old_one(tmp_path):
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with replacing_folder(target) as new:
            (new / content).write_text(content)
            assert not (target / content).exists()
        assert [path.name for path in target.iterdir()] == [content]
        assert list(tmp_path.iterdir()) == [target]


def test_link_to_a_folder_stays_and_the_folder_is_replaced(tmp_path):
    folder, link = tmp_path / "disk" / "folder", tmp_path / "link"
    folder.mkdir(parents=True)
    link.symlink_to(folder)
    for content in ("first", "second"):
        with replacing_folder(link) as new:
            (new / content).write_text(content)
        assert [path.name for path in folder.iterdir()] == [content]
    assert link.is_symlink() and list(folder.parent.iterdir()) == [folder]
    assert sorted(tmp_path.iterdir()) == [folder.parent, link]


def test_folder_that_the_process_works_in_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="where this process works"), replacing_folder(Path(".")):
        raise AssertionError("not reached")


def test_a_folder_that_is_not_finished_leaves_the_old_one(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (tmp_path / ".folder.new").mkdir()  # of a writer that was killed
    (tmp_path / ".folder.new" / "half").write_text("")
    with pytest.raises(RuntimeError, match="full"), replacing_folder(target) as new:
        assert list(new.iterdir()) == []
        raise RuntimeError("full")
    assert list(tmp_path.iterdir()) == [target]
