"""GLUE's tasks and SQuAD from Hugging Face's ``datasets``, written as their official files.

``hf:NAME`` in place of a folder, such as ``hf:nyu-mll/glue``, ``hf:squad`` or ``hf:squad_v2``, is a
data set of the Hub, or of what else ``datasets.load_dataset`` reads. It is loaded once; from then
on its files are like those of a folder of one's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...support.files import atomic_file, write_json
from .glue import GLUE, GlueTask

__all__ = ["local_data"]

_PREFIX = "hf:"
_COLUMNS = {
    "MRPC": {"#1 String": "sentence1", "#2 String": "sentence2"},
    "MNLI": {"sentence1": "premise", "sentence2": "hypothesis"},
}
"""Columns of texts that have another name there."""


def local_data(data: Path | str, dataset: str, cache: Path) -> Path:
    """Give the folder of all data sets, after one of ``hf:NAME`` has been written into a cache.

    Parameters
    ----------
    data
        A folder, which is given as it is, or ``hf:NAME``.
    dataset
        Name of a task of GLUE, or ``SQuAD-1.1`` or ``SQuAD-2.0``.
    cache
        Where a folder for the data sets of that name is made.

    Raises
    ------
    ModuleNotFoundError
        If the package ``datasets`` is not installed.
    ValueError
        If the data cannot be loaded, lack a column, or have a text that GLUE's layout cannot hold.
    """
    if not str(data).startswith(_PREFIX):
        return Path(data)
    name = str(data).removeprefix(_PREFIX)
    folder = cache / name.replace("/", "--")
    if dataset in GLUE:
        task, config = GLUE[dataset], dataset.lower().replace("-", "")
        for part in ("train", *task.dev):
            path = folder / dataset / f"{part}.tsv"
            if not path.exists():
                split = part.replace("dev", "validation")
                _write_tsv(path, task, _loaded(name, config, split, dataset))
        return folder
    version = dataset.removeprefix("SQuAD-")
    for part, split in (("train", "train"), ("dev", "validation")):
        path = folder / dataset / f"{part}-v{version}.json"
        if not path.exists():
            questions = map(_question, _loaded(name, None, split, dataset))
            write_json(path, {"version": version, "data": [{"paragraphs": list(questions)}]})
    return folder


def _loaded(name: str, config: str | None, split: str, dataset: str) -> Iterable[Mapping[str, Any]]:
    layout = f"a folder with {dataset}/{'train.tsv' if config else 'train-v*.json'} and the like"
    try:
        datasets = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"data is '{_PREFIX}{name}', which needs the package 'datasets': "
            f"pip install nni-magic[datasets], or give {layout}",
            name="datasets",
        ) from error
    try:
        found: Iterable[Mapping[str, Any]] = datasets.load_dataset(name, config, split=split)
    except (OSError, ValueError) as error:  # no network, no such name, another configuration
        raise ValueError(
            f"data is '{_PREFIX}{name}', whose {split} part of {dataset} cannot be loaded "
            f"({error}); accepted are data sets of Hugging Face, and {layout}"
        ) from error
    return found


def _write_tsv(path: Path, task: GlueTask, rows: Iterable[Mapping[str, Any]]) -> None:
    header = list(task.columns) or [*task.texts, task.label]
    theirs = {**_COLUMNS.get(task.name, {}), task.label: "label"}
    lines = [] if task.columns else [header]
    for number, row in enumerate(rows):
        cells = {name: _cell(task, name, row, theirs.get(name, name), path, number)
                 for name in (*task.texts, task.label)}  # fmt: skip
        lines.append([cells.get(name, "") for name in header])
    with atomic_file(path) as file:
        file.write("".join("\t".join(line) + "\n" for line in lines).encode())


def _cell(
    task: GlueTask, name: str, row: Mapping[str, Any], column: str, path: Path, number: int
) -> str:
    """A text, or a label as the official file has it."""
    where = f"row {number} of {task.name}'s {path.stem}"
    if column not in row:
        raise ValueError(f"{where} has no column {column!r}, only {sorted(row)}")
    value = row[column]
    if name == task.label:
        is_class = task.labels and value in range(len(task.labels))
        return task.labels[value] if is_class else str(value)
    if set(value) & set("\t\n\r"):
        raise ValueError(
            f"{where} has {column} {value!r}; accepted are texts without tabs and line ends"
        )
    return str(value)


def _question(row: Mapping[str, Any]) -> dict[str, Any]:
    """A paragraph with one question, as SQuAD's files have them."""
    found = row["answers"]
    places = zip(found["text"], found["answer_start"], strict=True)
    answers = [{"text": text, "answer_start": start} for text, start in places]
    asked = {"id": row["id"], "question": row["question"], "answers": answers,
             "is_impossible": not answers}  # fmt: skip
    return {"context": row["context"], "qas": [asked]}
