"""Every kind of file is read, and tells what was changed in it."""

import pytest
import torch

from experiments.faults.readers import READERS, write_originals

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("originals") / "here")


def test_there_is_one_whole_file_of_each_kind(originals):
    assert originals.keys() == READERS.keys()
    assert all(path.stat().st_size > 0 for path in originals.values())


@pytest.mark.parametrize("name", READERS)
def test_whole_file_is_read(name, originals, tmp_path):
    path = tmp_path / originals[name].name
    path.write_bytes(originals[name].read_bytes())
    first = READERS[name].read(path)
    assert first == READERS[name].read(path)
    assert path.is_file()
