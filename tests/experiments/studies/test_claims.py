"""A file is claimed by one process at a time, for as long as that works on it."""

import multiprocessing
import time

import pytest

from experiments.studies.claims import claimed, make_once
from nni_magic.support.files import read_json


def hold(path, held):
    with claimed(path) as mine:
        held.value = mine
        time.sleep(60)


def test_claim_is_of_one_process_and_ends_with_it(tmp_path):
    context = multiprocessing.get_context("fork")
    held = context.Value("i", -1)
    other = context.Process(target=hold, args=(tmp_path / "a.json", held))
    other.start()
    while held.value < 0:
        time.sleep(0.01)
    assert held.value == 1
    with claimed(tmp_path / "a.json") as mine, claimed(tmp_path / "b.json") as free:
        assert not mine
        assert free
    other.kill()
    other.join()
    with claimed(tmp_path / "a.json") as mine:
        assert mine


def test_claim_lies_beside_the_file_only_as_long_as_it_lasts(tmp_path):
    path = tmp_path / "folder" / "a.json"
    with claimed(path), claimed(path) as again:
        assert not again
        assert [one.name for one in path.parent.iterdir()] == ["a.lock"]
    assert list(path.parent.iterdir()) == []


def test_claim_ends_with_a_block_that_fails(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "a.json"):
        raise KeyboardInterrupt
    with claimed(tmp_path / "a.json") as mine:
        assert mine


def test_result_is_made_once_and_not_where_another_makes_it(tmp_path, caplog):
    path, made = tmp_path / "runs" / "a.json", []

    def make():
        made.append(1)
        make_once(path, make)  # claimed
        return {"n": len(made)}

    with caplog.at_level("INFO", "experiments"):
        make_once(path, make)
        make_once(path, make)
    assert made == [1] and read_json(path) == {"n": 1}
    assert caplog.messages == [str(path)]
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]
