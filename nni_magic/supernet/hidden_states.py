"""Record the hidden states of a child model, and replay a call on another child's path.

The user's model is not asked to change: forward hooks take the outputs of its layers while the
evaluator runs a child, and the model is called again with the very inputs the evaluator gave it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from .batches import changes_of, copy_of

__all__ = [
    "Call", "ModelNotCalled", "States", "as_anchor", "capture_call", "hooked", "recorded",
    "versions_of",
]  # fmt: skip

States = dict[str, Any]
"""Outputs of layers by name: each a tensor, or a list or tuple of tensors."""


@dataclass
class Call:
    """One call of the model: its inputs, the hidden states on the way, and its output."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    states: States = field(default_factory=dict)
    output: Any = None

    def copy(self) -> Call:
        """The same call, with inputs of its own: a model may write into what it is given."""
        return Call(*copy_of((self.args, self.kwargs)))

    @property
    def changes(self) -> int:
        """How often the tensors among the inputs were written to."""
        return changes_of((self.args, self.kwargs))

    def repeat(self, model: Callable[..., Any]) -> Any:
        """Call a model with a copy of these inputs."""
        own = self.copy()
        return model(*own.args, **own.kwargs)


class _Done(BaseException):
    """Leaves a forward pass early; not an ``Exception``, so that no user code catches it."""


class ModelNotCalled(ValueError):
    """A step of the evaluator does not call its model."""


def capture_call(model: nn.Module, step: Callable[[], Any]) -> Call:
    """Run a step of the evaluator up to its first call of the model, and give that call's inputs.

    Raises
    ------
    ModelNotCalled
        If the step does not call the model.
    """
    captured: list[Call] = []

    def stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        captured.append(Call(args, kwargs))
        raise _Done

    handle = model.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        with contextlib.suppress(_Done):
            step()
    finally:
        handle.remove()
    if not captured:
        raise ModelNotCalled(
            "the evaluator's step does not call self.model(...), which is needed here to "
            "repeat the call on the paths of other children"
        )
    return captured[0]


@contextlib.contextmanager
def hooked(layers: Mapping[str, nn.Module], states: States, *, stop: bool) -> Iterator[None]:
    """Collect the first output of every layer; with ``stop``, end the pass when all are in."""

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(module: nn.Module, args: Any, output: Any) -> None:
            states.setdefault(name, output)
            if stop and len(states) == len(layers):
                raise _Done

        return record

    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        with contextlib.suppress(_Done):
            yield
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def as_anchor(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Run modules as an anchor is run, while the block runs.

    Dropout is off, and norms use the batch's statistics without writing their buffers. A module of
    Lightning keeps its mode: its step may do in training what it does not in validation.
    """
    modules = [module for module in modules if not isinstance(module, pl.LightningModule)]
    # Written to __dict__: Module.__setattr__ is slow, and a large supernet has many.
    modes = [module.training for module in modules]
    norms = [module for module in modules if isinstance(module, _NormBase) and module.training]
    tracking = [norm.track_running_stats for norm in norms]
    # InstanceNorm writes the buffers that it has, whatever track_running_stats says.
    buffers = [(norm, norm._buffers) for norm in norms if isinstance(norm, _InstanceNorm)]
    for module in modules:
        module.__dict__["training"] = False
    for norm in norms:
        norm.__dict__.update(training=True, track_running_stats=False)
    for norm, held in buffers:
        norm.__dict__["_buffers"] = {**held, "running_mean": None, "running_var": None}
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.__dict__["training"] = mode
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.__dict__["track_running_stats"] = tracked
        for norm, held in buffers:
            norm.__dict__["_buffers"] = held


@contextlib.contextmanager
def recorded(model: nn.Module, layers: Mapping[str, nn.Module]) -> Iterator[list[Call]]:
    """Record every call of the model while the block runs, with the states of these layers.

    Raises
    ------
    ValueError
        If a state was changed in place behind its layer: it is no longer that layer's output.
    """
    calls: list[Call] = []
    states: States = {}
    versions: dict[str, list[int]] = {}

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.clear()
        versions.clear()
        calls.append(Call(args, kwargs).copy())  # as given, whatever the model does to them

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def count(module: nn.Module, args: Any, output: Any) -> None:
            versions.setdefault(name, versions_of(output))

        return count

    def end(module: nn.Module, args: Any, output: Any) -> None:
        for name, version in versions.items():
            if versions_of(states[name]) != version:
                raise ValueError(
                    f"the output of aligned layer {name!r} is changed in place behind it; "
                    "use inplace=False there, or other aligned_layers"
                )
        calls[-1].states, calls[-1].output = dict(states), output

    handles = [
        model.register_forward_pre_hook(begin, with_kwargs=True),
        model.register_forward_hook(end),
        *(layer.register_forward_hook(note(name)) for name, layer in layers.items()),
    ]
    try:
        with hooked(layers, states, stop=False):
            yield calls
    finally:
        for handle in handles:
            handle.remove()


def versions_of(state: Any) -> list[int]:
    """Torch's count of the changes made in place to the tensors of a state."""
    if isinstance(state, Tensor):
        return [state._version]
    several = state if isinstance(state, (list, tuple)) else ()
    return [version for each in several for version in versions_of(each)]
