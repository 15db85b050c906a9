"""ONNX files with whole numbers of 8 bits; those of text are tested beside their ONNX file."""

import images
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from nni_magic.export import write_int8


def test_a_convolutional_child_is_close_in_whole_numbers(tmp_path):
    child, folder = images.exported(tmp_path, formats=["onnx"])
    quantized = write_int8(folder / "child.onnx")
    assert quantized == folder / "child_int8.onnx"
    kinds = {node.op_type for node in onnx.load(quantized).graph.node}
    assert {"ConvInteger", "MatMulInteger"} <= kinds
    assert "Conv" not in kinds
    batch = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(quantized)
    [found] = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
    expected = child(batch).numpy()
    error = np.sqrt(((found - expected) ** 2).mean()) / expected.std()
    assert 0 < error < 0.1


def test_a_file_that_is_not_there_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source is '.*child.onnx'; accepted is the file"):
        write_int8(tmp_path / "child.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install nni-magic\[onnx\]"):
        write_int8(tmp_path / "child.onnx")
