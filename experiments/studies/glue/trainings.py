"""Run ``nni-magic glue`` with several seeds, and keep a record of every fine-tuned model."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from experiments.studies.claims import claimed
from nni_magic.programs.fine_tune_table import results
from nni_magic.programs.glue import make
from nni_magic.programs.glue_settings import GlueSettings
from nni_magic.programs.options import read
from nni_magic.programs.paper_scores import as_in_paper
from nni_magic.support.files import atomic_file, read_json, read_record, write_json
from nni_magic.support.made_with import check_same
from nni_magic.tasks.language.glue import GlueTask, glue_task

__all__ = ["KINDS", "cut_data", "gather", "read_records", "train_missing"]

_logger = logging.getLogger(__name__)

KINDS = {
    "found": "found by the search",
    "bert": "BERT's layers",
    "random": "random",
    "distilled": "found, taught by a larger model",
}
"""Kinds of children, and what reports call them."""
SIZE: dict[str, Any] = {
    "strategy": "magic_at", "walks": 1, "preset": "tiny", "epochs": 10, "epoch_steps": 150,
    "batch_size": 32, "optimizer": "adam",
    "search_children": 100, "population": 20, "validation_batches": 4, "pretrain_steps": 2000,
    "pretrain_save_every": 500, "fine_tune_epochs": 3, "fine_tune_batch_size": 32,
    "fine_tune_learning_rate": 5e-4, "threads": 1,
}  # fmt: skip
"""Settings of ``nni-magic glue`` in this study: the smallest that two cores do in some hours."""


def cut_data(data: Path, folder: Path, tasks: Iterable[str], rows: int) -> None:
    """Copy tasks in GLUE's layout, with at most so many rows to train on, drawn at random.

    Parameters
    ----------
    data
        All rows.
    folder
        Where the copy is made. What is there is left as it is.
    tasks
        Names of GLUE's tasks.
    rows
        The same rows are drawn whenever this number is the same.
    """
    for name in tasks:
        task, target = glue_task(name), folder / name
        for part in ("train", *task.dev):
            if not (path := target / f"{part}.tsv").exists():
                text = (data / name / path.name).read_bytes()
                with atomic_file(path) as file:
                    file.write(_some_rows(text, task, rows) if part == "train" else text)


def _some_rows(text: bytes, task: GlueTask, rows: int) -> bytes:
    lines = [line + b"\n" for line in text.removesuffix(b"\n").split(b"\n")]
    header, rest = ([], lines) if task.columns else (lines[:1], lines[1:])
    return b"".join(header + random.Random(0).sample(rest, min(rows, len(rest))))


def train_missing(
    work: Path, corpus: Path, data: Path, tasks: Sequence[str], seeds: Iterable[int], records: Path,
    teacher: Path | None = None,
) -> None:  # fmt: skip
    """Train what is not there yet, and is claimed by no other process, seed by seed.

    Parameters
    ----------
    work
        Folder of the trainings, which may be removed once all is recorded.
    corpus, data, tasks
        See :class:`nni_magic.programs.glue_settings.GlueSettings`.
    seeds
        Of all that is drawn: the supernet, the search, the random child, and the trainings.
    records
        Folder of the records.
    teacher
        Of the distilled children, if there are to be any.

    Raises
    ------
    ValueError
        If something was recorded of another size or on other data than the rest; before anything
        is trained.
    """
    seeds = list(seeds)
    read_records(records, tasks, seeds)
    kinds = [kind for kind in KINDS if kind != "distilled" or teacher is not None]
    for seed in seeds:
        gather(work, tasks, seed, records)
        with claimed(work / f"seed{seed}") as mine:
            files = [_file(records, kind, task, seed) for kind in kinds for task in tasks]
            if mine and not all(path.exists() for path in files):
                make(study_settings(work, corpus, data, tasks, seed, teacher))
                gather(work, tasks, seed, records)


def study_settings(
    work: Path, corpus: Path, data: Path, tasks: Sequence[str], seed: int,
    teacher: Path | None = None,
) -> GlueSettings:  # fmt: skip
    """Settings of ``nni-magic glue`` for one seed."""
    given = {
        **SIZE, "corpus": corpus, "data": data, "cache": work / "cache", "seed": seed,
        "fine_tune_seeds": seed, "output": work / f"seed{seed}", "baselines": "true",
    }  # fmt: skip
    given |= {} if teacher is None else {"teacher": teacher}
    pairs = ((f"--{name.replace('_', '-')}", str(value)) for name, value in given.items())
    return read(GlueSettings, [*chain.from_iterable(pairs), "--tasks", *tasks])


def gather(work: Path, tasks: Sequence[str], seed: int, records: Path) -> None:
    """Record what is done of a seed, also while its training goes on."""
    folder = work / f"seed{seed}"
    for kind in KINDS:
        child = next((folder / "children" / kind).glob("*/child.json"), None)
        for result in map(as_in_paper, results(folder / "fine_tuned" / kind)):
            path = _file(records, kind, result["dataset"], seed)
            if child is None or path.exists() or result["dataset"] not in tasks:
                continue
            known = read_json(child)
            trained = read_json(folder / "pretrained" / kind / "results.json")
            write_json(path, {
                "kind": kind, "task": result["dataset"], "seed": seed, "score": result["score"],
                "metrics": result["metrics"], "params": known["params"],
                "inherited_loss": known["score"], "perplexity": trained["perplexity"],
                "sample": known["sample"], "size": SIZE,
                "data": _data(folder, kind, result["dataset"]),
            })  # fmt: skip
            _logger.info("%s", path)


def _data(folder: Path, kind: str, task: str) -> dict[str, str]:
    """Digests of the text and the rows that a model was trained on."""
    [tuned] = (folder / "fine_tuned" / kind / task).glob("*/made_with.json")
    digests = read_json(tuned)["made_with"]["digests"]
    corpus = read_json(folder / "pretrained" / kind / "made_with.json")["made_with"]["corpus"]
    return {"corpus": corpus, **{f"{task} {part}": digests[part] for part in ("train", "dev")}}


def read_records(
    records: Path, tasks: Iterable[str], seeds: Iterable[int]
) -> list[Mapping[str, Any]]:
    """Read what is recorded of some tasks and seeds.

    Raises
    ------
    ValueError
        If something was recorded of another size, or one was trained on other data than another.
    """
    found: list[Mapping[str, Any]] = []
    data: dict[str, str] = {}
    for path in (_file(records, kind, task, seed)
                 for seed in seeds for task in tasks for kind in KINDS):  # fmt: skip
        record = read_record(path, kind=str, task=str, seed=int, size=dict, data=dict)
        if record is not None:
            check_same(repr(str(path)), record["size"], SIZE)
            of_others = {part: data.setdefault(part, own) for part, own in record["data"].items()}
            check_same(repr(str(path)), record["data"], of_others)
            found.append(record)
    return found


def _file(records: Path, kind: str, task: str, seed: int) -> Path:
    return records / f"{kind}_{task}_seed{seed}.json"
