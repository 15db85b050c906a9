"""Models for ONNX runtimes: any batch, any length, whole numbers of 8 bits."""

import hugging
import numpy as np
import onnxruntime
import pytest
import torch

from nni_magic.export import write_int8
from nni_magic.tasks.language.hugging_face import (
    MagicBertForQuestionAnswering,
    export_onnx,
    from_child,
)


@pytest.fixture(scope="module")
def masked():
    return from_child(hugging.child(), hugging.SAMPLE)


@pytest.fixture(scope="module")
def file(masked, tmp_path_factory):
    return export_onnx(masked.train(), tmp_path_factory.mktemp("model") / "onnx" / "model.onnx")


def run(file, ids, mask):
    session = onnxruntime.InferenceSession(file)
    return session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})


def test_inputs_have_a_free_batch_and_length_and_the_model_stays_as_it_is(file, masked):
    session = onnxruntime.InferenceSession(file)
    assert [node.name for node in session.get_inputs()] == ["input_ids", "attention_mask"]
    shapes = {tuple(node.shape) for node in session.get_inputs()}
    assert all(isinstance(size, str) for shape in shapes for size in shape)
    assert [node.name for node in session.get_outputs()] == ["logits"]
    assert masked.training


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 5), (3, 12)])
@pytest.mark.parametrize("padded", [False, True])
def test_outputs_are_the_childs_at_every_length(rows, length, padded, file):
    ids, mask = (tensor[:rows] for tensor in hugging.batch(length, padded))
    [logits] = run(file, ids, mask)
    np.testing.assert_allclose(logits, hugging.child()(ids, mask), atol=1e-5)


def test_int8_is_close_and_at_any_length(file):
    quantized = write_int8(file)
    assert quantized == file.with_name("model_int8.onnx")
    for length in (1, 5, 12):
        ids, mask = hugging.batch(length)
        expected = hugging.child()(ids, mask).numpy()
        [logits] = run(quantized, ids, mask)
        error = np.sqrt(((logits - expected) ** 2).mean()) / expected.std()
        assert 0 < error < 0.05  # 0.02 here


@pytest.mark.slow
def test_other_heads_give_their_outputs_by_name(masked, tmp_path):
    torch.manual_seed(0)
    model = MagicBertForQuestionAnswering(masked.config).eval()
    file = export_onnx(model, tmp_path / "model.onnx")
    ids, mask = hugging.batch(7)
    names = [node.name for node in onnxruntime.InferenceSession(file).get_outputs()]
    assert names == ["start_logits", "end_logits"]
    with torch.no_grad():
        expected = model(ids, mask)
    for found, name in zip(run(file, ids, mask), names, strict=True):
        np.testing.assert_allclose(found, expected[name], atol=1e-5)
