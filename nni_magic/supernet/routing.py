"""The path through a supernet: set here, and nowhere else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

from nni.mutable import Sample
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from torch import nn

__all__ = ["Part", "Router"]

_routers: WeakKeyDictionary[nn.Module, Router] = WeakKeyDictionary()


class Router:
    """Sets the path of a supernet, touching only the modules whose choice changes.

    A supernet has one router, which :meth:`of` gives: two would not know of each other's paths.

    Attributes
    ----------
    by_label : dict
        Label to the modules that choose by it.
    """

    def __init__(self, supernet: nn.Module) -> None:
        self.refresh(supernet)

    @classmethod
    def of(cls, supernet: nn.Module) -> Router:
        """Give the one router of a supernet."""
        router = _routers.get(supernet) or cls(supernet)
        if router.by_label:  # a plain space has no labels yet, and may become a supernet in place
            _routers[supernet] = router
        return router

    def refresh(self, supernet: nn.Module) -> None:
        """Find the supernet's modules anew, and forget the path."""
        self._path: dict[str, Any] = {}
        self.by_label: dict[str, list[BaseSuperNetModule]] = defaultdict(list)
        for module in supernet.modules():
            if isinstance(module, BaseSuperNetModule):
                labels = list(module.simplify())
                for label in labels:
                    self.by_label[str(label)].append(module)
                if not labels:  # NNI's operations of fixed shape do not run before one call
                    module.resample({})

    def set(self, sample: Sample) -> None:
        """Set the path to a child."""
        changed = {
            label: choice
            for label, choice in sample.items()
            if label not in self._path or self._path[label] != choice
        }
        # Once each: a cell chooses by many labels, and finds all of them anew.
        for module in dict.fromkeys(m for label in changed for m in self.by_label.get(label, ())):
            module.resample(sample)
        self._path.update(changed)

    def part(self, modules: Iterable[nn.Module]) -> Part:
        """A part of the supernet, whose path is set without the rest."""
        found = {id(m): m for root in modules for m in root.modules()}
        return Part(self, [m for m in found.values() if isinstance(m, BaseSuperNetModule)])

    def forget(self) -> None:
        """Set every module the next time, because foreign code may have set paths."""
        self._path = {}


class Part:
    """Some modules of a supernet, whose path can be set without the others'.

    Parameters
    ----------
    router
        That of the supernet.
    modules
        All of NNI's supernet modules in the part.

    Attributes
    ----------
    labels : list of str
        What the modules choose by.
    """

    def __init__(self, router: Router, modules: list[BaseSuperNetModule]) -> None:
        self._router = router
        self._modules = modules
        labels = (str(label) for module in modules for label in module.simplify())
        self.labels = list(dict.fromkeys(labels))
        own, known = set(modules), router.by_label
        self._elsewhere = [label for label in self.labels if not own.issuperset(known[label])]

    def set(self, sample: Sample) -> None:
        """Set the path of these modules; the others keep theirs."""
        for module in self._modules:
            module.resample(sample)
        path = self._router._path
        path.update((label, sample[label]) for label in self.labels if label in sample)
        for label in self._elsewhere:  # modules outside of the part choose by it too, and wait
            path.pop(label, None)
