"""What the command lines of all programs that go through a study have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from experiments.benchmarks.reporting import add_report_options

__all__ = ["study_parser"]


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """Start a command line: the plan, the folder of its trainings, and where to report."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_report_options(parser)
    add = parser.add_argument
    add("--plan", type=Path, required=True, help="YAML file, see experiments/studies/plan.py")
    add("--runs", type=Path, required=True, help="folder of the trainings")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    return parser
