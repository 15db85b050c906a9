"""Rankings of children that take no supernet: by size, and by scores before their training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.studies.gathered import Child
from nni_magic.analysis.zero_cost import ZERO_COST

__all__ = ["trivial_scores", "zero_cost_by_seed"]


def trivial_scores(children: Sequence[Child], skips: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores by name, of which smaller ones are better.

    Parameters
    ----------
    children
        With their sizes and, where they were taken, scores before training.
    skips
        Candidates that leave a block out; where there are any, children have a depth.

    Returns
    -------
    dict
        By size in both directions, since neither is known to be better, where sizes differ; by
        zero-cost scores, which say it themselves, where all children have them and they differ.
    """
    by_size = {
        f"{which} {key}": sign * np.array(sizes, dtype=float)
        for key, sizes in _sizes(children, skips).items()
        if len(set(sizes)) > 1 or len(sizes) < 2
        for which, sign in (("fewest", 1), ("most", -1))
    }
    return by_size | {f"most {name}": -scores for name, scores in _zero_cost(children).items()}


def _sizes(children: Sequence[Child], skips: Sequence[str]) -> dict[str, list[int]]:
    """Sizes of children by name; their depth where a block can be left out."""
    sizes = {key: [getattr(child, key) for child in children] for key in ("params", "flops")}
    if skips:
        choices = [child.sample.values() for child in children]
        sizes["blocks"] = [sum(choice not in skips for choice in child) for child in choices]
    return sizes


def zero_cost_by_seed(children: Sequence[Child]) -> dict[str, np.ndarray]:
    """Scores before training by name, ``(seeds, n)``: those that all children have and that differ.

    The larger a score, the better.
    """
    found = {
        name: np.array([list(child.zero_cost[name].values()) for child in children]).T
        for name in ZERO_COST
        if children and all(name in child.zero_cost for child in children)
    }
    return {name: by_seed for name, by_seed in found.items() if np.ptp(by_seed, axis=1).all()}


def _zero_cost(children: Sequence[Child]) -> dict[str, np.ndarray]:
    """Scores before training by name, means over seeds."""
    return {name: by_seed.mean(axis=0) for name, by_seed in zero_cost_by_seed(children).items()}
