"""Batches and inputs of a model that are used again, although user code may write into them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Sequence
from typing import Any

from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

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
    # The most frequent cases are spared the walk, which takes longer than to clone a small batch.
    if isinstance(batch, Tensor):
        return batch.clone()
    if type(batch) in (list, tuple) and _are_different_tensors(batch):
        return type(batch)(tensor.clone() for tensor in batch)
    if type(batch) is dict and _are_different_tensors(batch.values()):
        return {key: tensor.clone() for key, tensor in batch.items()}
    try:
        with _Clones():
            return copy.deepcopy(batch)
    except Exception:  # whatever a foreign object raises that cannot be copied
        return apply_to_collection(batch, Tensor, Tensor.clone, allow_frozen=True)


def _are_different_tensors(values: Collection[Any]) -> bool:
    kinds = set(map(type, values))
    return kinds == {Tensor} and len(set(map(id, values))) == len(values)


def changes_of(inputs: Any) -> int:
    """Count the changes made in place to tensors in lists, tuples and dicts."""
    tensors = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]
    return sum(tensor._version for tensor in tensors if not tensor.is_inference())
