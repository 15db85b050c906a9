"""Find out whether a supernet favours the children near the last one that it trained.

::

    python -m experiments.studies.ranking.recency --plan experiments/plans/bert_8x4.yml \
        --runs experiments/runs/bert_8x4 --supernets magic_t --threads 1

A walk in small steps ends among neighbours. For supernets that ``experiments.studies.ranking`` has
trained, random children are scored at every distance from the supernet's last child. The same
children are scored on the control, the supernet of the same seed that was trained without a walk,
so that what remains of the difference is not that the last child happens to be a good one.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.cells import cell
from experiments.studies.command_line import check_paired, check_supernets, study_parser
from experiments.studies.gathered import devices
from experiments.studies.plan import Plan
from experiments.studies.study import Study
from nni_magic.analysis import figures, seeds
from nni_magic.children import samples
from nni_magic.programs.made_with import read_result
from nni_magic.support.errors import check_count
from nni_magic.support.files import write_json

LABEL = "loss less the control's (nats)"


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = study_parser(__doc__)
    add = parser.add_argument
    add("--supernets", nargs="+", required=True, help="names of the plan")
    add("--control", default="spos")
    add("--children", type=int, default=24, help="at every distance")
    return parser.parse_args(arguments)


def check_settings(plan: Plan, settings: argparse.Namespace) -> None:
    """Make sure that what is asked for can be measured and reported.

    Raises
    ------
    ValueError
        If the plan has no such supernets, their seeds cannot be paired with the control's, or a
        number is too small.
    """
    check_count("children", settings.children)
    check_count("seed", settings.seed, at_least=0)
    names = (settings.control, *settings.supernets)
    check_supernets(plan, names)
    check_paired({name: plan.supernets[name].seeds for name in names}, settings.control)


def children_around(
    last: Sample, candidates: samples.Candidates, n: int, rng: np.random.Generator
) -> dict[int, list[Sample]]:
    """Draw n children at every distance from a child; at distance 0 it is the child itself.

    Examples
    --------
    >>> found = children_around({"a": 0}, {"a": [0, 1]}, 2, np.random.default_rng(0))
    >>> found
    {0: [{'a': 0}], 1: [{'a': 1}, {'a': 1}]}
    """
    around = {0: [dict(last)]}
    for distance in range(1, len(candidates) + 1):
        around[distance] = [samples.neighbour(last, candidates, rng, k=distance) for _ in range(n)]
    return around


def measure(study: Study, name: str, seed: int, settings: argparse.Namespace) -> dict[str, Any]:
    """Mean loss less the control's at every distance from the last child of a supernet.

    Raises
    ------
    ValueError
        If one of the two supernets is not trained.
    """
    last, _ = (study.trained(n, seed)["last_child"] for n in (name, settings.control))
    candidates = samples.candidates(study.domain.make_space())
    rng = np.random.default_rng([settings.seed, seed])
    around = children_around(last, candidates, settings.children, rng)
    children = [child for at in around.values() for child in at]
    own, control = (
        np.array(study.score(study.checkpoint(n, seed), children)) for n in (name, settings.control)
    )
    ends = np.cumsum([len(at) for at in around.values()])[:-1]
    return {
        "made_with": measured_with(study, name, settings),
        "difference": [float(part.mean()) for part in np.split(own - control, ends)],
        "own": [part.tolist() for part in np.split(own, ends)],
        "control": [part.tolist() for part in np.split(control, ends)],
    }


def measured_with(study: Study, name: str, settings: argparse.Namespace) -> dict[str, Any]:
    """What the measurement depends on, see :mod:`experiments.studies.records`."""
    return {
        "measured": study.made_supernet(name),
        "control": study.made_supernet(settings.control),
        "children": settings.children,
        "seed": settings.seed,
    }


def over_seeds(found: dict[str, Any]) -> list[Any]:
    """Mean difference over seeds with its interval, at every distance."""
    by_seed = np.array([one["difference"] for one in found.values()])
    return [seeds.over_seeds(column) for column in by_seed.T]


def near_less_far(found: dict[str, Any]) -> tuple[int, seeds.MeanInterval]:
    """Half of the distances, and by how much the children up to there are worse than those behind.

    Of the differences from the control, mean over distances, the child at distance 0 left out.
    """
    by_seed = np.array([one["difference"] for one in found.values()])
    half = by_seed.shape[1] // 2
    near, far = by_seed[:, 1 : half + 1].mean(1), by_seed[:, half + 1 :].mean(1)
    return half, seeds.over_seeds(near - far)


def main(arguments: list[str] | None = None) -> None:
    """Measure what is missing, and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    torch.set_num_threads(settings.threads)
    study = Study(Plan.read(settings.plan), settings.runs, settings.cache, settings.data)
    check_settings(study.plan, settings)
    found: dict[str, dict[str, Any]] = {}
    for name in settings.supernets:
        for seed in study.plan.supernets[name].seeds:
            path = settings.runs / "recency" / f"{name}_seed{seed}.json"
            made_with = measured_with(study, name, settings)
            if (one := read_result(path, made_with)) is None:
                one = measure(study, name, seed, settings)
                write_json(path, one)
            found.setdefault(name, {})[str(seed)] = one
    means = {name: over_seeds(by_seed) for name, by_seed in found.items()}
    rows = [
        [distance, *(cell(curve[distance], "+") for curve in means.values())]
        for distance in range(len(next(iter(means.values()))))
    ]
    text = (
        f"Mean {LABEL}, by the number of operators that differ from the last child trained; "
        f"negative: better than on {settings.control}. Student's 95 % interval over seeds; "
        f"{settings.children} children at every distance but 0, where there is one, and seed.\n\n"
        + table(["distance", *means], rows)
        + "".join(_contrast_line(name, *near_less_far(by_seed)) for name, by_seed in found.items())
    )
    summary = {name: [dataclasses.asdict(one) for one in curve] for name, curve in means.items()}
    trained_on = devices(study.trained(name, int(seed)) for name in found for seed in found[name])
    path, _ = write_report(
        f"recency_{settings.plan.stem}", settings, arguments,
        {"recency": found, "means": summary, "trained_on": trained_on},
        text, program="experiments.studies.ranking.recency",
    )  # fmt: skip
    _draw(means, path.with_suffix(""))
    print(path)


def _contrast_line(name: str, half: int, contrast: seeds.MeanInterval) -> str:
    return (
        f"\n\n{name}: at distances 1 to {half} less at greater ones {cell(contrast, '+')} nats, "
        "seed by seed; negative where the children near the last one are favoured."
    )


def _draw(means: dict[str, list[seeds.MeanInterval]], stem: Path) -> None:
    figure, [panel] = figures.panels_of(1, 5.5, 3.5)
    for i, (name, curve) in enumerate(means.items()):
        figures.draw_means(panel, range(len(curve)), curve, label=name, **figures.style(i))
    figures.tidy(panel)
    figures.label_axes(figure, "operators that differ from the last child", LABEL)
    figures.write_legend(figure, [panel])
    figures.save(figure, stem)


if __name__ == "__main__":
    main()
