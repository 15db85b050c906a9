"""From a corpus to models that are fine-tuned on GLUE's tasks, and a table of their scores.

::

    nni-magic glue --strategy magic_at --corpus my_text --data glue --output runs/glue

A supernet is trained and searched, the child that was found is pre-trained anew, and fine-tuned on
every task. With ``--teacher FOLDER`` that child is trained once more, as ``distilled``, imitating
the folder's model in the pre-training. With ``--baselines`` two others are trained like the found
one: one of BERT's layers in turns, and a random one. All have at most as many parameters as that of
BERT's layers, and at least 95 % of it. ``table.md`` and ``table.csv`` have the scores on ``dev``,
medians over the seeds, and those of the paper beside, whose models are hundreds of times as large.
Started again, the command goes on where it was killed.

The output holds ``search`` (the supernet and its scored children), and for each kind of child
``children``, ``pretrained`` and ``fine_tuned``: what nni-magic train, pretrain and fine-tune write.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401

from ..children.samples import candidates, check_sample
from ..manager.trial import ManagedTrial
from ..samplers import UniformSampler
from ..samplers.streams import Stream
from ..support.errors import naming
from ..support.files import filled_folder, read_json
from ..support.locks import sole_writer
from ..tasks.language.bert import Bert
from ..tasks.language.glue import glue_task, read_part
from ..tasks.language.hub_data import local_data
from . import pretrain
from .clock import Clock
from .concerns import check_searched
from .exporting import write_child
from .fine_tune import fine_tune, run_folder
from .fine_tune_table import table, write_tables
from .glue_settings import GlueSettings
from .one_gpu import check_one_gpu
from .paper_scores import PAPER, as_in_paper
from .train import search
from .training import train_supernet

__all__ = ["EqualSize", "Made", "make", "run"]

_logger = logging.getLogger(__name__)

HEADER = ("child", "parameters", "inherited loss", "perplexity")
"""Columns of the table before those of the tasks."""
SMALLEST = 0.95
"""Parameters of a child at least, as a share of those of BERT's layers in turns."""


class Made(NamedTuple):
    """The record of a child, its perplexity, and what its fine-tunings gave."""

    child: Mapping[str, Any]
    perplexity: float
    results: Sequence[Mapping[str, Any]]


class EqualSize(Bert):
    """The BERT space, of which children of about the baseline's parameters are searched."""

    @property
    def filter(self) -> Any:
        """At most the parameters of the baseline, and at least 95 % of them."""
        budget = self.filter_beside_baseline
        return {**budget, "min": SMALLEST * budget["max"]}


def run(settings: GlueSettings) -> None:
    """Make everything that is not there yet; print the table.

    Raises
    ------
    FileNotFoundError, ModuleNotFoundError, ValueError
        If data, the corpus or a package is missing or not as it should be; before anything is
        trained.
    """
    rows = [_row(kind, made, settings.tasks) for kind, made in make(settings).items()]
    rows += [_paper_row(name, settings.tasks) for name in PAPER]
    print(write_tables(settings.output, [*HEADER, *settings.tasks, "mean", "seeds"], rows), end="")


def make(settings: GlueSettings) -> dict[str, Made]:
    """Search, pre-train and fine-tune; what is there already is left as it is.

    Returns
    -------
    dict
        What was made, by the kinds of children.
    """
    check_one_gpu()
    importlib.import_module("nni_magic.tasks.language.hugging_face")  # or an extra is missing
    check_searched(str(settings.supernet.strategy))
    with (
        filled_folder("output", settings.output) as folder,
        filled_folder("cache", settings.bert.cache),
        sole_writer(folder, "output"),
    ):
        settings = _read_tasks(settings)
        children = _children(settings, folder)
        return {kind: _trained(settings, folder, kind, children[kind]) for kind in children}


def _read_tasks(settings: GlueSettings) -> GlueSettings:
    """Read all data of the tasks, so that mistakes are told at once; gives settings with files."""
    data = settings.data
    for name in settings.tasks:
        task = glue_task(name)
        data = local_data(settings.data, name, settings.output / "data")
        for part in ("train", *task.dev):
            read_part(task, data / name, part)
    return replace(settings, data=data)


def _children(settings: GlueSettings, folder: Path) -> dict[str, Path]:
    """Train the supernet and search it; gives the folders of the children by their kinds."""
    domain = EqualSize(settings.task)
    with naming(f"baseline {domain.baseline_name}"):
        check_sample(domain.baseline(), candidates(domain.make_space()))
    if settings.teaching.teacher is not None:  # only to see now whether it can be imitated
        domain.lessons(settings.teaching, domain.make_space())
    logs, space = folder / "search", domain.seeded_space()
    train_supernet(Bert(settings.task), settings.supernet, space, ManagedTrial(), logs, logs=logs)
    found = search(domain, settings.search, space, logs, Clock(logs / "seconds.json"))
    samples = {"found": found["best_child"]["sample"]}
    if settings.teaching.teacher is not None:
        samples["distilled"] = samples["found"]
    if settings.baselines:
        seed = [domain.settings.seed, Stream.BASELINES]
        random = UniformSampler(space, seed=seed, filter=domain.filter)
        samples |= {"bert": domain.baseline(), "random": random.next()}
    score = domain.child_evaluator(space)
    return {
        kind: write_child(
            domain, settings, score.child(sample), sample, score([sample])[0],
            folder / "children" / kind, metric="val_loss", checkpoint=logs / "supernet.ckpt",
            formats=(),
        )
        for kind, sample in samples.items()
    }  # fmt: skip


def _trained(settings: GlueSettings, folder: Path, kind: str, child: Path) -> Made:
    """Pre-train a child, and fine-tune it on all tasks, beginning with MNLI."""
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    full, tuned = folder / "pretrained" / kind, folder / "fine_tuned" / kind
    _logger.info("Pre-training of the child %r", kind)
    taught = kind == "distilled"
    pretrain.run(settings.pretraining(package.write_folder(child), full, taught=taught))
    results = []
    for seed in settings.fine_tune_seeds:
        mnli = None
        for name in sorted(settings.tasks, key=lambda name: name != "MNLI"):
            _logger.info("Fine-tuning of the child %r on %s, seed %d", kind, name, seed)
            chosen = settings.fine_tuning(full / "model", name, seed, tuned, mnli)
            results.append(fine_tune(chosen))
            if name == "MNLI":
                mnli = run_folder(chosen) / "model"
    perplexity = read_json(full / "results.json")["perplexity"]
    return Made(read_json(child / "child.json"), perplexity, results)


def _row(kind: str, made: Made, tasks: Sequence[str]) -> list[Any]:
    medians = {row[0]: row for row in table([as_in_paper(result) for result in made.results])}
    scores, seeds = [medians[name][1] for name in tasks], medians[tasks[0]][4]
    costs = [made.child["params"], made.child["score"], made.perplexity]
    return [kind, *costs, *scores, fmean(scores), seeds]


def _paper_row(name: str, tasks: Sequence[str]) -> list[Any]:
    known = PAPER[name].scores
    mean = fmean(known[task] for task in tasks) if known.keys() >= set(tasks) else ""
    return [name, PAPER[name].size, "", "", *(known.get(task, "") for task in tasks), mean, ""]
