"""Find out whether a ranking of children depends on how long the ground truth is trained.

::

    python -m experiments.studies.ranking.schedule \
        --plans experiments/plans/bert_8x4.yml experiments/plans/bert_8x4_6000.yml \
        --runs experiments/records/bert_8x4 experiments/records/bert_8x4_6000

Both plans have some children in common, which ``experiments.studies.ranking`` has trained. Their
rankings by the supernets of the first plan, and by size, are compared with the ground truth of the
first plan and with that of the second.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.benchmarks.reporting import report_parser, table, write_report
from experiments.studies.cells import interval
from experiments.studies.command_line import add_data_options
from experiments.studies.gathered import Gathered, gather
from experiments.studies.plan import Plan
from experiments.studies.records import child_settings
from experiments.studies.results import Results
from nni_magic.analysis import ranking
from nni_magic.analysis.ranking import Ranking
from nni_magic.analysis.resampling import FEWEST_CHILDREN, draws, percentiles, resampled_taus
from nni_magic.children import samples
from nni_magic.support.errors import naming
from nni_magic.support.made_with import check_same

N_RESAMPLES = 2000


@dataclass(frozen=True)
class Change:
    """How a ranking fares with two ground truths.

    Parameters
    ----------
    seeds
        Of the supernets that rank; 1 for a trivial ranking.
    tau
        Mean tau over seeds, with the first ground truth and with the second.
    change_interval
        Interval of the second less the first, over other children.
    """

    seeds: int
    tau: list[float]
    change_interval: tuple[float, float]


@dataclass(frozen=True)
class Schedules:
    """The same children with the ground truths of two schedules.

    Parameters
    ----------
    children
        Digests of those that both have.
    steps
        Of the two schedules.
    truths
        Losses in nats of the children, with each.
    between
        How the first ranks the children by the second.
    rankings
        What else ranks them, by name.
    trained_on
        GPUs by their names, and ``cpu``.
    """

    children: list[str]
    steps: list[int]
    truths: list[list[float]]
    between: Ranking
    rankings: dict[str, Change]
    trained_on: list[str]


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--plans", type=Path, nargs=2, required=True, help="see experiments/studies/plan.py")
    add("--runs", type=Path, nargs=2, required=True, help="folders of their trainings")
    add_data_options(parser)
    return parser.parse_args(arguments)


def ground_truth(record: Gathered) -> dict[str, float]:
    """Digest of every trained child to its loss in nats."""
    ranked = record.ranked()
    digests = [samples.digest(child.sample) for child in ranked.children]
    return dict(zip(digests, ranked.truth.tolist(), strict=True))


def rankings(record: Gathered, digests: Sequence[str]) -> dict[str, np.ndarray]:
    """What ranks the children of a study: name to scores of every seed, ``(seeds, n)``."""
    by_digest = {samples.digest(child.sample): child for child in record.ranked().children}
    chosen = [by_digest[digest] for digest in digests]
    numbers = [child.number for child in chosen]
    return {
        **{f"most {key}": -np.array([[float(getattr(child, key)) for child in chosen]])
           for key in ("params", "flops")},
        **{name: np.array([found["scores"] for found in by_seed.values()])[:, numbers]
           for name, by_seed in record.supernets.items()},
    }  # fmt: skip


def compare(
    truths: Sequence[np.ndarray], scores: np.ndarray, counts: np.ndarray
) -> tuple[list[float], tuple[float, float]]:
    """Mean tau over seeds with each of two ground truths, and the interval of its change.

    Parameters
    ----------
    truths
        Two of the same children, each ``(n,)``.
    scores
        ``(seeds, n)``.
    counts
        Resamples of the children, see :func:`nni_magic.analysis.resampling.draws`.

    Examples
    --------
    >>> counts = draws(4, 100, np.random.default_rng(0))
    >>> truths = np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1])
    >>> compare(truths, np.array([[0, 1, 2, 3]]), counts)
    ([1.0, -1.0], (-2.0, -2.0))
    """
    taus = [
        float(np.mean([ranking.rank(truth, row, top_k=()).kendall_tau for row in scores]))
        for truth in truths
    ]
    before, after = (
        np.mean([resampled_taus(truth, row, counts) for row in scores], axis=0) for truth in truths
    )
    return taus, percentiles(after - before, 0.95)


def measure(records: Sequence[Gathered], seed: int) -> Schedules:
    """Compare the rankings of the first study with the ground truths of both.

    Parameters
    ----------
    records
        The results of two studies.
    seed
        Of the resamples of children.

    Raises
    ------
    ValueError
        If they have too few trained children in common, or scores rank nothing.
    """
    losses = [ground_truth(record) for record in records]
    common = [digest for digest in losses[0] if digest in losses[1]]
    if len(common) < FEWEST_CHILDREN:
        raise ValueError(
            f"the plans have {len(common)} trained children in common; a ranking needs at least "
            f"{FEWEST_CHILDREN}"
        )
    truths = [np.array([one[digest] for digest in common]) for one in losses]
    counts = draws(len(common), N_RESAMPLES, np.random.default_rng(seed))
    found = {}
    for name, scores in rankings(records[0], common).items():
        with naming(name):
            taus, interval = compare(truths, scores, counts)
        found[name] = Change(len(scores), taus, interval)
    return Schedules(
        children=common,
        steps=[record.plan.children.steps for record in records],
        truths=[truth.tolist() for truth in truths],
        between=ranking.rank(*truths, top_k=()),
        rankings=found,
        trained_on=sorted({name for record in records for name in record.trained_on}),
    )


def markdown(found: Schedules) -> str:
    """Write what :func:`measure` gives as text and a table."""
    (n_before, n_after), between = found.steps, found.between
    before, after = map(np.array, found.truths)
    return (
        f"{len(found.children)} children, trained from scratch for {n_before} and for {n_after} "
        f"steps: mean loss {before.mean():.3f} and {after.mean():.3f} nats, standard deviation "
        f"{before.std(ddof=1):.3f} and {after.std(ddof=1):.3f}. Between the two, tau is "
        f"{between.kendall_tau:.3f} ({interval(between.tau_interval)}). tau of rankings is "
        "the mean over seeds; the interval of its change is 95 %, over children, by a paired "
        "bootstrap.\n\n"
        + table(
            ["ranking", "seeds", f"tau, {n_before} steps", f"tau, {n_after} steps", "change",
             "95 %"],
            [[name, one.seeds, *(f"{tau:.3f}" for tau in one.tau),
              f"{one.tau[1] - one.tau[0]:+.3f}", interval(one.change_interval, "+")]
             for name, one in found.rankings.items()],
        )
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Read both studies, and report.

    Raises
    ------
    ValueError
        If the plans differ in more than how many children they train and for how many steps, or
        train none.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    plans = [Plan.read(plan) for plan in settings.plans]
    if not plans[0].kind.trains_children:
        raise ValueError(
            f"domain is {plans[0].domain!r}; accepted are others, whose ground truth is "
            "trained and has a schedule"
        )
    first, second = ({**child_settings(plan, {}), "children": None} for plan in plans)
    check_same(f"what {settings.plans[0]} trains", first, second)
    records = [
        gather(Results(plan, runs, settings.cache, settings.data))
        for plan, runs in zip(plans, settings.runs, strict=True)
    ]
    found = measure(records, settings.seed)
    path, _ = write_report(
        f"schedule_{settings.plans[1].stem}", settings, arguments, dataclasses.asdict(found),
        markdown(found),
        program="experiments.studies.ranking.schedule",
    )  # fmt: skip
    print(path)


if __name__ == "__main__":
    main()
