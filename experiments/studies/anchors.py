"""Whether alignment favours the children that are like the anchor, whatever they are worth.

To the anchor all others are aligned, so that weights that serve it may serve its relatives more
than others. What a supernet favours is a child's loss less that with the weights of the baseline of
the same seed; a positive tau of it with the distance from the anchor says that relatives are
favoured. Of the anchors of a training the last one is taken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from nni_magic.analysis.seeds import MeanInterval, over_seeds
from nni_magic.samples import distance

# isort: split
import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table
from experiments.studies.cells import cell
from experiments.studies.comparisons import Scores

__all__ = ["anchor_table", "favours"]


def favours(
    record: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    truth: np.ndarray,
    scores: Scores,
    baseline: str,
) -> dict[str, dict[str, Any]]:
    """Kendall's tau with the distance of children from the anchor, of every aligned supernet.

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
        Name of a supernet to ``favoured``, tau of the distance with the loss less the baseline's,
        and ``deserved``, with the ground truth; each a mean over the seeds that both have, with
        its interval. Left out is what has fewer than two such seeds, or less than two distances.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, by_seed in scores.items():
        anchors = {
            seed: anchor
            for seed in by_seed
            if seed in scores.get(baseline, {})
            and (anchor := record["supernets"][name][seed].get("anchor"))
        }
        favoured, deserved = [], []
        for seed, anchor in anchors.items():
            far = np.array([distance(anchor, child["sample"]) for child in children])
            if np.ptp(far) > 0:
                less = by_seed[seed] - scores[baseline][seed]
                favoured.append(scipy.stats.kendalltau(far, less).statistic)
                deserved.append(scipy.stats.kendalltau(far, truth).statistic)
        if len(favoured) > 1:
            found[name] = {
                "favoured": dataclasses.asdict(over_seeds(favoured)),
                "deserved": dataclasses.asdict(over_seeds(deserved)),
            }
    return found


def anchor_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out what :func:`favours` has found."""
    rows = [
        [name, one["favoured"]["n"], *(cell(MeanInterval(**one[key]), "+")
                                       for key in ("favoured", "deserved"))]
        for name, one in found.items()
    ]  # fmt: skip
    return table(["supernet", "seeds", "favoured", "deserved"], rows)
