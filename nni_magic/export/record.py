"""``child.json``: what is known of an exported child, and enough to build it anew."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import numpy as np
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import model_context
from torch import nn
from torch.utils._pytree import tree_map

from ..children.json_samples import in_space, json_form
from ..children.samples import candidates, digest
from ..support import files
from ..support.flops import count_flops, count_params
from .programs import Inputs

__all__ = ["build_recorded", "described", "read_record", "recorded_space", "shapes", "write_record"]


def described(
    child: nn.Module, space: ModelSpace, sample: Sample, inputs: Inputs
) -> dict[str, Any]:
    """Describe a child: which one it is, what it costs, and what it takes.

    Parameters
    ----------
    child
        The stand-alone child, on the CPU.
    space, sample
        The model space or supernet, and which child it is.
    inputs
        Example inputs of the child.
    """
    return {
        "sample": json_form(sample),
        "space": _made_by(space),
        "digest": digest(sample),
        "params": count_params(child),
        "flops": count_flops(child, *inputs),
        "inputs": shapes(inputs),
    }


def shapes(inputs: Inputs) -> dict[str, Any]:
    """Shapes of example inputs, as JSON has them."""
    args, kwargs = tree_map(lambda tensor: list(tensor.shape), inputs)
    return {"args": list(args), "kwargs": kwargs}


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``child.json`` into a folder that is still to appear."""
    text = json.dumps(record, indent=2, default=_plain)
    (folder / "child.json").write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> dict[str, Any]:
    """Read ``child.json``.

    Raises
    ------
    FileNotFoundError
        If the folder is none of an exported child.
    ValueError
        If the file is damaged.
    """
    record = files.read_record(folder / "child.json", sample=dict, digest=str)
    if record is None:
        raise FileNotFoundError(
            f"folder is {str(folder)!r}, without child.json; accepted are folders of exported "
            "children"
        )
    return record


def recorded_space(record: Mapping[str, Any]) -> type[ModelSpace]:
    """Give the class of the space of a recorded child.

    Raises
    ------
    ValueError
        If the child that is built anew would be another, or the record does not say how its space
        was made.
    """
    if record.get("rebuild_problem"):
        raise ValueError(
            f"child {record['digest']} cannot be built anew: {record['rebuild_problem']}; its "
            "child.pt2 runs as it is"
        )
    if record.get("space") is None:
        raise ValueError(
            f"child.json of child {record['digest']} does not say how its space was made; accepted "
            "are spaces of importable classes, whose arguments JSON can hold"
        )
    return _found(record["space"]["class"])


def build_recorded(record: Mapping[str, Any], **arguments: Any) -> ModelSpace:
    """Build the child of a record, with new weights.

    Parameters
    ----------
    record
        From :func:`read_record`.
    **arguments
        Arguments of the space in place of those that it was made with.

    Raises
    ------
    ValueError
        As :func:`recorded_space`.
    """
    kind, made_by, sample = recorded_space(record), record["space"], record["sample"]
    args, kwargs = made_by["args"], {**made_by["kwargs"], **arguments}
    if any(isinstance(choice, (list, dict)) for choice in sample.values()):
        # They may be tuples, or have keys that are no text; a whole space, to see it, is large.
        sample = in_space(sample, candidates(kind(*args, **kwargs)))
    with model_context(dict(sample)):
        return kind(*args, **kwargs)


def _made_by(space: ModelSpace) -> dict[str, Any] | None:
    """Class and arguments of a space; ``None`` if JSON cannot hold them, or it is in no module."""
    kind = type(space)
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        given = {"args": space.trace_args, "kwargs": space.trace_kwargs}
        read_back: dict[str, Any] = json.loads(json.dumps(given))
        if _found(name) is not kind or _as_lists(given) != read_back:
            return None
    except (AttributeError, TypeError, ValueError):  # it is not traced, or they are no JSON
        return None
    return {"class": name, **read_back}


def _as_lists(value: Any) -> Any:
    """Give tuples as the lists that JSON makes of them; keys stay as they are."""
    if isinstance(value, dict):
        return {key: _as_lists(one) for key, one in value.items()}
    return [_as_lists(one) for one in value] if isinstance(value, (list, tuple)) else value


def _found(name: str) -> type[ModelSpace]:
    """Import the class of a space, and nothing else.

    Raises
    ------
    ValueError
        If there is no such space.
    """
    where, _, qualname = name.partition(":")
    try:
        kind: Any = importlib.import_module(where)
        for part in qualname.split("."):
            kind = getattr(kind, part)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"space is {name!r}, which cannot be imported: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, ModelSpace)):
        raise ValueError(f"space is {name!r}; accepted are subclasses of NNI's ModelSpace")
    return kind


def _plain(value: Any) -> Any:
    """Turn numpy's numbers into Python's for JSON, and everything else into text."""
    return value.item() if isinstance(value, np.generic) else str(value)
