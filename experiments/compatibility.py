"""Which spaces of NNI's hub work with which part of the package, tried out one by one.

::

    python -m experiments.compatibility --write docs/compatibility.md

Every space of the hub, made small, is trained on random images for two epochs by NNI's own
``RandomOneShot`` and by ours, with default settings, then evaluated, searched, shrunk and exported,
each in a process of its own within a time limit. A cell says ``works`` only where the scores are
those of the stand-alone children, computed by plain torch: see :mod:`experiments.hub_cells`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from nni_magic.strategies.registry import METHODS

from .benchmarks.reporting import table
from .hub_cells import COLUMNS, SPACES, STOCK

__all__ = ["PARTLY", "REFUSED", "attempt", "lines", "main", "matrix", "verdict", "written"]

LIMIT = 300.0  # seconds a cell
BEGIN, END = "<!-- matrix: written by experiments.compatibility -->", "<!-- end of matrix -->"

NO_SUPERNET = (
    "NasBench101Cell.* has dangling mutables", "NNI has no supernet of this space's cells"
)  # fmt: skip
NO_SHAPE = (
    "no layer can be aligned by itself, as outputs are of different shapes",
    "the width of every hidden state is chosen, so that those of two children have no common shape",
)
OF_CELLS = ("DARTS", "ENAS", "PNAS", "NASNet", "AmoebaNet")
CHOSEN_WIDTHS = ("MobileNetV3Space", "AutoFormer", *OF_CELLS)
REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("NasBench101", "*"): NO_SUPERNET,
    **{(space, name): NO_SHAPE for space in CHOSEN_WIDTHS for name in ("magic_a", "magic_at")},
}
"""Space and column, or ``*`` for any -> the message of the refusal, and why it has to be."""

PARTLY = (
    "NotRebuiltError: built anew it",
    "the programs have the score; NNI builds a child anew without what its supernet adds to a "
    "stage of depth one and, where the space says `loose_end`, to a cell's output, so `weights.pt` "
    "has the names of the child in the supernet, and `rebuild_problem` in `child.json` says it",
)
"""The message of a space of cells whose child is written, but not built anew, and why."""


def attempt(space: str, column: str, *, limit: float = LIMIT) -> str:
    """Run a cell in a process of its own; gives an empty text, or what went wrong."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(space, column, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return f"took more than {limit:.0f} s"
        return receiver.recv()
    except EOFError:
        return "its process died"
    finally:
        process.kill()
        process.join()


def _run(space: str, column: str, sender: Any) -> None:
    torch.set_num_threads(1)
    try:
        COLUMNS[column](SPACES[space])
    except Exception as error:  # whatever it is stands in the table
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send("")


def verdict(space: str, column: str, problem: str) -> str:
    """What a cell of the matrix says.

    Examples
    --------
    >>> verdict("DARTS", "spos", "")
    'works'
    """
    if not problem:
        return "works"
    for message, reason in (REFUSED[p] for p in ((space, column), (space, "*")) if p in REFUSED):
        if column != STOCK and re.search(message, problem):
            return f"refused: {reason}"
    if space.partition(",")[0] in OF_CELLS and re.search(PARTLY[0], problem):
        return f"partly: {PARTLY[1]}"
    return f"fails: {problem.splitlines()[0][:120]}"


def matrix(spaces: list[str], columns: list[str]) -> Iterator[tuple[str, str, str]]:
    """Space, column and verdict of every cell."""
    for space in spaces:
        for column in columns:
            yield space, column, verdict(space, column, attempt(space, column))


def lines(cells: Mapping[tuple[str, str], str]) -> str:
    """Lay out the matrix, with what is no plain ``works`` in notes below it."""
    notes = list(dict.fromkeys(text for text in cells.values() if text != "works"))
    columns = list(dict.fromkeys(column for _, column in cells))
    rows = []
    for space in dict.fromkeys(space for space, _ in cells):
        texts = [cells[space, column] for column in columns]
        short = [t if t == "works" else f"{t.split(':')[0]} [{notes.index(t) + 1}]" for t in texts]
        rows.append([f"`{space}`", *short])
    named = [f"`{column}`" if column in METHODS else column for column in columns]
    numbered = [f"{number}. {note.partition(': ')[2]}" for number, note in enumerate(notes, 1)]
    return "\n".join([table(["", *named], rows), *(["", *numbered] if numbered else [])])


def written(page: str, text: str) -> str:
    """Put the matrix in its place on a page."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}"


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--write", type=Path, help="page that has a place for the matrix")
    parser.add_argument("--spaces", nargs="+", choices=list(SPACES), default=list(SPACES))
    parser.add_argument("--columns", nargs="+", choices=list(COLUMNS), default=list(COLUMNS))
    given = parser.parse_args(arguments)
    cells = {}
    for space, column, found in matrix(given.spaces, given.columns):
        print(f"{space}, {column}: {found}", flush=True)
        cells[space, column] = found
    if given.write is not None:
        page = given.write.read_text(encoding="utf-8")
        given.write.write_text(written(page, lines(cells)), encoding="utf-8")


if __name__ == "__main__":
    main()
