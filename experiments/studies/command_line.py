"""What the command lines of all programs that go through a study have in common."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from experiments.benchmarks.reporting import add_report_options
from experiments.studies.plan import Plan
from experiments.studies.study import Study
from nni_magic.support.errors import check_choice

__all__ = [
    "add_data_options",
    "add_study_options",
    "check_paired",
    "check_supernets",
    "open_study",
    "study_parser",
]


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """Start a command line: the plan, the folder of its trainings, and where to report."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_report_options(parser)
    add_study_options(parser)
    return parser


def add_study_options(parser: argparse.ArgumentParser) -> None:
    """Add the plan and the folder of its trainings."""
    add = parser.add_argument
    add("--plan", type=Path, required=True, help="YAML file, see experiments/studies/plan.py")
    add("--runs", type=Path, required=True, help="folder of the trainings")
    add_data_options(parser)


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add where the data are."""
    add = parser.add_argument
    add("--data", type=Path, help="text or images of your own, in place of those of the plan")
    add("--cache", type=Path, default=Path("experiments/runs/cache"), help="of prepared data")


def open_study(settings: argparse.Namespace) -> Study:
    """Open the study of a command line; what it does from now on is logged.

    Raises
    ------
    FileNotFoundError
        If there is no such plan.
    ValueError
        If a setting of the plan is not accepted.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("experiments").setLevel(logging.INFO)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return Study(Plan.read(settings.plan), settings.runs, settings.cache, settings.data)


def check_supernets(plan: Plan, names: Iterable[str]) -> None:
    """Make sure that a plan has supernets of these names.

    Raises
    ------
    ValueError
        If there are none of a name.
    """
    for name in names:
        check_choice("supernets", name, plan.supernets)


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
    >>> check_paired({"spos": [0, 1], "magic_t": [1, 2]}, "spos")
    Traceback (most recent call last):
    ValueError: seeds of magic_t is [1, 2]; accepted are two or more of those of spos, [0, 1]
    """
    for name, of in seeds.items():
        if len(of) < 2 or not set(of) <= set(seeds[baseline]):
            raise ValueError(
                f"seeds of {name} is {list(of)}; accepted are two or more of those of {baseline}, "
                f"{list(seeds[baseline])}"
            )
