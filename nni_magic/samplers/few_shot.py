"""Few-shot NAS [Zhao2021]: after a while every group of a block's candidates has its own supernet.

[Zhao2021] Zhao et al., Few-shot Neural Architecture Search, ICML 2021.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.budgeted import draws_inside
from ..children.partitions import count_partitions, equal_groups, min_cut
from ..children.samples import random_sample
from ..supernet.step import Turn
from ..support.errors import check_choice, check_count, check_number
from .base import Probe
from .similarity import cosines, profile_similarity
from .uniform import UniformSampler

__all__ = ["FewShotSampler", "Split"]

_logger = logging.getLogger(__name__)

MOST_PARTITIONS = 100_000
"""A block that can be divided in more ways is not measured."""

Split = tuple[str, list[list[Any]]]
"""A label, and its choices in groups."""


class FewShotSampler(UniformSampler):
    """Uniform children of the whole space, and after the split of one part after the other.

    Parameters
    ----------
    space, seed, filter
        See :class:`nni_magic.samplers.base.Sampler`.
    n_parts
        Groups of candidates.
    by
        How block and groups are chosen: ``order`` takes neighbours in the order of the space,
        ``gradients`` and ``lid`` those that are alike, see :mod:`nni_magic.samplers.similarity`.
    label
        The block; by default the first one that has enough candidates, or of those that are
        measured the one whose groups are alike the least.
    after
        Share of the training's optimizer steps before the split.
    n_children
        Random children in which the candidates of a block are compared.
    on_split
        Told of the split when it is made.

    Attributes
    ----------
    split : tuple or None
        The label, and its choices in groups.

    Raises
    ------
    ValueError
        If there is no such label, no block has enough candidates, or a part has no valid child.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        n_parts: int = 2,
        by: str = "order",
        label: str | None = None,
        after: float = 0.5,
        n_children: int = 4,
        on_split: Callable[[str, list[list[Any]]], None],
    ) -> None:
        check_count("parts", n_parts, at_least=2)
        check_choice("by", by, ("order", "gradients", "lid"))
        check_number("split_after", after, at_least=0, below=1)
        check_count("split_children", n_children)
        super().__init__(space, seed=seed, filter=filter)
        self.n_parts, self.by, self.after, self.n_children = n_parts, by, after, n_children
        self._on_split = on_split
        self._blocks = self._divisible(label)
        if by == "order":
            self._divided(*self._in_order())

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        self.split: Split | None = None
        self._parts: list[tuple[Any, Any]] = []
        self._turn = 0

    def _divisible(self, label: str | None) -> list[str]:
        """Labels of the blocks that can be split."""
        if label is not None:
            check_choice("split_label", label, self.candidates)
        measured = self.by != "order"
        blocks = [
            name
            for name, choices in self.candidates.items()
            if label in (None, name) and len(choices) >= self.n_parts
            and not (measured and count_partitions(len(choices), self.n_parts) > MOST_PARTITIONS)
        ]  # fmt: skip
        if not blocks:
            sizes = {n: len(c) for n, c in self.candidates.items() if label in (None, n)}
            raise ValueError(
                f"parts is {self.n_parts}, and the numbers of candidates are {sizes}; accepted are "
                "as many parts as a block has candidates at most, so that none is empty"
                + f", with {MOST_PARTITIONS:,} ways to divide them at most"
                * measured
            )
        return blocks

    def _in_order(self) -> Split:
        label = self._blocks[0]
        choices = self.candidates[label]
        groups = equal_groups(len(choices), self.n_parts)
        return label, [[choices[i] for i in group] for group in groups]

    def _divided(self, label: str, groups: list[list[Any]]) -> list[tuple[Any, Any]]:
        """Candidates of every part, and what draws them inside of a budget.

        Raises
        ------
        ValueError
            If a part has no valid child.
        """
        parts, rng = [], np.random.default_rng(0)
        for group in groups:
            kept = {**self.candidates, label: group}
            part = kept, draws_inside(self.filter, kept)
            if not any(self.allows(_drawn(part, rng)) for _ in range(self.tries)):
                raise ValueError(
                    f"the part of {label!r} with {group} has no valid child in {self.tries} tries: "
                    f"{self._constraint()} rejected them; accepted are another split_label, fewer "
                    "parts and a looser filter, so that no part is empty"
                )
            parts.append(part)
        return parts

    def propose(self) -> Sample:
        """Draw every label anew, within the part whose turn it is."""
        if not self._parts:
            return super().propose()
        return _drawn(self._parts[self._turn % len(self._parts)], self._rng)

    def turns(self, probe: Probe) -> list[Turn]:
        """The next child, after the split of the next part."""
        if self.split is None and probe.progress >= self.after:
            self._make_split(probe)
        turns = super().turns(probe)
        self._turn += self.split is not None
        return turns

    def _make_split(self, probe: Probe) -> None:
        label, groups = self._in_order() if self.by == "order" else self._measured(probe)
        self._parts = self._divided(label, groups)
        self.split = label, groups
        _logger.info("Split %r into %s", label, groups)
        self._on_split(label, groups)

    def _measured(self, probe: Probe) -> Split:
        """The block, and its groups, between which there is the least similarity."""
        cuts = []
        for label in self._blocks:
            groups, cut = min_cut(self._similarity(label, probe), self.n_parts)
            cuts.append((cut, label, groups))
        _, label, groups = min(cuts, key=lambda each: each[0])
        choices = self.candidates[label]
        return label, [[choices[i] for i in group] for group in groups]

    def _similarity(self, label: str, probe: Probe) -> np.ndarray:
        """Mean similarity of a block's candidates, over random children with each of them."""
        found = []
        for _ in range(self.n_children):
            children = self._alike(label)
            if self.by == "gradients":
                found.append(cosines([probe.gradient(child) for child in children]))
            else:
                found.append(profile_similarity([probe.dimensions(child) for child in children]))
        return np.asarray(np.mean(found, axis=0))

    def _alike(self, label: str) -> list[Sample]:
        """Draw valid children that differ in a block alone.

        Raises
        ------
        RuntimeError
            If none are found.
        """
        for _ in range(self.tries):
            base = self.draw(self.candidates)
            children = [{**base, label: choice} for choice in self.candidates[label]]
            if all(map(self.allows, children)):
                return children
        raise RuntimeError(
            f"no children that differ in {label!r} alone in {self.tries} tries: "
            f"{self._constraint()} rejected one of them each; loosen it, or take by='order'"
        )

    def state_dict(self) -> dict[str, Any]:
        split = None if self.split is None else [self.split[0], list(map(list, self.split[1]))]
        return {**super().state_dict(), "split": split, "turn": self._turn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.split, self._parts, self._turn = None, [], state["turn"]
        if state["split"] is not None:
            label, groups = state["split"]
            self.split, self._parts = (label, groups), self._divided(label, groups)


def _drawn(part: tuple[Any, Any], rng: np.random.Generator) -> Sample:
    candidates, inside = part
    return random_sample(candidates, rng) if inside is None else inside(rng)
