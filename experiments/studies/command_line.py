"""What the command lines of all programs that go through a study have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from experiments.benchmarks.reporting import add_report_options
from experiments.studies.plan import Plan

__all__ = ["check_paired", "check_supernets", "study_parser"]


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """Start a command line: the plan, the folder of its trainings, and where to report."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_report_options(parser)
    add = parser.add_argument
    add("--plan", type=Path, required=True, help="YAML file, see experiments/studies/plan.py")
    add("--runs", type=Path, required=True, help="folder of the trainings")
    add("--data", type=Path, help="text or images of your own, in place of those of the plan")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    return parser


def check_supernets(plan: Plan, names: Iterable[str]) -> None:
    """Make sure that a plan has supernets of these names.

    Raises
    ------
    ValueError
        If there are none of a name.
    """
    for name in names:
        if name not in plan.supernets:
            raise ValueError(f"supernets has {name!r}; accepted are {', '.join(plan.supernets)}")


def check_paired(seeds: Mapping[str, Sequence[int]], baseline: str) -> None:
    """Make sure that supernets can be compared with a baseline, seed by seed.

    Parameters
    ----------
    seeds
        Of every supernet, the baseline among them.
    baseline
        Its name.

    Raises
    ------
    ValueError
        If one has a single seed, or one that the baseline has not.

    Examples
    --------
    >>> check_paired({"spos": [0, 1], "magic_t": [1, 2]}, "spos")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: seeds of magic_t are [1, 2]; at least two are needed, all of them also of spos...
    """
    for name, of in seeds.items():
        if len(of) < 2 or not set(of) <= set(seeds[baseline]):
            raise ValueError(
                f"seeds of {name} are {list(of)}; at least two are needed, all of them also "
                f"of {baseline}, which has {list(seeds[baseline])}"
            )
