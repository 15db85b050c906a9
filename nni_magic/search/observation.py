"""See how an evaluator calls the model, and whether a chain gives what the model gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from torch.utils._pytree import tree_leaves

from ..children.samples import neighbours
from ..samplers.base import Sampler
from ..supernet.chain import single_step
from ..supernet.hidden_states import Call
from ..supernet.outputs import alike, tolerance
from .execution import ChainRunner

__all__ = ["Observer", "canonical"]


def canonical(space: Sampler, sample: Sample) -> Sample:
    """Give labels that are not active their first choice: one child then has one sample."""
    active = set(space.active_labels(sample))
    return {
        label: sample[label] if label in active else choices[0]
        for label, choices in space.candidates.items()
    }


class Observer:
    """Watches the calls of the model while a few children are validated.

    Parameters
    ----------
    model
        The supernet.
    space
        Any sampler of it: knows its labels, choices and constraints.
    validate
        Runs the evaluator's validation step on batches, on the path that is set.
    child, batches
        The first child to watch, and the batches. A second child differs from it in one label, so
        that the two run together behind that label, and a third differs in all labels.

    Attributes
    ----------
    children : list of dict
        The three children.
    calls : list of Call or None
        Calls of the model, one for every batch, with their inputs as given; ``None`` if it is
        called otherwise, or not in the same way for all children, or writes into its inputs, or if
        its outputs are differentiated, which those computed before cannot be.
    """

    def __init__(
        self,
        model: ModelSpace,
        space: Sampler,
        validate: Callable[[Sequence[Any]], Any],
        child: Sample,
        batches: Sequence[Any],
    ) -> None:
        self._model, self._validate = model, validate
        self.children = [child, _neighbour(space, child), _opposite(space, child)]
        self._outputs: list[Any] = []
        self._changes, self._writes, self._differentiates = 0, False, False
        first, *others = [self._observe(each, batches) for each in self.children]
        same = all(alike(first, calls) for calls in others) and len(first) == len(batches)
        known = same and not self._writes and not self._differentiates
        self.calls = [Call(*inputs) for inputs in first] if known else None

    def _observe(self, child: Sample, batches: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Note the inputs of every call, and of the outputs, which can be large, only the first."""
        calls: list[Call] = []

        def before(module: Any, args: Any, kwargs: Any) -> None:
            given = Call(args, kwargs)
            self._changes = given.changes
            calls.append(given.copy())

        def behind(module: Any, args: Any, kwargs: Any, output: Any) -> None:
            if len(calls) == 1:
                self._outputs.append(output)
            # The evaluator may read what the model has written; an answer would write nothing.
            self._writes |= Call(args, kwargs).changes != self._changes
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
            self._differentiates |= any(tensor.requires_grad for tensor in tensors)

        single_step(self._model)[0].route(child)
        hooks = [
            self._model.register_forward_pre_hook(before, with_kwargs=True),
            self._model.register_forward_hook(behind, with_kwargs=True),
        ]
        try:
            self._validate(batches)
        finally:
            for hook in hooks:
                hook.remove()
        return [(call.args, call.kwargs) for call in calls]

    def difference(self, make_runner: Callable[[Sequence[Call]], ChainRunner]) -> str:
        """Say how a chain differs from the model on the first batch; empty if it does not."""
        assert self.calls is not None
        try:
            first = [self.calls[0].copy()]
            for index, [output] in make_runner(first).outputs(self.children):
                if not alike(output, self._outputs[index], tolerance()):
                    return f"other outputs of the child {self.children[index]}"
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # what is a chain by its names only may fail in any way
            return f"{type(error).__name__}: {error}"
        return ""


def _neighbour(space: Sampler, child: Sample) -> Sample:
    """An allowed child that differs in one active label, if there is one."""
    others = neighbours(child, space.candidates, space.active_labels(child))
    return canonical(space, next(filter(space.allows, others), child))


def _opposite(space: Sampler, child: Sample) -> Sample:
    """An allowed child that differs in all labels of more than one choice, if there is one."""
    choices = space.candidates
    rows = (
        {label: c[(c.index(child[label]) + i) % len(c)] for label, c in choices.items()}
        for i in range(1, max(map(len, choices.values())))
    )
    return canonical(space, next(filter(space.allows, rows), child))
