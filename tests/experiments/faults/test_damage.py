"""Ways to damage a file, and the verdict on what reads it."""

import json
import pickle

import pytest

from experiments.faults.damage import Stranger, damages, judge

ORIGINAL = bytes(range(100))


@pytest.fixture
def ways(tmp_path):
    """What is written, by kind."""
    found = {}
    for kind, _, write in damages(ORIGINAL, "seed", 5, 7):
        path = tmp_path / "file"
        write(path)
        found.setdefault(kind, []).append(path.read_bytes() if path.is_file() else None)
        path.rmdir() if path.is_dir() else path.unlink()
    return found


def test_each_way_damages_the_file(ways):
    assert {*ways} == {"cut off", "empty", "noise", "folder", "flipped bit"}
    assert ways["empty"] == [b""]
    assert ways["folder"] == [None]
    assert all(0 < len(cut) < 100 and ORIGINAL.startswith(cut) for cut in ways["cut off"])
    assert len(ways["flipped bit"]) == 7
    for flipped in ways["flipped bit"]:
        different = [a ^ b for a, b in zip(flipped, ORIGINAL, strict=True) if a != b]
        assert [bin(each).count("1") for each in different] == [1]


def test_stranger_s_code_runs_where_it_is_unpickled(tmp_path):
    marker = tmp_path / "ran"
    content = pickle.dumps(Stranger(marker))
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()


@pytest.mark.parametrize(("read", "wrong"), [
    (lambda path: 1 / 0, "another error"),
    (lambda path: json.loads(path.read_text()), "does not name the file"),
    (lambda path: [], "accepted"),
    (lambda path: {"a": 1}, ""),
])  # fmt: skip
def test_reader_is_judged(read, wrong, tmp_path):
    path = tmp_path / "file.json"
    path.write_text("{")
    found = judge(read, path, {"a": 1})
    assert found.startswith(wrong) if wrong else found == ""


def test_file_that_is_named_is_refused_well(tmp_path):
    def read(path):
        raise ValueError(f"{path} is damaged")

    assert judge(read, tmp_path / "a", None) == ""
