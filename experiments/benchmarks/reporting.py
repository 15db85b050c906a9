"""What all benchmarks share: taking turns, summaries over pairs, and the written report.

A figure of speed means something only beside another one taken under the same conditions. So a
benchmark measures *pairs*: the two sides one after the other, in turns, each first in every other
pair. A pair gives one ratio, and the report shows the median of the ratios with their minimum and
maximum. Every raw value is kept in the JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from nni_magic.programs.options import plain

__all__ = [
    "add_report_options",
    "alternate",
    "environment",
    "gpu_slug",
    "ratios",
    "summarise",
    "table",
    "text",
    "usable_cores",
    "verdict",
    "write_report",
]

T = TypeVar("T")
Summary = dict[str, float]

PACKAGES = ("torch", "nni", "pytorch-lightning", "numpy")


def alternate(first: Callable[[], T], second: Callable[[], T], turn: int) -> tuple[T, T]:
    """Call both, in the order that ``turn`` says: even as given, odd the other way round.

    Returns
    -------
    tuple
        What ``first`` and ``second`` returned, in this order whoever went first.

    Examples
    --------
    >>> alternate(lambda: "a", lambda: "b", turn=1)
    ('a', 'b')
    """
    if turn % 2 == 0:
        a = first()
        return a, second()
    b = second()
    return first(), b


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide pair by pair."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def summarise(values: Iterable[float]) -> Summary:
    """Count, minimum, median and maximum.

    Raises
    ------
    ValueError
        If there is no value.

    Examples
    --------
    >>> summarise([3.0, 1.0, 2.0])
    {'n': 3, 'min': 1.0, 'median': 2.0, 'max': 3.0}
    """
    array = np.asarray(list(values), dtype=float)
    if array.size == 0:
        raise ValueError("values is empty; a summary needs at least one")
    return {
        "n": array.size,
        "min": float(array.min()),
        "median": float(np.median(array)),
        "max": float(array.max()),
    }


def verdict(summary: Summary, *, at_most: float) -> str:
    """Say whether ratios meet a target, and whether all of them do.

    Examples
    --------
    >>> verdict({"n": 5, "min": 0.9, "median": 0.95, "max": 1.1}, at_most=1.0)
    'met by the median, not by every pair'
    """
    if summary["max"] <= at_most:
        return "met in every pair"
    if summary["median"] <= at_most:
        return "met by the median, not by every pair"
    if summary["min"] <= at_most:
        return "missed by the median, met in some pairs"
    return "missed in every pair"


def text(summary: Summary, digits: int = 3) -> str:
    """Print a summary as ``median (min to max)``, with significant digits.

    Examples
    --------
    >>> text({"n": 5, "min": 0.9, "median": 0.9512, "max": 1.1})
    '0.951 (0.9 to 1.1)'
    """
    low, middle, high = (
        f"{float(f'{summary[key]:.{digits}g}'):,.12g}" for key in ("min", "median", "max")
    )
    return f"{middle} ({low} to {high})"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out rows as a table in Markdown.

    Examples
    --------
    >>> print(table(["a", "b"], [[1, 2]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark's command line has."""
    add = parser.add_argument
    add("--output", type=Path, default=Path("experiments/results"), help="folder of the report")
    add("--hardware", help="name of the hardware in the file names; by default found out")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=usable_cores(), help="of torch; by default all cores")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpu_slug(name: str | None = None) -> str:
    """Name of a GPU, by default of the current one, as it stands in file names.

    >>> gpu_slug("NVIDIA H200")
    'nvidia-h200'
    """
    name = torch.cuda.get_device_name() if name is None else name
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def environment(device: str = "cpu") -> dict[str, Any]:
    """What a reader needs to judge or repeat a measurement: versions, commit and hardware."""
    commit, modified = _commit()
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "commit": commit,
        "modified": modified,
        "processor": _processor(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda if device == "cuda" else None,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def write_report(
    theme: str,
    settings: argparse.Namespace,
    arguments: Sequence[str],
    results: dict[str, Any],
    markdown: str,
    *,
    device: str = "cpu",
    program: str | None = None,
) -> tuple[Path, Path]:
    """Write ``<theme>_<hardware>_<yyyymmdd>.json`` and ``.md``; gives the two paths.

    Parameters
    ----------
    theme
        What the files are called; of a benchmark, its module.
    settings
        The command line, read; with the options of :func:`add_report_options`.
    arguments
        The command line as given.
    results
        Raw values and summaries; where what is reported was trained before, ``trained_on`` lists
        on what: GPUs by their names, or ``cpu``.
    markdown
        The same for reading; a title and the conditions are put around it.
    device
        ``cpu`` or ``cuda``: what was measured.
    program
        The module that was run, if it is no benchmark.
    """
    now = datetime.now(UTC)
    gpus = [gpu_slug(name) for name in results.get("trained_on", ()) if name != "cpu"]
    gpus += [gpu_slug()] if device == "cuda" else []
    hardware = settings.hardware or "-".join(dict.fromkeys(gpus)) or f"cpu{usable_cores()}"
    record = {
        "theme": theme,
        "hardware": hardware,
        "date": now.isoformat(timespec="seconds"),
        "command": shlex.join(
            ["python", "-m", program or f"experiments.benchmarks.{theme}", *arguments]
        ),
        "config": {
            name: value for name, value in plain(vars(settings)).items() if name != "output"
        },
        "seed": settings.seed,
        **environment(device),
        **results,
    }
    stem = settings.output / f"{theme}_{hardware}_{now:%Y%m%d}"
    settings.output.mkdir(parents=True, exist_ok=True)
    json_path, markdown_path = stem.with_suffix(".json"), stem.with_suffix(".md")
    json_path.write_text(json.dumps(record, indent=1) + "\n")
    spreads = "" if program else "Spreads are median (minimum to maximum). "
    markdown_path.write_text(
        f"# {theme}, {hardware}, {now:%Y-%m-%d}\n\n{markdown}\n\n"
        f"{_conditions(record)} {spreads}Every raw value: the JSON beside this file.\n"
    )
    return json_path, markdown_path


def _conditions(record: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    changed = {True: " with local changes", False: "", None: ""}[record["modified"]]
    trained = f"Trained on: {', '.join(record['trained_on'])}. " if "trained_on" in record else ""
    return (
        f"Command: `{record['command']}`. Seed {record['seed']}. {trained}"
        f"{record['processor']}, {record['cores']} cores, {record['threads']} threads; device: "
        f"{record['device']}. {versions}. Commit {record['commit']}{changed}."
    )


def _commit() -> tuple[str, bool | None]:
    """Commit of the checkout, and whether tracked files differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        return head, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown", None


def _git(*arguments: str) -> str:
    command = ["git", "--no-optional-locks", *arguments]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    """Model of the processor."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", information.read_text(), re.MULTILINE)
        if found:
            return found.group(1).strip()
    return platform.processor() or platform.machine()
