"""A table of fine-tuned children: for each data set the best setting's median over its seeds.

::

    nni-magic fine-tune-table --output runs/fine_tuned

prints it, and writes ``table.md`` and ``table.csv``, with the scores of the paper's models beside.
Scores have its metrics: accuracy of MRPC and QQP, Spearman's correlation of STS-B, F1 of SQuAD. The
average is given when all of GLUE's tasks but WNLI are there, as papers give it. Fewer than five
seeds are marked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import nni_bootstrap  # noqa: F401

from ..support.files import atomic_file, read_record, write_table
from ..tasks.language.glue import GLUE
from .fine_tune import SQUAD
from .paper_scores import PAPER, as_in_paper
from .text_settings import FineTuneTableSettings

__all__ = ["results", "run", "table", "write_tables"]

HEADER = (
    "dataset", "score", "lowest", "highest", "seeds", "learning rate", "batch size", *PAPER,
)  # fmt: skip
ENOUGH = 5
"""Seeds of a median that is not marked."""


def table(results: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """Make rows of results, scores in percent.

    Parameters
    ----------
    results
        What :func:`~nni_magic.programs.fine_tune.fine_tune` gave.

    Returns
    -------
    list
        A row as :data:`HEADER` for each data set, in GLUE's order, and the average if it is there.
        A score that is not defined counts as 0.
    """
    groups: dict[str, dict[tuple[float, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in results:
        setting = result["learning_rate"], result["batch_size"]
        groups[result["dataset"]][setting].append(100 * (result["score"] or 0.0))
    rows: list[list[Any]] = []
    for name in (*GLUE, *SQUAD):
        if name in groups:
            setting, scores = max(groups[name].items(), key=lambda each: median(each[1]))
            seeds = f"{len(scores)}{'' if len(scores) >= ENOUGH else ' (few)'}"
            beside = [model.scores.get(name, "") for model in PAPER.values()]
            rows.append([name, median(scores), min(scores), max(scores), seeds, *setting, *beside])
    medians = {row[0]: row[1] for row in rows}
    averaged = [name for name in GLUE if name != "WNLI"]
    if medians.keys() >= set(averaged):
        means = [fmean(known[name] for name in averaged)
                 for known in (medians, *(model.scores for model in PAPER.values()))]  # fmt: skip
        rows.append(["average of 8", means[0], "", "", "", "", "", *means[1:]])
    return rows


def run(settings: FineTuneTableSettings) -> None:
    """Print and write the table.

    Raises
    ------
    FileNotFoundError
        If there is no result.
    """
    found = results(settings.output)
    if not found:
        raise FileNotFoundError(
            f"output is {str(settings.output)!r}, without results; accepted are folders of "
            "nni-magic fine-tune"
        )
    print(write_tables(settings.output, HEADER, table(list(map(as_in_paper, found)))), end="")


def results(folder: Path) -> list[dict[str, Any]]:
    """Read the results of all runs in a folder, the output of nni-magic fine-tune."""
    found = []
    for path in sorted(folder.glob("*/*/result.json")):
        record = read_record(path, dataset=str, learning_rate=float, batch_size=int, seed=int)
        found.append(record or {})
    return found


def write_tables(folder: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Write ``table.csv``, and ``table.md`` with a decimal; gives the latter's text."""
    shown = [[f"{one:.1f}" if isinstance(one, float) and one >= 0.1 else f"{one}" for one in row]
             for row in rows]  # fmt: skip
    lines = [" | ".join(row) for row in [header, ["---"] * len(header), *shown]]
    text = "".join(f"| {line} |\n" for line in lines)
    with atomic_file(folder / "table.md") as file:
        file.write(text.encode())
    write_table(folder / "table.csv", [header, *rows])
    return text
