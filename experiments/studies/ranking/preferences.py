"""What supernets like in children: candidates, and likeness to the anchor.

A supernet *changes* a child's loss from that with the weights of the baseline of the same seed; by
less than 0 where the child is better off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table
from experiments.studies.cells import cell
from experiments.studies.gathered import Child, Gathered
from experiments.studies.ranking.comparisons import Scores, mean_tau
from nni_magic.analysis.seeds import MeanInterval, over_seeds
from nni_magic.children.samples import distance

__all__ = [
    "AnchorTaus",
    "Changes",
    "anchor_table",
    "by_anchor",
    "by_candidate",
    "change_table",
    "changes",
]

Children = Sequence[Child]
Changes = Mapping[str, Mapping[str, MeanInterval]]
"""Name of a supernet to candidate to what a further block with it adds to a child's change."""


@dataclass(frozen=True)
class AnchorTaus:
    """Kendall's tau with the distance of children from the anchor.

    Parameters
    ----------
    favoured
        Of the distance with the change.
    deserved
        Of the distance with the ground truth.
    """

    favoured: MeanInterval
    deserved: MeanInterval


def by_candidate(
    children: Children, truth: np.ndarray, scores: Scores
) -> dict[str, dict[str, float]]:
    """Candidate to tau of its number in a child with the losses, the ground truth and scores.

    Of scores it is the mean over seeds. A candidate of which all children have equally many is
    left out.
    """
    losses = {"ground truth": {"": truth}, **scores}
    return {
        candidate: {
            name: mean_tau((count, one) for one in every.values()) for name, every in losses.items()
        }
        for candidate, count in _counts(children).items()
    }


def changes(
    children: Children, scores: Scores, baseline: str
) -> dict[str, dict[str, MeanInterval]]:
    """Name of a supernet to candidate to what a further block with it adds to the change.

    It is in nats: Theil and Sen's median of slopes, as a few children that failed would decide a
    least squares fit. It is a mean over the seeds that the baseline has too, with its interval;
    what has fewer than two such seeds is left out.
    """
    changed = _changed(scores, baseline)
    return {
        name: {
            candidate: over_seeds(
                [scipy.stats.theilslopes(one, count).slope for one in of.values()]
            )
            for candidate, count in _counts(children).items()
        }
        for name, of in changed.items()
        if len(of) > 1
    }


def by_anchor(
    record: Gathered,
    children: Children,
    truth: np.ndarray,
    scores: Scores,
    baseline: str,
) -> dict[str, AnchorTaus]:
    """Kendall's tau with the distance of children from the anchor, of every aligned supernet.

    To the anchor all others are aligned, so that weights that serve it may serve its relatives more
    than others, whatever they are worth. Of the anchors of a training the last one is taken.

    Parameters
    ----------
    record
        What :func:`~experiments.studies.gathered.gather` gives.
    children, truth
        The children that are ranked, and their ground truth, ``(n,)``.
    scores
        Their scores by supernet and seed.
    baseline
        Name of the supernets that are not aligned.

    Returns
    -------
    dict
        By name of a supernet; means over the seeds that both have. Left out is what has fewer than
        two such seeds, or less than two distances.
    """
    found: dict[str, AnchorTaus] = {}
    for name, changed in _changed(scores, baseline).items():
        favoured, deserved = [], []
        for seed, change in changed.items():
            if anchor := record.supernets[name][seed].get("anchor"):
                far = np.array([distance(anchor, child.sample) for child in children])
                if np.ptp(far) > 0:
                    favoured.append(_tau(far, change))
                    deserved.append(_tau(far, truth))
        if len(favoured) > 1:
            found[name] = AnchorTaus(over_seeds(favoured), over_seeds(deserved))
    return found


def change_table(found: Changes) -> str:
    """Lay out what :func:`changes` has found, in thousandths of a nat."""
    candidates = list(next(iter(found.values())))
    rows = [
        [name, of[candidates[0]].n, *(_thousandths(of[one]) for one in candidates)]
        for name, of in found.items()
    ]
    return table(["supernet", "seeds", *candidates], rows)


def _thousandths(one: MeanInterval) -> str:
    """Mean and interval in thousandths.

    >>> _thousandths(MeanInterval(-0.00396, (-0.0045, 0.001), std=0.002, n=3))
    '-4.0 (-4.5 to +1.0)'
    """
    mean, low, high = (f"{1000 * value:+.1f}" for value in (one.mean, *one.interval))
    return f"{mean} ({low} to {high})"


def anchor_table(found: Mapping[str, AnchorTaus]) -> str:
    """Lay out what :func:`by_anchor` has found."""
    rows = [
        [name, taus.favoured.n, cell(taus.favoured, "+"), cell(taus.deserved, "+")]
        for name, taus in found.items()
    ]
    return table(["supernet", "seeds", "favoured", "deserved"], rows)


def _counts(children: Children) -> dict[str, np.ndarray]:
    """Candidate to its number in every child, where that differs between children."""
    chosen = [Counter(map(str, child.sample.values())) for child in children]
    counts = {
        candidate: np.array([of[candidate] for of in chosen])
        for candidate in sorted(set().union(*chosen))
    }
    return {candidate: count for candidate, count in counts.items() if np.ptp(count) > 0}


def _changed(scores: Scores, baseline: str) -> dict[str, dict[str, np.ndarray]]:
    """Changes by supernet and seed, of the seeds that the baseline has, too."""
    before = scores.get(baseline, {})
    return {
        name: {seed: one - before[seed] for seed, one in by_seed.items() if seed in before}
        for name, by_seed in scores.items()
        if name != baseline
    }


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    """Kendall's tau; 0 where one of the two is the same for all children."""
    return float(np.nan_to_num(scipy.stats.kendalltau(a, b).statistic))
