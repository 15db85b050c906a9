"""Turn a child into programs that run without NNI, and compare what they compute.

``torch.export`` writes a program that needs torch alone, and torch's ONNX exporter makes of it one
for ONNX runtimes. Both take batches of any size; every other dimension is the example's, or any up
to it where that is wanted.
The program gives what the child gives, nested as it is; the one for ONNX the tensors of it, in
order, because ONNX knows neither ``None`` nor dicts.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, ShapesCollection
from torch.utils._pytree import tree_leaves, tree_map, tree_structure

__all__ = ["Inputs", "check_outputs", "example_inputs", "write_onnx", "write_programs"]

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
    any_size: Collection[int] = (),
    onnx_names: Sequence[str] | None = None,
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
    any_size
        Dimensions besides the batch that may have any size up to the example's.
    onnx_names
        Names of the inputs in ``child.onnx``, in order; by default those in ``forward``.

    Raises
    ------
    RuntimeError
        If the child cannot be exported, or a file does not compute what the child does.
    """
    if not {"program", "onnx"} & set(formats):
        return
    with _explained("torch.export cannot export it"):
        program = _export(child, inputs, any_size)
    compare = partial(_check_agreement, inputs=inputs, tolerance=tolerance, any_size=any_size)
    if "program" in formats:
        path = folder / "child.pt2"
        with _explained("its child.pt2 cannot be written"):
            torch.export.save(program, path)
            loaded = torch.export.load(path).module()
        with _explained("its child.pt2 does not compute what it does"):
            compare(loaded, child)
    if "onnx" in formats:
        path = folder / "child.onnx"
        with _explained("its child.onnx cannot be written"):
            _write_onnx(program, path, input_names=onnx_names)
            runner = _onnx_runner(path)
        with _explained("its child.onnx does not compute what it does"):
            compare(runner, _tensors_of(child))


def write_onnx(
    module: nn.Module,
    inputs: Inputs,
    path: Path,
    *,
    tolerance: float,
    any_size: Collection[int] = (),
    output_names: Sequence[str] | None = None,
) -> None:
    """Write any module for ONNX runtimes, and compare it; see :func:`write_programs`."""
    with _explained("torch.export cannot export it"):
        program = _export(module, inputs, any_size)
    with _explained(f"its {path.name} cannot be written"):
        _write_onnx(program, path, output_names=output_names)
        runner = _onnx_runner(path)
    with _explained(f"its {path.name} does not compute what it does"):
        _check_agreement(runner, _tensors_of(module), inputs, tolerance, any_size)


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the exporters raise all kinds
        raise RuntimeError(f"{what}: {error}") from error


def _export(child: nn.Module, inputs: Inputs, any_size: Collection[int]) -> ExportedProgram:
    args, kwargs = inputs
    shapes, batch = ShapesCollection(), Dim("batch")
    sizes: dict[int, Any] = {}
    for tensor in tree_leaves(inputs):
        for dim in any_size:
            if dim < tensor.dim():
                sizes.setdefault(dim, Dim(f"size_{dim}", max=tensor.shape[dim]))
        shapes[tensor] = {0: batch, **{dim: sizes[dim] for dim in sizes if dim < tensor.dim()}}
    with torch.no_grad():
        return torch.export.export(
            child, args, kwargs, strict=False,
            dynamic_shapes=shapes.dynamic_shapes(child, args, kwargs),
        )  # fmt: skip


def _write_onnx(program: ExportedProgram, path: Path, **names: Sequence[str] | None) -> None:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of outputs that are None, which is as we want it
    try:
        with warnings.catch_warnings():
            # torch.onnx warns about its own use of torch.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            onnx = torch.onnx.export(program, dynamo=True, verbose=False, **names)  # type: ignore[arg-type]
    finally:
        logger.setLevel(level)
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


def _tensors_of(child: nn.Module) -> Callable[..., list[Tensor]]:
    """Run a child, and give the tensors of its output in a list."""

    def run(*args: Tensor, **kwargs: Tensor) -> list[Tensor]:
        leaves = tree_leaves(child(*args, **kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    return run


def _check_agreement(
    run: Callable[..., object],
    child: Callable[..., object],
    inputs: Inputs,
    tolerance: float,
    any_size: Collection[int],
) -> None:
    """Compare outputs on the example batch, on one of another size, and on smaller ones."""
    longer: Inputs = tree_map(lambda tensor: torch.cat([tensor, tensor[:1]]), inputs)
    for batch in (inputs, longer, *_smaller(inputs, any_size)):
        check_outputs(run, child, batch, tolerance)


def _smaller(inputs: Inputs, any_size: Collection[int]) -> Iterator[Inputs]:
    """Give inputs whose free dimensions have half the size, and a size of 1."""
    for dim in any_size:
        for share in (0.5, 0.0):
            yield tree_map(partial(_cut, dim=dim, share=share), inputs)


def _cut(tensor: Tensor, dim: int, share: float) -> Tensor:
    if dim >= tensor.dim():
        return tensor
    return tensor.narrow(dim, 0, max(1, int(share * tensor.shape[dim])))


def check_outputs(
    run: Callable[..., object], child: Callable[..., object], inputs: Inputs, tolerance: float
) -> None:
    """Raise an ``AssertionError`` unless what is run gives a child's outputs."""
    args, kwargs = inputs
    with torch.no_grad():
        expected, actual = child(*args, **kwargs), run(*args, **kwargs)
    if (kind := tree_structure(actual)) != (wanted := tree_structure(expected)):
        raise AssertionError(f"its output is nested as {kind}, and not as {wanted}")
    torch.testing.assert_close(
        tree_leaves(actual), tree_leaves(expected), rtol=tolerance, atol=tolerance, equal_nan=True
    )
