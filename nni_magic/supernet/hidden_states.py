"""Record the hidden states of a child model, and replay a call on another child's path.

The user's model is not asked to change: forward hooks take the outputs of its layers while the
evaluator runs a child, and the model is called again with the very inputs the evaluator gave it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from .batches import changes_of, copy_of

__all__ = [
    "Call", "States", "as_anchor", "capture_call", "choice_blocks", "hooked", "recorded",
    "select_layers",
]  # fmt: skip

States = dict[str, Tensor]


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


def capture_call(model: nn.Module, step: Callable[[], Any]) -> Call:
    """Run a step of the evaluator up to its first call of the model, and give that call's inputs.

    Raises
    ------
    ValueError
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
        raise ValueError(
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


def select_layers(
    model: nn.Module, call: Call, *, align_every: int, layers: Sequence[int | str] | None = None
) -> dict[str, nn.Module]:
    """Choose the layers whose outputs are aligned.

    The layers of a model are those that its method ``hidden_layers()`` lists, if it has one;
    otherwise its choice blocks in order of execution (of nested ones the outermost).

    Parameters
    ----------
    model
        The supernet, with a path set.
    call
        Inputs to find the order of execution with.
    align_every
        Take every so many layers: with 4 the layers 4, 8, 12, ...
    layers
        Instead, exactly these: layers by number, from 1, or modules by their name in
        ``model.named_modules()``.

    Returns
    -------
    dict
        Name of a module to the module; by ``align_every`` in order of execution, else as listed.

    Raises
    ------
    ValueError
        If a layer does not exist, or none would be aligned.
    """
    names = {id(module): name for name, module in model.named_modules()}
    chain = {names[id(layer)]: layer for layer in _chain(model, call)}
    numbered = list(chain)
    if layers is None:
        chosen = numbered[align_every - 1 :: align_every]
        if not chosen:
            raise ValueError(
                f"align_every is {align_every}; accepted are 1 to {len(chain)}, the number of "
                f"layers ({', '.join(numbered)}), so that one is aligned; or pass aligned_layers"
            )
        return {name: chain[name] for name in chosen}
    if not layers:
        raise ValueError(
            f"aligned_layers is {layers!r}; accepted are one or more of the numbers 1 to "
            f"{len(chain)} of the layers {', '.join(numbered)}, and of the names of modules"
        )
    modules = dict(model.named_modules())
    selected = {}
    for layer in layers:
        name = layer if isinstance(layer, str) else dict(enumerate(numbered, 1)).get(layer, "")
        if not name or name not in modules:
            raise ValueError(
                f"aligned_layers holds {layer!r}; accepted are the numbers 1 to {len(chain)} of "
                f"the layers {', '.join(numbered)}, and names of modules of the model"
            )
        selected[name] = modules[name]
    return selected


def _chain(model: nn.Module, call: Call) -> list[nn.Module]:
    if inspect.ismethod(named := getattr(model, "hidden_layers", None)):
        return list(named())
    return choice_blocks(model, call)


def choice_blocks(model: nn.Module, call: Call) -> list[nn.Module]:
    """Choice blocks that a call runs on the path set, in order of execution.

    Of nested blocks the outermost alone.
    """
    blocks = {str(i): block for i, block in enumerate(_outermost_blocks(model))}
    states: States = {}
    with as_anchor(list(model.modules())), torch.no_grad():  # noqa: SIM117 - hooks go innermost
        with hooked(blocks, states, stop=False):
            call.repeat(model)
    return [blocks[name] for name in states]


def _outermost_blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        # NNI's operations of variable shape take the place of those of fixed shape, too.
        if isinstance(child, BaseSuperNetModule) and child.simplify():
            yield child
        else:
            yield from _outermost_blocks(child)


@contextlib.contextmanager
def as_anchor(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Run modules as an anchor is run, while the block runs.

    Dropout is off, and norms use the batch's statistics without writing their buffers.
    """
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
    versions: dict[str, int | None] = {}

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.clear()
        versions.clear()
        calls.append(Call(args, kwargs).copy())  # as given, whatever the model does to them

    def note(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def count(module: nn.Module, args: Any, output: Any) -> None:
            versions.setdefault(name, _version(output))

        return count

    def end(module: nn.Module, args: Any, output: Any) -> None:
        for name, version in versions.items():
            if _version(states[name]) != version:
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


def _version(state: Any) -> int | None:
    """Torch's count of the changes made to a tensor in place."""
    return state._version if isinstance(state, Tensor) else None
