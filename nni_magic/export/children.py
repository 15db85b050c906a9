"""Write the best children of a supernet to a folder, ready to be used without NNI.

Every child has a folder of its own, ``<rank>_<digest>``, which is complete or not there:

====================  =======================================================================
file                  content
====================  =======================================================================
``child.json``        sample, space, digest, rank, score, params, FLOPs, provenance, and what
                      hinders a child built anew to load the weights, if anything does
``weights.pt``        state dict: ``torch.load(path, weights_only=True)``
``child.pt2``         the child in evaluation mode: ``torch.export.load(path).module()``
``child.onnx``        the same for ONNX runtimes; weights above 2 GB lie in a file beside it
``architecture.png``  the choices of the child
====================  =======================================================================

``child.pt2`` and ``child.onnx`` take batches of any size, and are compared with the child before
the folder appears. ``weights.pt`` has the names of the child that NNI builds anew, to train on:
``nni_magic.load(folder)`` does it where ``child.json`` knows the arguments of the space, or::

    sample = in_space(json.load(open("1_<digest>/child.json"))["sample"], candidates(Space(...)))
    with nni.nas.space.model_context(sample):
        child = Space(...)
    child.load_state_dict(torch.load("1_<digest>/weights.pt", weights_only=True))

This is tried when the child is written. Where a space does not build the same child anew,
``rebuild_problem`` in ``child.json`` says why; it is ``null`` where all is well.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import math
import re
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn

from ..children.json_samples import in_space
from ..children.samples import candidates, digest
from ..scoring.scored import ScoredChild
from ..supernet.calibration import tracking_norms
from ..support.files import replacing_folder
from .inherited import inherited_child
from .pictures import draw_architecture
from .programs import Inputs, example_inputs, write_programs
from .rebuilding import weights_to_load
from .record import described, shapes, write_record

__all__ = ["FORMATS", "check_formats", "export_child", "export_children"]

_logger = logging.getLogger(__name__)

FORMATS = {  # format -> what it needs: an extra of this package, and modules of that extra
    "program": ("", ()),
    "onnx": ("onnx", ("onnx", "onnxscript", "onnxruntime")),
    "picture": ("plots", ("matplotlib",)),
}


def export_children(
    supernet: ModelSpace,
    ranked: Sequence[ScoredChild | tuple[Sample, float]],
    folder: str | Path,
    *,
    child: Callable[[Sample], nn.Module] | None = None,
    **options: Any,
) -> list[Path]:
    """Export children with the weights that they inherit; the supernet stays as it is.

    Children of an earlier export to the same folder are removed once all the new ones are there.

    Parameters
    ----------
    supernet
        A trained path-sampling supernet, or any other model space of NNI.
    ranked
        Children with their scores, best first; plain pairs of a sample and a score will do.
    folder
        Where the children's folders are made.
    child
        Makes the stand-alone child of a sample; needed with BatchNorm, where it is usually
        ``evaluate.child`` of the :class:`nni_magic.search.ChildEvaluator` that scored the
        children, so that they carry the statistics of their scores. What is given here is written
        as it is, as it may have been calibrated or trained further. By default
        the supernet is frozen, and the child compared with its path on the example inputs.
    **options
        The keyword arguments of :func:`export_child`, except ``rank`` and ``space``.

    Returns
    -------
    list of Path
        The children's folders, best first.

    Raises
    ------
    ValueError
        If there are no children, a sample is not in the space, or ``child`` is needed; nothing is
        written then. If a frozen child has other weights than its path.
        Otherwise as :func:`export_child`; the children written before the error remain.
    """
    if not ranked:
        raise ValueError("ranked is empty; accepted are lists of at least one scored child")
    scored = [ScoredChild(_own_sample(supernet, sample), score) for sample, score in ranked]
    if child is None:
        if tracking_norms([supernet]):
            raise ValueError(
                f"{type(supernet).__name__} has BatchNorm, and the supernet's statistics fit no "
                "child: pass child=evaluate.child of the ChildEvaluator that scored the children, "
                "or child=partial(nni_magic.support.compat.freeze, supernet) for the supernet's "
                "statistics as they are"
            )
        args, kwargs = options.get("args", ()), options.get("kwargs") or {}
        child = partial(inherited_child, supernet, args=args, kwargs=kwargs)
    written = [
        export_child(child(each.sample), each.sample, each.score, folder,
                     rank=rank, space=supernet, **options)
        for rank, each in enumerate(scored, 1)
    ]  # fmt: skip
    for old in set(Path(folder).iterdir()) - set(written):
        if re.fullmatch(r"\d+_[0-9a-f]{16}", old.name):
            shutil.rmtree(old)
    return written


def export_child(
    child: nn.Module,
    sample: Sample,
    score: float,
    folder: str | Path,
    *,
    space: ModelSpace,
    metric: str,
    provenance: Mapping[str, Any],
    args: Sequence[Tensor] = (),
    kwargs: Mapping[str, Tensor] | None = None,
    rank: int = 1,
    formats: Collection[str] = tuple(FORMATS),
    tolerance: float = 1e-4,
    any_size: Collection[int] = (),
    onnx_names: Sequence[str] | None = None,
    beside: Callable[[Path], None] | None = None,
) -> Path:
    """Export one child, for instance one whose BatchNorm statistics were calibrated.

    Parameters
    ----------
    child
        The stand-alone child, as ``supernet.freeze(sample)`` gives it. It stays as it is.
    sample, score
        Which child it is, and how good.
    folder
        Where the folder ``<rank>_<digest>`` is made; one that is there is replaced.
    space
        The model space or supernet that the sample is of.
    metric
        Name of the score.
    provenance
        Where the child comes from, see :func:`nni_magic.support.records.provenance`.
    args, kwargs
        Example inputs of the child's ``forward``, all tensors. Their first dimension is the batch,
        of at least 2; what is written accepts any batch, but only the same other dimensions, unless
        ``any_size`` has them.
    rank
        Place of the child, from 1.
    formats
        What to write besides ``child.json`` and ``weights.pt``: some of :data:`FORMATS`.
    tolerance
        Largest difference, relative and absolute, between the outputs of what was written and the
        child's.
    any_size
        Dimensions besides the batch that may have any size up to the example's, such as 1 where
        inputs are ``(batch, seq)``.
    onnx_names
        Names of the inputs in ``child.onnx``, in order; by default those in ``forward``.
    beside
        Writes more into the folder, such as how inputs are made, before it appears.

    Returns
    -------
    Path
        The child's folder.

    Raises
    ------
    TypeError
        If an example input is no tensor.
    ValueError
        If the score is not finite, the sample is not in the space, a format is unknown, the
        folder is a file, or the child does not accept the example inputs.
    ModuleNotFoundError
        If a format needs a package that is not installed.
    RuntimeError
        If the child cannot be written in a format, or what was written computes something else.
    """
    sample = _own_sample(space, sample)
    folder, name = Path(folder), digest(sample)
    _check_target(folder, name, score)
    check_formats(formats)
    inputs = example_inputs(args, kwargs or {})
    # A copy, because freezing leaves the chosen candidates shared with the supernet.
    child = copy.deepcopy(child).cpu().eval().requires_grad_(False)
    _check_accepts(child, name, inputs)
    target = folder / f"{rank}_{name}"
    weights, problem = weights_to_load(child, space, sample, inputs)
    if problem is not None:
        _logger.warning("Child %s: %s", name, problem)
    with replacing_folder(target) as new:
        torch.save(weights, new / "weights.pt")
        origin = {"rank": rank, "metric": metric, "score": float(score), "provenance": provenance}
        known = described(child, space, sample, inputs)
        write_record(new, {**known, **origin, "rebuild_problem": problem})
        if beside is not None:
            beside(new)
        if "picture" in formats:
            draw_architecture(space, sample, new / "architecture.png")
        try:
            write_programs(
                child, inputs, new, formats,
                tolerance=tolerance, any_size=any_size, onnx_names=onnx_names,
            )  # fmt: skip
        except RuntimeError as error:
            raise RuntimeError(
                f"child {name}: {error}; without this format its weights.pt can be written"
            ) from error
    return target


def _own_sample(space: ModelSpace, sample: Sample) -> Sample:
    own = in_space(sample, candidates(space))
    space.validate(dict(own))  # its constraints, too, some of which write to a sample
    return own


def _check_target(folder: Path, name: str, score: float) -> None:
    if not math.isfinite(score):
        raise ValueError(f"the score of child {name} is {score}; accepted are finite numbers")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder is {str(folder)!r}, a file; accepted are folders, old or new")


def check_formats(formats: Collection[str]) -> None:
    """Make sure that formats are known, and that what they need is installed.

    Raises
    ------
    ValueError
        Naming what is no format.
    ModuleNotFoundError
        Naming the extra that is needed.
    """
    if isinstance(formats, str) or not set(formats) <= FORMATS.keys():
        names = ", ".join(map(repr, FORMATS))
        raise ValueError(f"formats is {formats!r}; accepted are lists of some of {names}")
    for name in formats:
        extra, modules = FORMATS[name]
        if missing := [module for module in modules if importlib.util.find_spec(module) is None]:
            raise ModuleNotFoundError(
                f"format {name!r} needs {', '.join(missing)}: pip install nni-magic[{extra}], "
                "or leave it out of formats"
            )


def _check_accepts(child: nn.Module, name: str, inputs: Inputs) -> None:
    args, kwargs = inputs
    try:
        with torch.no_grad():
            child(*args, **kwargs)
    except Exception as error:  # whatever the user's model raises
        raise ValueError(
            f"child {name} does not accept the example inputs of shapes {shapes(inputs)}: {error}"
        ) from error
