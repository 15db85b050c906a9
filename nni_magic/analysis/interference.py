r"""Measure how much children interfere on a candidate that they share [Xu2022, Sec. 3].

Two children that share the candidate :math:`o_g` of layer j want to move its weights in the
directions of their gradients on the same batch. The cosine between the two says how much they
agree: **higher is less interference**.

===============  ===================================================================
:math:`C`        candidates of a choice block, and children that are compared
:math:`j`        ``shared_layer``, from 1: the layer of the shared candidate
:math:`m`        ``differences``: layers j+1 to j+m, in each of which all children differ
:math:`R`        ``repetitions``: random :math:`o_g`, and random rest of the path
===============  ===================================================================

Differences from the paper: which candidates meet in the layers j+2 to j+m is drawn (a random
permutation a layer), as the paper does not say. Candidates without weights are never :math:`o_g`.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingLayer

from ..support.errors import check_count
from .gradients import SharedGradients
from .shared_weights import trainable_weights
from .study import InterferenceStudy

__all__ = [
    "InterferenceStudy", "differing_children", "gradient_similarity", "interference_study",
]  # fmt: skip


def gradient_similarity(
    supernet: ModelSpace,
    evaluator: Lightning,
    batches: Sequence[Any],
    label: str,
    children: Sequence[Sample],
) -> np.ndarray:
    """Cosine between the gradients that children give to a candidate which they share.

    Works on every space with choice blocks, conditional ones and cells too. In a chain the children
    share what they can, see :mod:`nni_magic.analysis.gradients`. Everything stays as it was, even
    if this is called in the middle of training.

    Parameters
    ----------
    supernet
        A trained supernet, or a model space with trained weights, of which a copy is made into one.
    evaluator
        NNI's Lightning evaluator, whose ``training_step`` gives the loss.
    batches
        The batch as a list of micro-batches, often one.
    label
        The choice block of the shared candidate.
    children
        Samples, two at least, all with the same candidate in that block.

    Returns
    -------
    numpy.ndarray
        In float64, ``(children, children)``, from -1 to 1.

    Raises
    ------
    TypeError, ValueError
        As :class:`nni_magic.analysis.gradients.SharedGradients` and its methods.

    Examples
    --------
    ::

        children = [{**child, "layer_2": name} for name in ("mha4", "ffn", "conv3")]
        gradient_similarity(supernet, evaluator, [batch], "layer_1", children)
    """
    return SharedGradients(supernet, evaluator, batches).similarity(label, children)


def interference_study(
    supernet: ModelSpace,
    evaluator: Lightning,
    batches: Sequence[Any],
    *,
    shared_layers: Iterable[int],
    differences: Iterable[int],
    repetitions: int = 10,
    seed: int,
    done: InterferenceStudy | None = None,
) -> InterferenceStudy:
    """Measure interference for every shared layer and number of differences.

    The space must be a chain of choice blocks with the same candidates. The children of a setting
    depend on the seed, its layer and its number of differences, and on nothing else, so that a
    long study can be made piece by piece, each piece given the pieces ``done``.

    Parameters
    ----------
    supernet, evaluator, batches
        As for :func:`gradient_similarity`.
    shared_layers
        Layers j of the shared candidate, from 1.
    differences
        Numbers m of layers behind it in which the children differ; j + m at most the layers.
    repetitions
        Repetitions of each setting, at least 2.
    seed
        Seed of the draws, at least 0.
    done
        A study of the same supernet, whose settings are kept and not measured again.

    Returns
    -------
    InterferenceStudy
        All settings, also those done before.

    Raises
    ------
    TypeError, ValueError
        As :func:`gradient_similarity`; also if the space is no such chain, a setting is out of
        range, or ``done`` is of another study.

    Examples
    --------
    ::

        study = None
        for j in (1, 3, 5):
            study = interference_study(
                supernet, evaluator, [batch], shared_layers=[j], differences=range(1, 5),
                seed=0, done=study,
            )
            write_json("study.json", study.to_json())
    """
    check_count("repetitions", repetitions, at_least=2)
    check_count("seed", seed, at_least=0)
    gradients = SharedGradients(supernet, evaluator, batches)
    blocks = _chain(gradients)
    settings = _settings(shared_layers, differences, len(blocks))
    labels = tuple(str(block.label) for block in blocks)
    study = InterferenceStudy(labels, tuple(blocks[0].names), seed, repetitions, {})
    matrices = _kept(study, done)
    for j, m in settings:
        if (j, m) not in matrices:
            matrices[j, m] = np.stack(
                [_repetition(gradients, blocks, (seed, j, m, r)) for r in range(repetitions)]
            )
    return replace(study, matrices=matrices)


def differing_children(
    path: Sample,
    labels: Sequence[str],
    candidates: Sequence[Any],
    rng: np.random.Generator,
) -> list[Sample]:
    """Make a child for every candidate, such that any two differ in every one of some labels.

    Parameters
    ----------
    path
        What the children have in common.
    labels
        Where they differ. In the first of them child i has candidate i, in the others the
        candidates are permuted at random.
    candidates
        Candidates, the same for each of these labels.
    rng
        The only source of randomness.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> differing_children({"a": "x", "b": "x", "c": "y"}, ["b"], ["x", "y"], rng)
    [{'a': 'x', 'b': 'x', 'c': 'y'}, {'a': 'x', 'b': 'y', 'c': 'y'}]
    """
    n = len(candidates)
    first, *others = labels
    columns = {first: list(range(n)), **{label: rng.permutation(n).tolist() for label in others}}
    return [
        {**path, **{label: candidates[column[i]] for label, column in columns.items()}}
        for i in range(n)
    ]


def _repetition(
    gradients: SharedGradients, blocks: Sequence[PathSamplingLayer], seeds: tuple[int, ...]
) -> np.ndarray:
    """The cosines of one repetition; seeds are the seed, j, m and the repetition's number."""
    _, j, m, _ = seeds
    rng = np.random.default_rng(seeds)
    names = blocks[0].names
    path = {str(block.label): names[rng.integers(len(names))] for block in blocks}
    shared = blocks[j - 1]
    # Only where no candidate has weights one without is taken, which is an error further on.
    possible = [name for name in names if trainable_weights([shared], name)] or names
    path[str(shared.label)] = possible[rng.integers(len(possible))]
    different = [str(block.label) for block in blocks[j : j + m]]
    return gradients.similarity(str(shared.label), differing_children(path, different, names, rng))


def _chain(gradients: SharedGradients) -> list[PathSamplingLayer]:
    """The choice blocks in order of execution.

    Raises
    ------
    ValueError
        If there is anything else to choose, or the candidates are not the same.
    """
    space = type(gradients.model).__name__
    blocks = [b for b in gradients.execution_order() if isinstance(b, PathSamplingLayer)]
    labels = [str(block.label) for block in blocks]
    if others := set(map(str, gradients.model.simplify())) - set(labels):
        raise ValueError(
            f"{space} is no chain of choice blocks: besides {labels} there is to choose "
            f"{sorted(others)}; gradient_similarity works on every space"
        )
    if len(set(labels)) < len(labels):
        raise ValueError(f"{space} has several choice blocks of one label: {labels}")
    for label, block in zip(labels, blocks, strict=True):
        if list(block.names) != list(blocks[0].names):
            raise ValueError(
                f"the choice blocks of {space} have different candidates: {labels[0]!r} has "
                f"{blocks[0].names}, and {label!r} has {block.names}"
            )
    return blocks


def _settings(
    shared_layers: Iterable[int], differences: Iterable[int], n_layers: int
) -> list[tuple[int, int]]:
    pairs = list(dict.fromkeys(itertools.product(shared_layers, differences)))
    for j, m in pairs:
        if j < 1 or m < 1 or j + m > n_layers:
            raise ValueError(
                f"shared layer is {j} and differences is {m}; accepted are at least 1 each, and a "
                f"sum of at most {n_layers}, the number of layers"
            )
    return pairs


def _kept(study: InterferenceStudy, done: InterferenceStudy | None) -> dict[Any, np.ndarray]:
    """Matrices of a study to continue, which must be of the same setup."""
    if done is None:
        return {}
    for name in ("labels", "candidates", "seed", "repetitions"):
        if getattr(study, name) != getattr(done, name):
            raise ValueError(
                f"done is of another study: its {name} is {getattr(done, name)!r}, here it is "
                f"{getattr(study, name)!r}"
            )
    return dict(done.matrices)
