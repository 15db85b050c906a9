"""Run many children of a chain: shared beginnings once, equal steps as one batched call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from nni.mutable import Sample
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from ..supernet.batches import changes_of
from ..supernet.calibration import Statistics, tracking_norms
from ..supernet.chain import ChainStep, ChangedInPlace
from ..supernet.hidden_states import Call
from .prefixes import PrefixTree

__all__ = ["ChainRunner", "prefix_tree"]

States = list[Any]
"""Hidden states of one child, one for each call of the model."""

CACHE_BYTES = 2**20
"""Most bytes of states joined for one call on a CPU: more leave its cache, and gain nothing."""

WRITES = "a layer or the head writes into the arguments of forward"


class ChainRunner:
    """Computes the outputs of children for given calls of the model.

    Parameters
    ----------
    steps
        The chain.
    calls
        Calls of the model, whose outputs are wanted.
    calibration
        Calls on which BatchNorm statistics are taken anew for every child; with none the
        statistics stay as they are.
    memory
        Bytes of hidden states and outputs held at once, at least those of one child. When a GPU
        still has too little, the children of a call are halved until it is enough.
    probe
        A child that is run once, to see how large hidden states are.

    Attributes
    ----------
    n_calls : int
        Steps of children run so far.
    """

    def __init__(
        self,
        steps: Sequence[ChainStep],
        calls: Sequence[Call],
        calibration: Sequence[Call] = (),
        *,
        memory: int,
        probe: Sample,
    ) -> None:
        self.steps = steps
        self.n_calls = 0
        self._calls = [*calibration, *calls]
        self._given = [[step.given(call) for call in self._calls] for step in steps]
        self._changes = changes_of(self._given)
        self._n_calibration = len(calibration)
        self._norms = [tracking_norms(step.modules) if calibration else [] for step in steps]
        self._memory = memory
        self._plan(probe)

    def _plan(self, probe: Sample) -> None:
        """Find out how many children fit: in memory, and in one call of every step."""
        states: States = list(self._calls)
        sizes, self._joined = [], []
        for step, given, norms in zip(self.steps, self._given, self._norms, strict=True):
            before = states
            if step.key(probe) is not None:
                step.route(probe)
                states = [step.run(s, **g) for s, g in zip(states, given, strict=True)]
            sizes.append(sum(map(_bytes, states)))
            largest = max(map(_bytes, [*before, *states]))
            on_cpu = all(tensor.device.type == "cpu" for tensor in _tensors(states))
            room = min(self._memory, CACHE_BYTES) if on_cpu else self._memory
            alone = norms or not all(tensor.dim() for tensor in _tensors(states))
            self._joined.append(1 if alone else max(1, room // max(1, largest)))
        self._at_once = max(1, self._memory // max([1, *sizes[:-1]]))

    def outputs(self, samples: Sequence[Sample]) -> Iterator[tuple[int, States]]:
        """Yield the index of a sample and the outputs of its child, one child after the other.

        Raises
        ------
        ChangedInPlace
            Behind the last one, if a step has written into what other steps are given.
        """
        tree = prefix_tree(self.steps, samples)
        for start in range(0, len(samples), self._at_once):
            part = tree.part(start, start + self._at_once)
            states: list[States] = [list(self._calls)]
            for depth in range(len(self.steps) - 1):
                following = dict(self._advance(depth, part, samples, states))
                states = [following[node] for node in range(len(following))]
            last = len(self.steps) - 1
            children = part.children(last)
            for node, outputs in self._advance(last, part, samples, states):
                for index in children[node]:
                    yield index, outputs[self._n_calibration :]
        if changes_of(self._given) != self._changes:
            raise ChangedInPlace(WRITES)

    def _advance(
        self, depth: int, tree: PrefixTree, samples: Sequence[Sample], states: list[States]
    ) -> Iterator[tuple[int, States]]:
        """Run a step for all its nodes, from the states behind the step before."""
        parents, first = tree.parents(depth), tree.order[tree.first(depth)]
        uses = Counter(parents)
        for code, nodes in tree.groups(depth).items():
            if code == 0:
                yield from ((node, states[parents[node]]) for node in nodes)
                continue
            self.steps[depth].route(samples[first[nodes[0]]])
            for alike in _of_one_shape(nodes, [states[parents[node]] for node in nodes]):
                while alike:
                    some = alike[: self._joined[depth]]
                    before = [states[parents[node]] for node in some]
                    if len(some) == 1 and uses[parents[some[0]]] > 1:
                        before = [_copied(before[0])]  # a step may change it in place
                    results = self._run(depth, before)
                    if results is not None:
                        self.n_calls += len(some)
                        alike = alike[len(some) :]
                        yield from zip(some, results, strict=True)

    def _run(self, depth: int, nodes: list[States]) -> list[States] | None:
        """Run a step, on the path that is set, for some nodes; ``None`` if memory is too little.

        From then on fewer nodes are joined.
        """
        if self._norms[depth]:
            [states] = nodes
            return [self._run_calibrated(depth, states)]
        try:
            return self._run_joined(depth, nodes)
        except torch.OutOfMemoryError:
            if len(nodes) == 1:
                raise
            self._joined[depth] = len(nodes) // 2
            return None

    def _run_joined(self, depth: int, nodes: list[States]) -> list[States]:
        step, n = self.steps[depth], len(nodes)
        by_call = []
        for given, states in zip(self._given[depth], zip(*nodes, strict=True), strict=True):
            repeated = _repeated(given, n)
            by_call.append(_apart(step.run(_joined(states), **repeated), n))
            if n > 1 and changes_of(repeated):
                raise ChangedInPlace(WRITES)
        return [list(states) for states in zip(*by_call, strict=True)]

    def _run_calibrated(self, depth: int, states: States) -> States:
        results, step, n = [], self.steps[depth], self._n_calibration
        calls = list(zip(states, self._given[depth], strict=True))
        with Statistics(self._norms[depth]) as statistics:
            with statistics.taken():
                results += [step.run(state, **given) for state, given in calls[:n]]
            results += [step.run(state, **given) for state, given in calls[n:]]
        return results


def prefix_tree(steps: Sequence[ChainStep], samples: Sequence[Sample]) -> PrefixTree:
    """Which children run the same, up to which step of a chain."""
    return PrefixTree.of([[step.key(sample) for step in steps] for sample in samples])


def _of_one_shape(nodes: list[int], states: list[States]) -> Iterable[list[int]]:
    """Group nodes by the shapes of their states, which differ where widths are chosen."""
    alike: dict[Any, list[int]] = {}
    for node, of_calls in zip(nodes, states, strict=True):
        shape = tuple(tensor.shape for tensor in _tensors(of_calls[0]))
        alike.setdefault(shape, []).append(node)
    return alike.values()


def _tensors(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):  # the most frequent case, spared the walk of a tree
        return [tree]
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]


def _copied(states: States) -> States:
    return tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, states)


def _bytes(state: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in _tensors(state))


def _joined(states: Sequence[Any]) -> Any:
    """Join states one behind the other along the batch."""
    if len(states) == 1:
        return states[0]
    if isinstance(states[0], Tensor):
        return torch.cat(list(states))
    return tree_map(lambda *tensors: torch.cat(tensors), *states)


def _repeated(given: dict[str, Any], n: int) -> dict[str, Any]:
    """Repeat the tensors among arguments n times along the batch."""
    if n == 1:
        return given

    def repeat(value: Any) -> Any:
        return torch.cat([value] * n) if isinstance(value, Tensor) and value.dim() else value

    return tree_map(repeat, given)


def _apart(state: Any, n: int) -> list[Any]:
    """Undo :func:`_joined`."""
    if n == 1:
        return [state]
    if isinstance(state, Tensor):
        return list(state.unflatten(0, (n, -1)).unbind(0))
    leaves, spec = tree_flatten(state)
    pieces = [leaf.unflatten(0, (n, -1)).unbind(0) for leaf in leaves]
    return [spec.unflatten([piece[i] for piece in pieces]) for i in range(n)]
