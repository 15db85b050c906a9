r"""See a model as a chain of steps, so that children which begin alike can share the beginning.

.. math:: f = head \circ layer_N \circ \dots \circ layer_1 \circ stem

A model space is a chain when it says so, by three attributes:

``stem``
    Called with the first argument of ``forward``; gives the first hidden state.
``layers``
    Modules, each called with the hidden state before it.
``head``
    Called with the last hidden state; gives what ``forward`` returns.

Further arguments of ``forward`` are given, by name, to those of the three that name them. Hidden
states (a tensor, or a tuple, list or dict of tensors) and the tensors among the arguments have the
batch as their first dimension. :class:`search_spaces.BertSpace` is such a space. Of NNI's hub,
``ProxylessNAS``, ``MobileNetV3Space`` and ``ShuffleNetSpace`` are known, and their ``Repeat`` of
variable depth counts as one step per repeated block. Every other model is a single step.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni.mutable import Sample
from nni.nas.hub.pytorch import MobileNetV3Space, ProxylessNAS, ShuffleNetSpace
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingRepeat
from torch import nn

from .hidden_states import Call
from .routing import Part, Router

__all__ = ["ChainStep", "ChangedInPlace", "answering", "chain_of", "single_step"]

HUB = {ProxylessNAS: "stem", MobileNetV3Space: "stem", ShuffleNetSpace: "first_conv"}
HUB_LAYERS = {ProxylessNAS: "blocks", MobileNetV3Space: "blocks", ShuffleNetSpace: "features"}


class ChangedInPlace(RuntimeError):
    """A step of a chain writes into the arguments of the model's call, which others read."""


@dataclass
class ChainStep:
    """One step of a chain.

    Parameters
    ----------
    run
        Given the state before the step, and what ``given`` finds in the call, returns the state
        behind it. The state before the first step is the model's call.
    modules
        What the step runs; its choices are those inside of them.
    router
        That of the model.
    given
        Arguments, by name, that the step takes from the model's call.
    repeat, position
        The ``Repeat`` that the step is a block of and its place, from 0: with a depth of
        ``position`` or less the step is left out.
    """

    run: Callable[..., Any]
    modules: Sequence[nn.Module]
    router: Router
    given: Callable[[Call], dict[str, Any]] = lambda call: {}
    repeat: PathSamplingRepeat | None = None
    position: int = 0
    part: Part = field(init=False)

    def __post_init__(self) -> None:
        self.part = self.router.part(self.modules)

    @property
    def labels(self) -> list[str]:
        """Labels that the step chooses by."""
        return self.part.labels

    def key(self, sample: Mapping[str, Any]) -> Hashable:
        """What a child runs here: children of one key run the same; ``None`` is left out."""
        if self.repeat is not None and self._depth(sample) <= self.position:
            return None
        return tuple((label, repr(sample[label])) for label in self.labels if label in sample)

    def route(self, sample: Sample) -> None:
        """Set the path of the step's modules."""
        self.part.set(sample)

    def _depth(self, sample: Mapping[str, Any]) -> int:
        choice = self.repeat.depth_choice  # type: ignore[union-attr]
        return choice.freeze({label: sample[str(label)] for label in choice.simplify()})


def single_step(model: nn.Module) -> list[ChainStep]:
    """The chain of a model about which nothing is known: the model."""
    run = _unchanged(lambda call: model(*call.args, **call.kwargs))
    return [ChainStep(run, [model], Router.of(model))]


def _unchanged(run: Callable[[Call], Any]) -> Callable[[Call], Any]:
    """Let a first step have a copy of the call, with which other children begin, too."""

    def first(call: Call) -> Any:
        own = call.copy()
        state = run(own)
        if own.changes:
            raise ChangedInPlace("it writes into its inputs")
        return state

    return first


def chain_of(model: nn.Module) -> list[ChainStep]:
    """The steps of a supernet, in the order in which they run."""
    for known in HUB:
        if isinstance(model, known):
            return _hub_chain(model, HUB[known], HUB_LAYERS[known])
    parts = [getattr(model, name, None) for name in ("stem", "layers", "head")]
    stem, layers, head = parts
    if not (callable(stem) and callable(head) and isinstance(layers, (nn.ModuleList, list))):
        return single_step(model)
    rest = [child for child in model.children() if not any(child is part for part in parts)]
    router, last = Router.of(model), [head] if isinstance(head, nn.Module) else rest
    return [
        _first_step(stem, model, rest),
        *(ChainStep(layer, [layer], router, _named(layer, model)) for layer in layers),
        ChainStep(head, last, router, _named(head, model)),
    ]


def _first_step(stem: Callable[..., Any], model: nn.Module, rest: list[nn.Module]) -> ChainStep:
    signature, named = inspect.signature(model.forward), _named(stem, model)

    def run(call: Call) -> Any:
        first = next(iter(signature.bind(*call.args, **call.kwargs).arguments.values()))
        return stem(first, **named(call))

    modules = [stem] if isinstance(stem, nn.Module) else rest
    return ChainStep(_unchanged(run), modules, Router.of(model))


def _named(part: Callable[..., Any], model: nn.Module) -> Callable[[Call], dict[str, Any]]:
    """Find the arguments of the model's call that a part names behind its first, the state."""
    signature = inspect.signature(model.forward)
    own = inspect.signature(part.forward if isinstance(part, nn.Module) else part)
    further = set(list(signature.parameters)[1:]) & set(list(own.parameters)[1:])

    def given(call: Call) -> dict[str, Any]:
        arguments = signature.bind(*call.args, **call.kwargs).arguments
        return {name: value for name, value in arguments.items() if name in further}

    return given


def _hub_chain(model: nn.Module, stem_name: str, layers_name: str) -> list[ChainStep]:
    """Steps of a model whose ``forward`` is the stem, a sequence of layers, and a rest."""
    stem, layers = getattr(model, stem_name), getattr(model, layers_name)
    rest = [child for child in model.children() if child is not stem and child is not layers]

    def head(state: Any) -> Any:
        with answering(stem, _same), answering(layers, _same):  # what is left of forward
            return model(state)

    router = Router.of(model)
    return [
        _first_step(stem, model, rest),
        *(step for layer in layers for step in _layer_steps(layer, router)),
        ChainStep(head, rest, router),
    ]


def _layer_steps(layer: nn.Module, router: Router) -> Iterator[ChainStep]:
    if isinstance(layer, PathSamplingRepeat):
        for position, block in enumerate(layer.blocks):
            yield ChainStep(block, [block], router, repeat=layer, position=position)
    else:
        yield ChainStep(layer, [layer], router)


def _same(state: Any) -> Any:
    return state


@contextlib.contextmanager
def answering(module: nn.Module, answer: Callable[..., Any]) -> Iterator[None]:
    """Let calls of a module be answered by a function while the block runs."""
    own = module.__dict__.get("forward")
    module.__dict__["forward"] = answer
    try:
        yield
    finally:
        if own is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = own
