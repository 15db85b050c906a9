"""Turn a child into programs that run without NNI, and compare what they compute.

``torch.export`` writes a program that needs torch alone, and torch's ONNX exporter makes of it one
for ONNX runtimes. Both take batches of any size; every other dimension is the example's.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["Inputs", "example_inputs", "write_programs"]

Inputs = tuple[tuple[Tensor, ...], dict[str, Tensor]]


def example_inputs(args: Sequence[Tensor], kwargs: Mapping[str, Tensor]) -> Inputs:
    """Check example inputs and bring them to the CPU.

    Raises
    ------
    TypeError
        If one is no tensor.
    ValueError
        If there is none, or they have no first dimension in common, of at least 2: torch.export
        takes a size of 1 for a constant.

    Examples
    --------
    >>> args, kwargs = example_inputs([torch.ones(2, 3)], {"mask": torch.ones(2)})
    >>> len(args), list(kwargs)
    (1, ['mask'])
    """
    tensors = [*args, *kwargs.values()]
    if kinds := [type(value).__name__ for value in tensors if not isinstance(value, Tensor)]:
        raise TypeError(f"args and kwargs hold {', '.join(kinds)}; accepted are tensors only")
    batches = {tensor.shape[0] if tensor.dim() else 0 for tensor in tensors}
    if len(batches) != 1 or min(batches) < 2:
        raise ValueError(
            f"args and kwargs have the shapes {[list(tensor.shape) for tensor in tensors]}; "
            "accepted are tensors with one first dimension in common, a batch of at least 2"
        )
    inputs: Inputs = tree_map(lambda tensor: tensor.detach().cpu(), (tuple(args), dict(kwargs)))
    return inputs


def write_programs(
    child: nn.Module,
    inputs: Inputs,
    folder: Path,
    formats: Collection[str] = ("program", "onnx"),
    *,
    tolerance: float,
) -> None:
    """Write ``child.pt2`` and ``child.onnx``, read them back, and compare them with the child.

    Parameters
    ----------
    child
        In evaluation mode, on the CPU.
    inputs
        Example inputs, see :func:`example_inputs`.
    folder
        Where to write.
    formats
        ``program`` for the first file, ``onnx`` for the second; others are passed over.
    tolerance
        Largest difference between outputs, relative and absolute.

    Raises
    ------
    RuntimeError
        If the child cannot be exported, or a file does not compute what the child does.
    """
    if not {"program", "onnx"} & set(formats):
        return
    with _explained("torch.export cannot export it"):
        program = _export(child, inputs)
    if "program" in formats:
        path = folder / "child.pt2"
        with _explained("its child.pt2 cannot be written"):
            torch.export.save(program, path)
            loaded = torch.export.load(path).module()
        with _explained("its child.pt2 does not compute what it does"):
            _check_agreement(loaded, child, inputs, tolerance)
    if "onnx" in formats:
        path = folder / "child.onnx"
        with _explained("its child.onnx cannot be written"):
            _write_onnx(program, path)
            runner = _onnx_runner(path)
        with _explained("its child.onnx does not compute what it does"):
            _check_agreement(runner, child, inputs, tolerance)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the exporters raise all kinds
        raise RuntimeError(f"{what}: {error}") from error


def _export(child: nn.Module, inputs: Inputs) -> ExportedProgram:
    args, kwargs = inputs
    shapes, batch = ShapesCollection(), Dim("batch")
    for tensor in tree_leaves(inputs):
        shapes[tensor] = {0: batch}
    with torch.no_grad():
        return torch.export.export(
            child, args, kwargs, strict=False,
            dynamic_shapes=shapes.dynamic_shapes(child, args, kwargs),
        )  # fmt: skip


def _write_onnx(program: ExportedProgram, path: Path) -> None:
    with warnings.catch_warnings():
        # torch.onnx warns about its own use of torch.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        onnx = torch.onnx.export(program, dynamo=True, verbose=False)
    assert onnx is not None
    onnx.save(path)


def _onnx_runner(path: Path) -> Callable[..., list[Tensor]]:
    """Load an ONNX file so that it is called as the child is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*args: Tensor, **kwargs: Tensor) -> list[Tensor]:
        # By position, because ONNX renames an input that is an output as well.
        pairs = zip(session.get_inputs(), [*args, *kwargs.values()], strict=True)
        feed = {node.name: tensor.numpy() for node, tensor in pairs}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return run


def _check_agreement(
    run: Callable[..., object], child: nn.Module, inputs: Inputs, tolerance: float
) -> None:
    """Compare outputs on the example batch, and on one of another size."""
    longer: Inputs = tree_map(lambda tensor: torch.cat([tensor, tensor[:1]]), inputs)
    for args, kwargs in (inputs, longer):
        with torch.no_grad():
            expected = tree_leaves(child(*args, **kwargs))
            actual = tree_leaves(run(*args, **kwargs))
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, equal_nan=True)
