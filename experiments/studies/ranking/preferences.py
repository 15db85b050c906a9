"""What supernets like in children: candidates, and likeness to the anchor.

A supernet *changes* a child's loss from that with the weights of the baseline of the same seed; by
less than 0 where the child is better off.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table
from experiments.studies.cells import cell
from experiments.studies.ranking.comparisons import Scores, mean_tau
from nni_magic.analysis.seeds import MeanInterval, over_seeds
from nni_magic.children.samples import distance

__all__ = ["anchor_table", "by_anchor", "by_candidate", "change_table", "changes"]

Children = Sequence[Mapping[str, Any]]


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


def changes(children: Children, scores: Scores, baseline: str) -> dict[str, dict[str, Any]]:
    """Name of a supernet to candidate to what a further block with it adds to the change.

    It is in nats: Theil and Sen's median of slopes, as a few children that failed would decide a
    least squares fit. It is a mean over the seeds that the baseline has too, with its interval;
    what has fewer than two such seeds is left out.
    """
    changed = _changed(scores, baseline)
    return {
        name: {
            candidate: dataclasses.asdict(
                over_seeds([scipy.stats.theilslopes(one, count).slope for one in of.values()])
            )
            for candidate, count in _counts(children).items()
        }
        for name, of in changed.items()
        if len(of) > 1
    }


def by_anchor(
    record: Mapping[str, Any],
    children: Children,
    truth: np.ndarray,
    scores: Scores,
    baseline: str,
) -> dict[str, dict[str, Any]]:
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
        Name of a supernet to ``favoured``, tau of the distance with the change, and ``deserved``,
        with the ground truth; each a mean over the seeds that both have, with its interval. Left
        out is what has fewer than two such seeds, or less than two distances.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, changed in _changed(scores, baseline).items():
        taus: dict[str, list[float]] = {"favoured": [], "deserved": []}
        for seed, change in changed.items():
            if anchor := record["supernets"][name][seed].get("anchor"):
                far = np.array([distance(anchor, child["sample"]) for child in children])
                if np.ptp(far) > 0:
                    taus["favoured"].append(_tau(far, change))
                    taus["deserved"].append(_tau(far, truth))
        if len(taus["favoured"]) > 1:
            found[name] = {key: dataclasses.asdict(over_seeds(of)) for key, of in taus.items()}
    return found


def change_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`changes` has found, in thousandths of a nat."""
    candidates = list(next(iter(found.values())))
    rows = [
        [name, of[candidates[0]]["n"], *(_thousandths(of[one]) for one in candidates)]
        for name, of in found.items()
    ]
    return table(["supernet", "seeds", *candidates], rows)


def _thousandths(one: Mapping[str, Any]) -> str:
    """Mean and interval in thousandths.

    >>> _thousandths({"mean": -0.00396, "interval": (-0.0045, 0.001)})
    '-4.0 (-4.5 to +1.0)'
    """
    mean, low, high = (f"{1000 * value:+.1f}" for value in (one["mean"], *one["interval"]))
    return f"{mean} ({low} to {high})"


def anchor_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`by_anchor` has found."""
    keys = ("favoured", "deserved")
    rows = [
        [name, of["favoured"]["n"], *(cell(MeanInterval(**of[key]), "+") for key in keys)]
        for name, of in found.items()
    ]
    return table(["supernet", "seeds", *keys], rows)


def _counts(children: Children) -> dict[str, np.ndarray]:
    """Candidate to its number in every child, where that differs between children."""
    chosen = [Counter(map(str, child["sample"].values())) for child in children]
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
