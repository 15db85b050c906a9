"""Batches and inputs of a model that are used again, although user code may write into them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ..support.snapshot import PLAIN

__all__ = ["changes_of", "copy_of"]


class _Clones(TorchFunctionMode):
    """Lets a deep copy clone tensors.

    Its own way refuses tensors with a history, and copies all of the memory that a slice is of.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__:
            return args[0].clone()
        return func(*args, **(kwargs or {}))


def copy_of(batch: Any) -> Any:
    """A batch with containers and tensors of its own, for a step that may change what it is given.

    Parameters
    ----------
    batch
        Tensors in any nesting of lists, tuples, dicts, dataclasses and other objects. If something
        in it cannot be copied, such as a generator, objects that are no such containers are shared
        with the copy.
    """
    try:  # the most frequent kinds are spared the deep copy, which takes ten times as long
        return _plain_copy(batch, {})
    except _NotPlain:
        pass
    try:
        with _Clones():
            return copy.deepcopy(batch)
    except Exception:  # whatever a foreign object raises that cannot be copied
        return apply_to_collection(batch, Tensor, Tensor.clone, allow_frozen=True)


class _NotPlain(Exception):
    """Raised where there is more than tensors, values and Python's own containers."""


def _plain_copy(value: Any, copies: dict[int, Any]) -> Any:
    """Copy tensors, values, lists, tuples, named tuples and dicts; what is one object stays one."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if id(value) in copies:
        if copies[id(value)] is None:  # it holds itself
            raise _NotPlain
        return copies[id(value)]
    copies[id(value)] = None
    if kind is Tensor:
        own = value.clone()
    elif kind in (list, tuple):
        own = kind(_plain_copy(each, copies) for each in value)
    elif kind is dict and all(type(key) in PLAIN for key in value):
        own = {key: _plain_copy(each, copies) for key, each in value.items()}
    elif issubclass(kind, tuple) and hasattr(kind, "_make") and not hasattr(value, "__dict__"):
        own = kind._make(_plain_copy(each, copies) for each in value)
    else:
        raise _NotPlain
    copies[id(value)] = own
    return own


def changes_of(inputs: Any) -> int:
    """Count the changes made in place to tensors in lists, tuples and dicts."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    return sum(tensor._version for tensor in tensors if not tensor.is_inference())
