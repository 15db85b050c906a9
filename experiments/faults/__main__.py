"""Run the campaign or parts of it, print its table, and write its record.

::

    python -m experiments.faults
    python -m experiments.faults kills damage --seed 1
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from experiments.benchmarks.reporting import report_parser, write_report
from experiments.faults.damage import DAMAGE
from experiments.faults.disk import DISK
from experiments.faults.generated import GENERATED
from experiments.faults.kills import KILLS
from experiments.faults.managers import MANAGERS
from experiments.faults.ranks import RANKS
from experiments.faults.soak import SOAK
from experiments.faults.tried import Campaign, Part, Tried, table_of

__all__ = ["PARTS", "main"]

PARTS: dict[str, Part] = {
    part.name: part for part in (KILLS, DISK, RANKS, MANAGERS, DAMAGE, GENERATED, SOAK)
}


def _parser() -> argparse.ArgumentParser:
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("parts", nargs="*", metavar="part", choices=[*PARTS, []], help=", ".join(PARTS))
    add("--short", action="store_true", help="a few faults of each kind, and no record")
    add("--folder", type=Path, help="where the runs write and stay; by default a temporary one")
    add("--workers", type=int, default=2, help="processes at a time")
    return parser


def main(words: Sequence[str]) -> int:
    """Run the campaign; gives the number of faults that were not answered as promised."""
    settings = _parser().parse_args(words)
    found: dict[str, list[Tried]] = {}
    seconds: dict[str, int] = {}
    for name in settings.parts or PARTS:
        begin = time.monotonic()
        with _folder(settings.folder) as folder:
            campaign = Campaign(folder, settings.seed, settings.short, settings.workers)
            print(f"{name}: {PARTS[name].summary}", file=sys.stderr, flush=True)
            found[name] = [each.without(folder) for each in PARTS[name].run(campaign)]
            seconds[name] = round(time.monotonic() - begin)
            if not settings.short:
                _write(settings, found, seconds)  # now, as a later part may fail
    print(_report(found, seconds))
    return len(_wrong(found))


def _write(
    settings: argparse.Namespace, found: dict[str, list[Tried]], seconds: dict[str, int]
) -> None:
    results = {
        "seconds": seconds,
        "tried": {name: [asdict(each) for each in those] for name, those in found.items()},
    }
    told = [*settings.parts, "--seed", str(settings.seed)]
    shown = {name: value for name, value in vars(settings).items() if name != "folder"}
    write_report(
        "_".join(["faults", *settings.parts]), argparse.Namespace(**shown), told, results,
        _report(found, seconds), program="experiments.faults",
    )  # fmt: skip


@contextlib.contextmanager
def _folder(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        chosen.mkdir(parents=True, exist_ok=True)
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        yield Path(folder)


def _wrong(found: dict[str, list[Tried]]) -> list[Tried]:
    return [each for those in found.values() for each in those if each.wrong]


def _report(found: dict[str, list[Tried]], seconds: dict[str, int]) -> str:
    times = ", ".join(f"`{name}` {n} s" for name, n in seconds.items())
    lines = [table_of(found), "", f"Time: {times}."]
    if wrong := _wrong(found):
        lines += ["", "Not as promised:", ""]
        lines += [f"- {each.kind}, {each.place}: {each.wrong}" for each in wrong[:40]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(min(1, main(sys.argv[1:])))
