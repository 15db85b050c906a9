r"""Align the hidden states of child models: record, replay, compare.

.. math:: L_{align} = \sum_{n \in A} \mathrm{MSE}(H_n(\alpha^l), H_n(\alpha_t))  \quad [Xu2022, Eq. 1]

==================  ============================================================
:math:`H_n`         ``Call.states``: outputs of the aligned layers, by name
:math:`A`           ``Alignment.layers``: the aligned layers
:math:`\alpha^l`    the anchor; ``Alignment.target`` gives its hidden states
:math:`\alpha_t`    the child that the step trains
==================  ============================================================

The user's model is not asked to change. Forward hooks take the outputs of its layers while the
evaluator runs the child; then the model is called again, with the very inputs that the evaluator
gave it, on the anchor's path. That second pass makes no gradient, ends behind the last aligned
layer, has dropout off, and uses batch statistics without writing BatchNorm's buffers.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["Alignment", "Call", "alignment_loss", "capture_call", "select_layers"]

States = dict[str, Tensor]


def alignment_loss(
    target: Mapping[str, Tensor], states: Mapping[str, Tensor], mask: Tensor | None = None
) -> Tensor:
    """Sum over layers of the mean squared error between hidden states [Xu2022, Eq. 1].

    Parameters
    ----------
    target, states
        Hidden states by layer; those of a layer have the same shape, ``(batch, ...)``.
    mask
        Nonzero where a position is real and zero where it is padding; its shape is the leading
        dimensions of the hidden states, e.g. ``(batch, seq)`` for ``(batch, seq, hidden)``.
        Padding counts neither in the error nor in the mean.

    Returns
    -------
    Tensor
        A scalar in float32, whatever the precision of the states.

    Examples
    --------
    >>> alignment_loss({"a": torch.zeros(2, 3)}, {"a": torch.full((2, 3), 2.0)})
    tensor(4.)
    """
    total = torch.zeros((), device=next(iter(states.values())).device)
    for name, state in states.items():
        error = (state.float() - target[name].float()).square()
        if mask is None:
            total = total + error.mean()
        else:
            if error.shape[: mask.dim()] != mask.shape:
                raise ValueError(
                    f"the mask has shape {tuple(mask.shape)}, but the hidden state of layer "
                    f"{name!r} is {tuple(error.shape)}: the mask must have its leading dimensions; "
                    "pass mask_argument=None to align without a mask"
                )
            weight = (mask != 0).float()
            per_position = error.reshape(*mask.shape, -1).mean(-1)
            total = total + (per_position * weight).sum() / weight.sum().clamp(min=1)
    return total


@dataclass
class Call:
    """One call of the model: what it was given, and the hidden states it came by."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    states: States = field(default_factory=dict)


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
            "the evaluator's training_step does not call self.model(...); alignment needs the "
            "model's own call, because it repeats it on the anchor's path"
        )
    return captured[0]


@contextlib.contextmanager
def _hooked(layers: Mapping[str, nn.Module], states: States, *, stop: bool) -> Iterator[None]:
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
        Name of a module to the module, in order of execution.

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
                f"align_every is {align_every}, but the model has {len(chain)} layers "
                f"({', '.join(numbered)}), so none would be aligned: "
                f"pass align_every from 1 to {len(chain)}, or aligned_layers"
            )
        return {name: chain[name] for name in chosen}
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
    blocks = {str(i): block for i, block in enumerate(_outermost_blocks(model))}
    states: States = {}
    with _as_anchor(list(model.modules())), torch.no_grad():  # noqa: SIM117 - hooks go innermost
        with _hooked(blocks, states, stop=False):
            model(*call.args, **call.kwargs)
    return [blocks[name] for name in states]


def _outermost_blocks(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, BaseSuperNetModule):
            yield child
        else:
            yield from _outermost_blocks(child)


@contextlib.contextmanager
def _as_anchor(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Dropout off; BatchNorm takes the batch's statistics and leaves its buffers alone."""
    # Written to __dict__: Module.__setattr__ would cost a millisecond a step on a large supernet.
    modes = [module.training for module in modules]
    norms = [module for module in modules if isinstance(module, _NormBase) and module.training]
    tracking = [norm.track_running_stats for norm in norms]
    for module in modules:
        module.__dict__["training"] = False
    for norm in norms:
        norm.__dict__.update(training=True, track_running_stats=False)
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.__dict__["training"] = mode
        for norm, tracked in zip(norms, tracking, strict=True):
            norm.__dict__["track_running_stats"] = tracked


class Alignment:
    """The alignment term of a training step's loss.

    ``with alignment.observing(): ...`` surrounds the evaluator's training step of the child;
    calling the object afterwards gives the term.

    Parameters
    ----------
    model
        The supernet.
    layers
        The aligned layers by name; see :func:`select_layers`.
    route
        Sets the supernet's path to a sample.
    target
        Given a function that replays a sample, returns the hidden states to align to.
        MAGIC-A's is ``lambda replay: replay(anchor.sample)``.
    weight
        λ of [Xu2022, Eq. 2], by which the strategy multiplies the term.
    mask_argument
        Name of the argument of the model's ``forward`` that is the padding mask. When the
        evaluator passes it, padding is left out; otherwise every position counts.
    gradient
        Let gradients through the target's pass as well, for study.
    """

    name = "alignment_loss"

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        route: Callable[[Sample], None],
        target: Callable[[Callable[[Sample], States]], States],
        *,
        weight: float = 0.5,
        mask_argument: str | None = "attention_mask",
        gradient: bool = False,
    ) -> None:
        self.model = model
        self.layers = layers
        self.route = route
        self.target = target
        self.weight = weight
        self.gradient = gradient
        self.mask_argument = mask_argument
        arguments = list(inspect.signature(model.forward).parameters)
        self._mask_position = (
            arguments.index(mask_argument) if mask_argument in arguments else len(arguments)
        )
        self._modules = list(model.modules())
        self._calls: list[Call] = []

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Record every call of the model, with the hidden states of the aligned layers."""
        self._calls = []

        def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states.clear()
            self._calls.append(Call(args, kwargs))

        def end(module: nn.Module, args: Any, output: Any) -> None:
            self._calls[-1].states = dict(states)

        states: States = {}
        handles = [
            self.model.register_forward_pre_hook(begin, with_kwargs=True),
            self.model.register_forward_hook(end),
        ]
        try:
            with _hooked(self.layers, states, stop=False):
                yield
        finally:
            for handle in handles:
                handle.remove()

    def __call__(self, child: Sample) -> Tensor:
        """The term for what was observed, averaged over the model's calls.

        Parameters
        ----------
        child
            The sample observed. The supernet's path is set back to it.
        """
        calls, self._calls = self._calls, []
        losses = []
        for call in calls:
            target = self.target(lambda sample, call=call: self.replay(call, sample))  # type: ignore[misc]
            losses.append(alignment_loss(target, call.states, self._mask(call)))
        self.route(child)
        return torch.stack(losses).mean()

    def replay(self, call: Call, sample: Sample) -> States:
        """Hidden states of another child for the inputs of a call.

        Raises
        ------
        ValueError
            If the child's path does not run through all the aligned layers.
        """
        states: States = {}
        self.route(sample)
        with _as_anchor(self._modules), torch.set_grad_enabled(self.gradient):  # noqa: SIM117
            with _hooked(self.layers, states, stop=True):
                self.model(*call.args, **call.kwargs)
        if missing := [name for name in self.layers if name not in states]:
            raise ValueError(f"aligned layers {missing} are not run by the child {sample}")
        return states

    def check_shapes(self, call: Call, children: Sequence[Sample]) -> None:
        """Make sure that the hidden states of these children can be compared.

        Raises
        ------
        ValueError
            If a layer's output is not a tensor, or its shape differs between two children.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for child in children:
            for name, state in self.replay(call, child).items():
                if not isinstance(state, Tensor):
                    raise ValueError(
                        f"the output of aligned layer {name!r} is a {type(state).__name__}, "
                        "not a tensor; pass aligned_layers that give a tensor"
                    )
                shape = shapes.setdefault(name, tuple(state.shape))
                if shape != tuple(state.shape):
                    raise ValueError(
                        f"aligned layer {name!r} gives shape {shape} for one child and "
                        f"{tuple(state.shape)} for another; pass aligned_layers (or align_every) "
                        "whose outputs have one shape for every child"
                    )

    def _mask(self, call: Call) -> Tensor | None:
        if self.mask_argument is None:
            return None
        if self.mask_argument in call.kwargs:
            return call.kwargs[self.mask_argument]
        return call.args[self._mask_position] if self._mask_position < len(call.args) else None
