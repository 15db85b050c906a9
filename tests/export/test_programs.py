import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from nni_magic.export import programs
from nni_magic.export.programs import example_inputs, write_programs

X = torch.arange(8.0).reshape(2, 4)


class Linear(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x)


class Decides(Linear):
    """torch.export cannot follow a branch that depends on the data."""

    def forward(self, x):
        return self.linear(x) if x.sum() > 0 else x


class Fixed(Linear):
    """It works for one batch size only."""

    def forward(self, x):
        return self.linear(x.reshape(2, 4))


class Several(Linear):
    """Inputs by name, of which one has no effect, and outputs in a dict."""

    def forward(self, x, mask=None, unused=None, *, scale=None):
        return {"y": self.linear(x) * mask[:, None], "sums": [x.sum(1), scale]}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("names", [("mask", "unused", "scale"), ("scale", "unused", "mask")])
def test_inputs_by_name_and_nested_outputs(names, batch, tmp_path):
    child = Several().eval()
    inputs = example_inputs([X], {name: torch.ones(2) for name in names})
    write_programs(child, inputs, tmp_path, tolerance=1e-5)
    x, by_name = torch.randn(batch, 4), {name: torch.rand(batch) for name in names}
    expected = child(x, **by_name)
    program = torch.export.load(tmp_path / "child.pt2").module()
    torch.testing.assert_close(program(x, **by_name), expected)
    session = onnxruntime.InferenceSession(tmp_path / "child.onnx")
    values = {"x": x, **by_name}
    feed = {node.name: values[node.name.removesuffix("_orig")].numpy()  # an output, too
            for node in session.get_inputs()}  # fmt: skip
    outputs = session.run(None, feed)
    for actual, wanted in zip(outputs, [expected["y"], *expected["sums"]], strict=True):
        np.testing.assert_allclose(actual, wanted.detach(), rtol=1e-5, atol=1e-6)


class Attention(nn.Module):
    """Attention without its weights, beside other outputs that are not there."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        rows = x[:, None]
        hidden, weights = self.attention(rows, rows, rows, need_weights=False)
        return {"logits": hidden[:, 0], "weights": weights, "more": [None, (x + 1, None)]}


class Pair(Linear):
    def forward(self, x):
        return None, self.linear(x)


@pytest.mark.parametrize("kind", [Attention, Pair])
def test_outputs_that_are_none(kind, tmp_path, caplog):
    child = kind().eval()
    write_programs(child, example_inputs([X], {}), tmp_path, tolerance=1e-5)
    x = torch.randn(5, 4)
    with torch.no_grad():
        expected = child(x)
    program = torch.export.load(tmp_path / "child.pt2").module()
    actual = program(x)
    assert type(actual) is type(expected)
    torch.testing.assert_close(actual, expected)
    session = onnxruntime.InferenceSession(tmp_path / "child.onnx")
    outputs = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    wanted = [expected["logits"], expected["more"][1][0]] if kind is Attention else [expected[1]]
    for one, other in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert "None output" not in caplog.text


def test_a_program_that_drops_a_none_is_rejected():
    child = Pair()
    with pytest.raises(AssertionError, match=r"its output is nested as .*, and not as"):
        programs.check_outputs(child.linear, child, example_inputs([X], {}), 1e-5)


@pytest.mark.parametrize(
    ("formats", "files"),
    [(["program"], {"child.pt2"}), (["onnx", "picture"], {"child.onnx"}), ([], set())],
)
def test_formats_choose_what_is_written(formats, files, tmp_path):
    write_programs(Linear(), example_inputs([X], {}), tmp_path, formats, tolerance=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize("child", [Decides, Fixed])
def test_child_that_torch_cannot_export_is_rejected(child, tmp_path):
    with pytest.raises(RuntimeError, match=r"^torch\.export cannot export it: .*"):
        write_programs(child(), example_inputs([X], {}), tmp_path, tolerance=1e-5)


@pytest.mark.parametrize(("form", "file"), [("program", "child.pt2"), ("onnx", "child.onnx")])
def test_a_program_that_computes_something_else_is_rejected(form, file, tmp_path, monkeypatch):
    export, wrong = programs._export, Linear()
    with torch.no_grad():
        wrong.linear.bias.add_(0.01)
    monkeypatch.setattr(programs, "_export", lambda child, *more: export(wrong, *more))
    inputs = example_inputs([X], {})
    with pytest.raises(RuntimeError, match=f"^its {file} does not compute what it does: Tensor"):
        write_programs(Linear(), inputs, tmp_path, [form], tolerance=1e-3)
    write_programs(Linear(), inputs, tmp_path, [form], tolerance=0.1)


def test_a_program_that_is_right_for_one_batch_size_only_is_rejected():
    child = Linear()
    with pytest.raises(AssertionError):
        programs._check_agreement(
            lambda x: child(x[:2]), child, example_inputs([X], {}), tolerance=1e-3, any_size=()
        )


def test_example_inputs_leave_the_callers_graph_and_device():
    weight = torch.ones(2, 3, requires_grad=True)
    (first,), by_name = example_inputs([weight * 2], {"mask": torch.ones(2)})
    assert not first.requires_grad and first.device.type == by_name["mask"].device.type == "cpu"


@pytest.mark.parametrize(
    ("args", "kwargs", "shapes"),
    [
        ([], {}, "[]"),
        ([torch.ones(1, 4)], {}, "[[1, 4]]"),
        ([X], {"mask": torch.ones(3)}, "[[2, 4], [3]]"),
        ([torch.tensor(1.0)], {}, "[[]]"),
    ],
)
def test_inputs_without_a_common_batch_are_rejected(args, kwargs, shapes):
    with pytest.raises(ValueError, match="in common, a batch of at least 2") as caught:
        example_inputs(args, kwargs)
    assert str(caught.value).startswith(f"args and kwargs have the shapes {shapes}; accepted are")


def test_inputs_that_are_no_tensors_are_rejected():
    with pytest.raises(TypeError, match="hold ndarray, int; accepted are tensors only"):
        example_inputs([np.ones((2, 4))], {"n": 3})


class Sequences(nn.Module):
    """Sums of a masked sequence of at most six numbers, and its length."""

    def forward(self, x, mask):
        return {"total": (x * mask).sum(1), "each": x * mask}


SEQUENCES = ((), {"x": torch.arange(12.0).reshape(2, 6), "mask": torch.ones(2, 6)})


def test_a_dimension_of_any_size_up_to_the_examples(tmp_path):
    write_programs(
        Sequences(), example_inputs(*SEQUENCES), tmp_path, tolerance=1e-5, any_size=(1,),
        onnx_names=("numbers", "kept"),
    )  # fmt: skip
    program = torch.export.load(tmp_path / "child.pt2").module()
    session = onnxruntime.InferenceSession(tmp_path / "child.onnx")
    assert [node.name for node in session.get_inputs()] == ["numbers", "kept"]
    for rows, length in ((1, 1), (3, 4), (2, 6)):
        x, mask = torch.rand(rows, length), (torch.rand(rows, length) > 0.3).float()
        expected = Sequences()(x, mask)
        torch.testing.assert_close(program(x=x, mask=mask), expected)
        found = session.run(None, {"numbers": x.numpy(), "kept": mask.numpy()})
        np.testing.assert_allclose(found[0], expected["total"], rtol=1e-6)
    with pytest.raises(AssertionError, match="Guard failed"):
        program(x=torch.rand(2, 7), mask=torch.ones(2, 7))


def test_a_program_that_is_right_for_one_length_only_is_rejected():
    child = Sequences()
    with pytest.raises(AssertionError):
        programs._check_agreement(
            lambda x, mask: {**child(x, mask), "total": (x * mask).sum(1) + (x.shape[1] < 6)},
            child, example_inputs(*SEQUENCES), tolerance=1e-3, any_size=(1,),
        )  # fmt: skip
    programs._check_agreement(
        child, child, example_inputs(*SEQUENCES), tolerance=1e-3, any_size=(1,)
    )


def test_outputs_have_the_names_that_are_given(tmp_path):
    programs.write_onnx(
        Linear(), example_inputs([X], {}), tmp_path / "a.onnx", tolerance=1e-5,
        output_names=["logits"],
    )  # fmt: skip
    [output] = onnxruntime.InferenceSession(tmp_path / "a.onnx").get_outputs()
    assert output.name == "logits"
