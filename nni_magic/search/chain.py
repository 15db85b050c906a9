r"""See a model as a chain of steps, so that children which begin alike can share the beginning.

.. math:: f = head \circ layer_N \circ \dots \circ layer_1 \circ stem

A model space is a chain when it says so, by three attributes:

``stem``
    Called with the arguments of ``forward`` that it names; gives the first hidden state.
``layers``
    Modules, each called with the hidden state and the arguments of ``forward`` that it names.
``head``
    Called likewise with the last hidden state; gives what ``forward`` returns.

Hidden states (a tensor, or a tuple, list or dict of tensors) and the tensors among the arguments
have the batch as their first dimension. :class:`search_spaces.BertSpace` is such a space. Of NNI's
hub, ``ProxylessNAS``, ``MobileNetV3Space`` and ``ShuffleNetSpace`` are known, and their ``Repeat``
of variable depth counts as one step per repeated block. Every other model is a single step.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nni.mutable import Sample
from nni.nas.hub.pytorch import MobileNetV3Space, ProxylessNAS, ShuffleNetSpace
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingRepeat
from torch import nn

from ..hidden_states import Call

__all__ = ["Step", "answering", "chain_of", "single_step"]

Run = Callable[[Any, Call], Any]

HUB = {ProxylessNAS: "stem", MobileNetV3Space: "stem", ShuffleNetSpace: "first_conv"}
HUB_LAYERS = {ProxylessNAS: "blocks", MobileNetV3Space: "blocks", ShuffleNetSpace: "features"}


@dataclass
class Step:
    """One step of a chain.

    Parameters
    ----------
    run
        Given the state before the step (none before the first) and the model's call, returns the
        state behind it.
    modules
        What the step runs; its choices are those inside of them.
    repeat, position
        The ``Repeat`` that the step is a block of and its place, from 0: with a depth of
        ``position`` or less the step is left out.
    """

    run: Run
    modules: Sequence[nn.Module]
    repeat: PathSamplingRepeat | None = None
    position: int = 0
    supernet_modules: list[BaseSuperNetModule] = field(init=False)
    labels: list[str] = field(init=False)

    def __post_init__(self) -> None:
        found = {id(m): m for root in self.modules for m in root.modules()}
        self.supernet_modules = [m for m in found.values() if isinstance(m, BaseSuperNetModule)]
        labels = (str(label) for module in self.supernet_modules for label in module.simplify())
        self.labels = list(dict.fromkeys(labels))

    def key(self, sample: Mapping[str, Any]) -> Hashable:
        """What a child runs here: children of one key run the same; ``None`` is left out."""
        if self.repeat is not None and self._depth(sample) <= self.position:
            return None
        return tuple((label, repr(sample[label])) for label in self.labels if label in sample)

    def route(self, sample: Sample) -> None:
        """Set the path of the step's modules."""
        for module in self.supernet_modules:
            module.resample(memo=sample)

    def _depth(self, sample: Mapping[str, Any]) -> int:
        choice = self.repeat.depth_choice  # type: ignore[union-attr]
        return choice.freeze({label: sample[str(label)] for label in choice.simplify()})


def single_step(model: nn.Module) -> list[Step]:
    """The chain of a model about which nothing is known: the model."""
    return [Step(lambda _, call: model(*call.args, **call.kwargs), [model])]


def chain_of(model: nn.Module) -> list[Step]:
    """The steps of a supernet, in the order in which they run."""
    for known in HUB:
        if isinstance(model, known):
            return _hub_chain(model, HUB[known], HUB_LAYERS[known])
    parts = [getattr(model, name, None) for name in ("stem", "layers", "head")]
    stem, layers, head = parts
    if not (callable(stem) and callable(head) and isinstance(layers, (nn.ModuleList, list))):
        return single_step(model)
    rest = [child for child in model.children() if not any(child is part for part in parts)]
    return [
        Step(_named(stem, model, first=True), [stem] if isinstance(stem, nn.Module) else rest),
        *(Step(_named(layer, model), [layer]) for layer in layers),
        Step(_named(head, model), [head] if isinstance(head, nn.Module) else rest),
    ]


def _named(part: Callable[..., Any], model: nn.Module, *, first: bool = False) -> Run:
    """Call a part with the state and with those arguments of the model's call that it names."""
    signature = inspect.signature(model.forward)
    own = part.forward if isinstance(part, nn.Module) else part
    names = list(inspect.signature(own).parameters)

    def run(state: Any, call: Call) -> Any:
        given = signature.bind(*call.args, **call.kwargs).arguments
        named = {name: given[name] for name in names if name in given}
        return part(**named) if first else part(state, **named)

    return run


def _hub_chain(model: nn.Module, stem_name: str, layers_name: str) -> list[Step]:
    """Steps of a model whose ``forward`` is the stem, a sequence of layers, and a rest."""
    stem, layers = getattr(model, stem_name), getattr(model, layers_name)
    rest = [child for child in model.children() if child is not stem and child is not layers]

    def head(state: Any, call: Call) -> Any:
        with answering(stem, _same), answering(layers, _same):  # what is left of forward
            return model(state)

    return [
        Step(lambda _, call: stem(*call.args, **call.kwargs), [stem]),
        *(step for layer in layers for step in _layer_steps(layer)),
        Step(head, rest),
    ]


def _layer_steps(layer: nn.Module) -> Iterator[Step]:
    if isinstance(layer, PathSamplingRepeat):
        for position, block in enumerate(layer.blocks):
            yield Step(_plain(block), [block], layer, position)
    else:
        yield Step(_plain(layer), [layer])


def _plain(layer: nn.Module) -> Run:
    return lambda state, call: layer(state)


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
