"""Find the chain in a model that does not say that it is one, by watching a call of it.

Where the very output of a module is all that the next one is given, the two are links of a chain:
nothing lies between them. The links of the chain with the most choices, up to the last of these,
are steps; what ``forward`` does before and behind them makes a first and a last step. A module that
only hands on from one inner module to the next, such as ``Sequential``, counts as these.

Behind the links ``forward`` runs again, to do what is left of it. The links then hand on a
:class:`Gone` in place of their states, which nothing can be computed with: a model that reads a
state a second time, as one with a skip connection does, is no chain.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

from .chain import ChainStep, NoChain, answering, layer_steps, single_step, unchanged
from .hidden_states import Call, capture_call
from .routing import Router

__all__ = ["found_chain"]


class Gone:
    """Stands for a hidden state that was handed on, and is not there any more."""

    @classmethod
    def __torch_function__(cls, *_: Any) -> NoReturn:
        raise NoChain("a hidden state is read a second time")

    def __getattr__(self, name: str) -> NoReturn:
        raise NoChain(f"{name} of a hidden state is read a second time")


@dataclass(eq=False)
class _Watched:
    """A call of a module: its only argument, its output, and the calls made inside of it."""

    module: nn.Module
    given: Any
    output: Any = None
    inner: list[_Watched] = field(default_factory=list)

    def flat(self) -> list[_Watched]:
        """The calls that this one hands on through, or this one."""
        if isinstance(self.module, BaseSuperNetModule) or not _has_choices(self.module):
            return [self]
        inner = [each for call in self.inner for each in call.flat()]
        ends = inner and inner[0].given is self.given and inner[-1].output is self.output
        return inner if ends and all(map(_linked, inner, inner[1:])) else [self]


def found_chain(model: nn.Module, call: Call) -> list[ChainStep]:
    """The steps of a supernet, as a call on the path that is set shows them.

    Parameters
    ----------
    model
        The supernet, in the mode in which it is to run.
    call
        Inputs of the model.

    Returns
    -------
    list of ChainStep
        The model as a single step where fewer than two steps would choose. A step, or the last one
        of a child, raises :class:`NoChain` where the model is none after all.
    """
    top = _watch(model, call)
    calls = [each for outer in top.inner for each in outer.flat()]
    chain = _longest_chain(calls, Counter(_modules_called(top)))
    links, router = [each.module for each in chain], Router.of(model)
    steps = [step for link in links for step in layer_steps(link, router)]
    if sum(bool(step.labels) for step in steps) < 2:
        return single_step(model)
    start = calls.index(chain[0])
    before, behind = ({each.module for each in some} for some in (calls[:start], calls[start:]))

    def first(begun: Call) -> Any:
        [state] = capture_call(links[0], lambda: model(*begun.args, **begun.kwargs)).args
        return state

    def last(state: Any, *, args: Any, kwargs: Any) -> Any:
        with contextlib.ExitStack() as answers:
            for link in links[:-1]:
                answers.enter_context(answering(link, lambda _: Gone()))
            answers.enter_context(answering(links[-1], lambda _: state))
            try:
                return model(*args, **kwargs)
            except (NoChain, torch.OutOfMemoryError):
                raise
            except Exception as error:  # whatever the model's code makes of a state that is gone
                raise NoChain(f"{type(error).__name__}: {error}") from error

    return [
        ChainStep(unchanged(first), list(before), router),
        *steps,
        ChainStep(
            last, list(_others(model, {*links, *before - behind})), router,
            lambda given: {"args": given.args, "kwargs": given.kwargs},
        ),
    ]  # fmt: skip


def _watch(model: nn.Module, call: Call) -> _Watched:
    """Run the model, and note which module calls which."""
    top = _Watched(model, None)
    running = [top]

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        alone = args[0] if len(args) == 1 and not kwargs else None
        running[-1].inner.append(_Watched(module, alone))
        running.append(running[-1].inner[-1])

    def end(module: nn.Module, args: Any, output: Any) -> None:
        running.pop().output = output

    hooks = []
    for module in model.modules():
        if module is not model:
            hooks.append(module.register_forward_pre_hook(begin, with_kwargs=True))
            hooks.append(module.register_forward_hook(end))
    try:
        with torch.no_grad():
            call.repeat(model)
    finally:
        for hook in hooks:
            hook.remove()
    return top


def _longest_chain(calls: list[_Watched], times: Mapping[nn.Module, int]) -> list[_Watched]:
    """The chain among calls that holds the most choices, up to its last choice.

    A module that is called several times is in none.
    """
    chains: list[list[_Watched]] = [[]]
    for call in calls:
        if times[call.module] > 1 or call.given is None:
            chains.append([])
        elif chains[-1] and _linked(chains[-1][-1], call):
            chains[-1].append(call)
        else:
            chains.append([call])
    for chain in chains:
        while chain and not _has_choices(chain[-1].module):
            chain.pop()
    return max(chains, key=lambda chain: sum(_has_choices(call.module) for call in chain))


def _linked(one: _Watched, following: _Watched) -> bool:
    return one.output is not None and following.given is one.output


def _modules_called(call: _Watched) -> Iterator[nn.Module]:
    for inner in call.inner:
        yield inner.module
        yield from _modules_called(inner)


def _has_choices(module: nn.Module) -> bool:
    return any(isinstance(m, BaseSuperNetModule) for m in module.modules())


def _others(module: nn.Module, known: set[nn.Module]) -> Iterator[nn.Module]:
    """The largest modules that hold none of those that are known, and are in none."""
    for child in module.children():
        if known.isdisjoint(child.modules()):
            yield child
        elif child not in known:
            yield from _others(child, known)
