"""Remember what the plain attributes of objects hold, and put it back.

Of whatever can be reached from one object: lists, dicts, sets and deques, tensors and arrays,
random generators, modules with their buffers, and objects of a user's classes. Objects of the
libraries that run a training (trainers, loggers, loaders, optimizers) and parameters are left
alone, and so are arrays of 64 MiB or more, and what has no attributes, such as a file or an
iterator.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from operator import is_
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["PLAIN", "Snapshot"]

ROOM = 2**26
"""Bytes of tensors that are copied; further ones are watched."""

PLAIN = {type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device}
"""Types of values that hold nothing else and cannot be changed."""

_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, partial)
_MACHINERY = {
    "torch", "pytorch_lightning", "lightning", "lightning_fabric", "nni", "nni_magic",
    "transformers", "tokenizers", "datasets", "tensorboard", "tensorboardX", "wandb", "mlflow",
    "logging", "threading", "queue", "multiprocessing", "concurrent", "asyncio", "io", "_io",
    "socket", "subprocess",
}  # fmt: skip
_OWN_OF_MODULES = frozenset(vars(nn.Module())) - {"_buffers", "_modules"}

Restore = Callable[[], object]


class Snapshot:
    """The state of an object and of all that it holds, at the time when this is made.

    Parameters
    ----------
    root
        The object.
    leave
        Objects that are left alone, with what only they hold.
    """

    def __init__(self, root: Any, leave: Iterable[Any] = ()) -> None:
        self._left = list(leave)
        self._seen = {id(value): value for value in self._left}
        self._restores: list[Restore] = []
        self._checks: list[Restore] = []
        self._room = ROOM
        waiting = [root]
        while waiting:
            value = waiting.pop()
            plain = type(value) in PLAIN or isinstance(value, _CODE)
            if not plain and id(value) not in self._seen:
                self._seen[id(value)] = value
                waiting.extend(self._keep(value))

    def found(self, kind: type) -> list[Any]:
        """All objects of a class that were reached, in no particular order."""
        left = {id(value) for value in self._left}
        seen = self._seen.values()
        return [value for value in seen if isinstance(value, kind) and id(value) not in left]

    def restore(self) -> None:
        """Put everything back.

        Raises
        ------
        RuntimeError
            If a tensor was written to that is too large to be copied; the rest is put back.
        """
        self._put_back()
        self._check()

    def __enter__(self) -> Snapshot:
        """Begin a block behind which everything is put back; its own error goes before another."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._put_back()
        if kind is None:
            self._check()

    def _put_back(self) -> None:
        for restore in self._restores:
            restore()

    def _check(self) -> None:
        for check in self._checks:
            check()

    def _keep(self, value: Any) -> Iterable[Any]:
        """Remember how to put one object back, and give what it holds."""
        if isinstance(value, Tensor):
            self._keep_tensor(value)
        elif isinstance(value, np.ndarray):
            if value.nbytes < ROOM and value.flags.writeable:
                self._restores.append(partial(np.copyto, value, value.copy()))
        elif isinstance(value, (list, deque, set, dict)):
            return self._keep_container(value)
        elif isinstance(value, (tuple, frozenset)):
            return value
        elif isinstance(value, (random.Random, np.random.Generator, torch.Generator)):
            self._keep_generator(value)
        elif isinstance(value, nn.Module) or not _is_machinery(type(value)):
            return self._keep_object(value)
        return ()

    def _keep_tensor(self, value: Tensor) -> None:
        if isinstance(value, nn.Parameter) or value.is_inference():
            return
        if (size := value.numel() * value.element_size()) > self._room:
            self._checks.append(partial(_check_unwritten, value, value._version))
        elif value.layout == torch.strided and 0 not in value.stride():
            self._room -= size
            # By ``data``, which leaves torch's count of changes, and so autograd, alone.
            self._restores.append(partial(value.data.copy_, value.detach().clone()))

    def _keep_container(self, value: Any) -> Iterable[Any]:
        held = list(value.items()) if isinstance(value, dict) else list(value)
        self._restores.append(partial(_refill, value, held))
        members = list(value.values()) if isinstance(value, dict) else held
        members = [] if set(map(type, members)) <= PLAIN else members
        return [*members, *_vars(value)]

    def _keep_generator(self, value: Any) -> None:
        if isinstance(value, random.Random):
            self._restores.append(partial(value.setstate, value.getstate()))
        elif isinstance(value, torch.Generator):
            self._restores.append(partial(value.set_state, value.get_state()))
        else:
            bits = value.bit_generator
            self._restores.append(partial(setattr, bits, "state", bits.state))

    def _keep_object(self, value: Any) -> Iterable[Any]:
        if isinstance(value, nn.Module):  # without the hooks that all modules have
            own = vars(value)
            self._restores.append(partial(_refill, own, list(own.items())))
            return [held for name, held in own.items() if name not in _OWN_OF_MODULES]
        names = [name for kind in type(value).__mro__ for name in _slots(kind)]
        slots = [(name, getattr(value, name)) for name in names if hasattr(value, name)]
        if slots:
            self._restores.append(partial(_set, value, slots))
        return [*_vars(value), *(held for _, held in slots)]


def _is_machinery(kind: type) -> bool:
    """Whether a class comes from a library that runs the training, or is derived from such."""
    return any(base.__module__.partition(".")[0] in _MACHINERY for base in kind.__mro__)


def _slots(kind: type) -> Iterable[str]:
    slots = vars(kind).get("__slots__", ())
    names = (slots,) if isinstance(slots, str) else tuple(slots)
    return [name for name in names if not name.startswith("__")]


def _vars(value: Any) -> list[dict[str, Any]]:
    return [vars(value)] if hasattr(value, "__dict__") else []


def _refill(container: Any, held: list[Any]) -> None:
    if _holds(container, held):  # as most do, and to fill one anew takes ten times as long
        return
    container.clear()
    if isinstance(container, (list, deque)):
        container.extend(held)
    elif isinstance(container, set) or type(container) is dict:
        container.update(held)
    else:  # to update a Counter is to add
        for key, value in held:
            container[key] = value


def _holds(container: Any, held: list[Any]) -> bool:
    """Whether a container has the very members that it had, in their order."""
    if len(container) != len(held):
        return False
    if isinstance(container, set):
        return all(map(container.__contains__, held))
    if not isinstance(container, dict):
        return all(map(is_, container, held))
    return all(map(is_, container, (key for key, _ in held))) and all(
        map(is_, container.values(), (value for _, value in held))
    )


def _set(value: Any, attributes: list[tuple[str, Any]]) -> None:
    for name, held in attributes:
        object.__setattr__(value, name, held)


def _check_unwritten(value: Tensor, version: int) -> None:
    if value._version != version:
        raise RuntimeError(
            f"a tensor of shape {tuple(value.shape)} was written to that has to stay as it is and "
            f"is too large to be copied for that; accepted are {ROOM} bytes, all tensors together"
        )
