"""Compare children's mean scores with those of SPOS, seed by seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.reporting import table
from experiments.studies.floor.spaces import SMALL_SPACES
from experiments.studies.floor.trainings import read_scores
from nni_magic.analysis.intervals import over_seeds

__all__ = ["compared", "markdown"]

BASELINE = "spos"


@dataclass(frozen=True)
class Row:
    """A strategy on a space.

    Attributes
    ----------
    means
        Children's mean score with the supernet of every seed, by the seed.
    better
        How much better than SPOS of the same seeds, in the mean: positive is better, in the
        metric's unit.
    interval
        Student's 95 % interval of ``better``.
    spread
        Standard deviation over seeds of the means of SPOS.
    """

    space: str
    name: str
    metric: str
    means: dict[int, float]
    better: float
    interval: tuple[float, float]
    spread: float

    @property
    def holds(self) -> bool:
        """Whether it is not worse by more than the spread of SPOS's seeds."""
        return self.better >= -self.spread


def compared(runs: Path, names: Iterable[str], seeds: range) -> list[dict[str, Any]]:
    """Compare strategies on all spaces; gives the rows of those with two seeds, in plain types."""
    rows = []
    for space in SMALL_SPACES:
        means = {
            name: {seed: float(np.mean(scores))
                   for seed, scores in read_scores(runs, space, name, seeds).items()}
            for name in names
        }  # fmt: skip
        rows += [
            _row(space, name, found, means[BASELINE])
            for name, found in means.items()
            if len(found.keys() & means[BASELINE].keys()) > 1
        ]
    return [dataclasses.asdict(row) | {"holds": row.holds} for row in rows]


def _row(
    space: str, name: str, means: Mapping[int, float], baseline: Mapping[int, float]
) -> Row:
    small = SMALL_SPACES[space]
    sign = 1 if small.mode == "max" else -1
    both = sorted(means.keys() & baseline.keys())
    difference = over_seeds(np.array([sign * (means[seed] - baseline[seed]) for seed in both]))
    return Row(
        space, name, small.metric, dict(means), difference.mean, difference.interval,
        float(np.std([*baseline.values()], ddof=1)),
    )  # fmt: skip


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Lay the rows out."""
    return (
        "Mean score of the same 20 random children with inherited weights, a supernet a seed, at "
        "equal optimizer steps. Better is the difference to SPOS over the same seeds, positive "
        "where children are better, with Student's 95 % interval. A row holds where it is not "
        "worse by more than the standard deviation of SPOS's seeds.\n\n"
    ) + table(
        ["space", "strategy", "metric", "seeds", "mean", "better than SPOS", "95 %", "holds"],
        (_cells(row) for row in rows),
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    low, high = row["interval"]
    itself = row["name"] == BASELINE
    return [
        row["space"], row["name"], row["metric"],
        " ".join(f"{mean:.3f}" for mean in row["means"].values()),
        f"{np.mean([*row['means'].values()]):.3f}",
        f"(± {row['spread']:.3f})" if itself else f"{row['better']:+.3f}",
        "" if itself else f"{low:+.3f} to {high:+.3f}",
        "" if itself else ("yes" if row["holds"] else "no"),
    ]  # fmt: skip
