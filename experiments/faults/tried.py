"""What became of one fault, and the table of many."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.benchmarks.reporting import table

__all__ = ["Campaign", "Part", "Tried", "table_of"]


@dataclass(frozen=True)
class Tried:
    """One fault.

    Parameters
    ----------
    kind
        The row of the table that it counts in.
    wrong
        What was not as promised; empty if all was.
    place
        Where it happened: run, strategy, step, byte, setting.
    lost
        Numbers of what was lost or needed, by their names, such as ``steps``.
    """

    kind: str
    wrong: str = ""
    place: str = ""
    lost: Mapping[str, float] = field(default_factory=dict)

    def without(self, folder: Path) -> Tried:
        """The same, with files named from this folder on."""
        return dataclasses.replace(
            self, wrong=_from(folder, self.wrong), place=_from(folder, self.place)
        )


def _from(folder: Path, text: str) -> str:
    return text.replace(f"{folder}{os.sep}", "")


@dataclass(frozen=True)
class Campaign:
    """What all parts are told.

    Parameters
    ----------
    folder
        Where runs write; empty at the start.
    seed
        Of all that is drawn: the same seed gives the same faults.
    short
        A few faults of each kind, for the tests.
    workers
        Processes at a time.
    """

    folder: Path
    seed: int = 0
    short: bool = False
    workers: int = 2


@dataclass(frozen=True)
class Part:
    """A part of the campaign.

    Parameters
    ----------
    name
        On the command line.
    summary
        What it does, in a line.
    run
        Does it.
    """

    name: str
    summary: str
    run: Callable[[Campaign], list[Tried]]


def _largest(tried: Sequence[Tried]) -> str:
    names = dict.fromkeys(name for each in tried for name in each.lost)
    return ", ".join(
        f"{max(each.lost.get(name, 0) for each in tried):g} {name}" for name in names
    )  # fmt: skip


def table_of(found: Mapping[str, Iterable[Tried]]) -> str:
    """Count the faults of every part by kind.

    Examples
    --------
    >>> found = [Tried("a step", lost={"steps": 3}), Tried("a step", "diverged")]
    >>> print(table_of({"kills": found}))
    | part | fault | tried | not as promised | at most |
    | --- | --- | --- | --- | --- |
    | `kills` | a step | 2 | 1 | 3 steps |
    """
    rows = []
    for part, tried in found.items():
        kinds: dict[str, list[Tried]] = defaultdict(list)
        for each in tried:
            kinds[each.kind].append(each)
        rows += [
            [f"`{part}`", kind, len(each), sum(bool(one.wrong) for one in each), _largest(each)]
            for kind, each in kinds.items()
        ]
    return table(["part", "fault", "tried", "not as promised", "at most"], rows)
