"""What all benchmarks and studies share: the command line, and the written report."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import logging
import os
import platform
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from nni_magic.support.files import atomic_file

__all__ = [
    "environment",
    "gpu_slug",
    "report_parser",
    "run_benchmark",
    "table",
    "usable_cores",
    "write_report",
]

PACKAGES = ("nni", "pytorch-lightning", "numpy")


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


def report_parser(description: str | None) -> argparse.ArgumentParser:
    """Start a command line with what all programs have that write a report."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, default=Path("experiments/results"), help="folder of the report")
    add("--hardware", help="name of the hardware in the file names; by default found out")
    add("--seed", type=int, default=0)
    add("--threads", type=int, default=usable_cores(), help="of torch; by default all cores")
    return parser


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
            "torch": torch.__version__,  # with its build, which the metadata may leave out
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


def run_benchmark(
    theme: str,
    settings: argparse.Namespace,
    arguments: Sequence[str],
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    report: Callable[[argparse.Namespace, dict[str, Any]], str],
    draw: Callable[[dict[str, Any], Path], None] | None = None,
) -> dict[str, Any]:
    """Measure, print and write the report of a benchmark; gives the results.

    Parameters
    ----------
    theme
        The benchmark's module.
    settings, arguments
        As of :func:`write_report`; ``device`` among the settings is what is measured.
    measure
        Gives the results.
    report
        Writes them as Markdown.
    draw
        Draws them into a picture at the given path.
    """
    for name in ("pytorch_lightning", "nni"):
        logging.getLogger(name).setLevel(logging.ERROR)
    torch.set_num_threads(settings.threads)
    results = measure(settings)
    markdown = report(settings, results)
    print(markdown)
    device = getattr(settings, "device", "cpu")
    paths = [*write_report(theme, settings, arguments, results, markdown, device=device)]
    if draw is not None:
        paths.append(paths[0].with_suffix(".png"))
        draw(results, paths[-1])
    for path in paths:
        print(f"Wrote {path}")
    return results


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
        The command line, read; made by :func:`report_parser`.
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
        "config": {name: value for name, value in vars(settings).items() if name != "output"},
        "seed": settings.seed,
        **environment(device),
        **results,
    }
    stem = settings.output / f"{theme}_{hardware}_{now:%Y%m%d}"
    settings.output.mkdir(parents=True, exist_ok=True)
    json_path, markdown_path = stem.with_suffix(".json"), stem.with_suffix(".md")
    _write(json_path, json.dumps(record, indent=1, default=_path_as_text) + "\n")
    spreads = "" if program else "Spreads are median (minimum to maximum). "
    _write(
        markdown_path,
        f"# {theme}, {hardware}, {now:%Y-%m-%d}\n\n{markdown}\n\n"
        f"{_conditions(record)} {spreads}Every raw value: the JSON beside this file.\n",
    )
    return json_path, markdown_path


def _write(path: Path, text: str) -> None:
    with atomic_file(path) as file:
        file.write(text.encode())


def _path_as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"a result is {value!r}; accepted is what JSON knows, and paths")


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
