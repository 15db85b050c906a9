"""JSON files that are whole or not there at all."""

import json
import math
import multiprocessing
import os

import pytest

from nni_magic.manager.files import read_json, write_json


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
