"""From a corpus to models that are fine-tuned on GLUE's tasks, and a table of their scores.

::

    nni-magic glue --strategy magic_at --corpus my_text --data glue --output runs/glue

A supernet is trained and searched, the child that was found is pre-trained anew, and fine-tuned on
every task; with ``--baselines`` two others are trained in the same way, one of BERT's layers in
turns and a random one. All have at most as many parameters as that of BERT's layers, and at least
95 % of it. ``table.md`` and ``table.csv`` have the scores on ``dev``, medians over the seeds, and
those of [Xu2022]_ beside, whose models are a hundred times as large. Started again, the command
goes on where it was killed.

The output holds ``search`` (the supernet and its scored children), and for each kind of child
``children``, ``pretrained`` and ``fine_tuned``: what nni-magic train, pretrain and fine-tune write.

References
----------
.. [Xu2022] J. Xu et al., "Analyzing and Mitigating Interference in Neural Architecture Search",
   ICML 2022. Table 2.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import nni_bootstrap  # noqa: F401

from ..children.samples import candidates, check_sample
from ..manager.trial import ManagedTrial
from ..samplers import UniformSampler
from ..samplers.streams import Stream
from ..strategies.registry import METHODS, method
from ..support.errors import naming
from ..support.files import filled_folder, read_json
from ..support.locks import sole_writer
from ..tasks.language.bert import Bert
from ..tasks.language.glue import glue_task, read_part
from ..tasks.language.hub_data import local_data
from . import pretrain
from .clock import Clock
from .exporting import write_child
from .fine_tune import fine_tune, run_folder
from .fine_tune_table import results, table, write_tables
from .glue_settings import GlueSettings
from .train import search
from .training import train_supernet

__all__ = ["KINDS", "EqualSize", "make", "run", "summary"]

KINDS = ("found", "bert", "random")
"""Kinds of children: that of the search, that of BERT's layers in turns, and a random one."""
SMALLEST = 0.95
"""Parameters of a child at least, as a share of those of BERT's layers in turns."""
AS_IN_PAPER = {"MRPC": "accuracy", "QQP": "accuracy", "STS-B": "spearman"}
"""Metrics of tasks that have several, as the paper gives them; else the task's score."""
_PAPER_TASKS = ("MNLI", "QQP", "QNLI", "CoLA", "SST-2", "STS-B", "RTE", "MRPC")
PAPER = {
    "RoBERTa (paper)": ("125M", 85.3, 91.1, 91.1, 61.0, 92.7, 90.0, 77.5, 87.9),
    "SPOS (paper)": ("114M", 84.7, 91.4, 91.4, 59.6, 92.1, 89.7, 80.9, 86.3),
    "MAGIC-AT (paper)": ("113M", 85.6, 91.3, 91.8, 61.1, 93.5, 90.3, 80.9, 90.9),
}
"""Parameters of the paper's models, and their scores on ``dev``, in percent."""


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
    make(settings)
    text = write_tables(settings.output, *summary(settings.output, settings.tasks))
    print(text, end="")


def make(settings: GlueSettings) -> None:
    """Search, pre-train and fine-tune; what is there already is left as it is."""
    importlib.import_module("nni_magic.tasks.language.hugging_face")  # or an extra is missing
    _check_strategy(str(settings.supernet.strategy))
    with (
        filled_folder("output", settings.output) as folder,
        filled_folder("cache", settings.bert.cache),
        sole_writer(folder, "output"),
    ):
        settings = _read_tasks(settings)
        for kind, child in _children(settings, folder).items():
            _train(settings, folder, kind, child)


def _check_strategy(name: str) -> None:
    finders = {each for each in METHODS if method(each).load().finds_child}
    if name in finders:
        raise ValueError(
            f"strategy is {name!r}, which finds one child of any size; accepted are "
            + ", ".join(each for each in METHODS if each not in finders)
        )


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
    """Train the supernet and search it; gives the folders of the children of every kind."""
    domain = EqualSize(settings.task)
    space = domain.make_space()
    with naming(f"baseline {domain.baseline_name}"):
        check_sample(domain.baseline(), candidates(space))
    logs = folder / "search"
    train_supernet(Bert(settings.task), settings.supernet, space, ManagedTrial(), logs, logs=logs)
    found = search(domain, settings.search, space, logs, Clock(logs / "seconds.json"))
    samples = {"found": found["best_child"]["sample"]}
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


def _train(settings: GlueSettings, folder: Path, kind: str, child: Path) -> None:
    """Pre-train a child, and fine-tune it on all tasks, beginning with MNLI."""
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    full, tuned = folder / "pretrained" / kind, folder / "fine_tuned" / kind
    pretrain.run(settings.pretraining(package.write_folder(child), full))
    for seed in settings.fine_tune_seeds:
        mnli = None
        for name in sorted(settings.tasks, key=lambda name: name != "MNLI"):
            chosen = settings.fine_tuning(full / "model", name, seed, tuned, mnli)
            fine_tune(chosen)
            if name == "MNLI":
                mnli = run_folder(chosen) / "model"


def summary(folder: Path, tasks: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Collect the scores of all kinds of children on some tasks, and the paper's.

    Parameters
    ----------
    folder
        The output.
    tasks
        Names of GLUE's tasks, in the order of the columns.

    Returns
    -------
    header
        Names of the columns.
    rows
        Kind, parameters, loss with inherited weights, perplexity after the pre-training, and the
        median of every task, in percent; the last is their mean.
    """
    header = ["child", "parameters", "inherited loss", "perplexity", *tasks, "mean", "seeds"]
    rows = [_row(folder, kind, tasks) for kind in KINDS if (folder / "fine_tuned" / kind).is_dir()]
    return header, rows + [_paper_row(name, tasks) for name in PAPER]


def _row(folder: Path, kind: str, tasks: Sequence[str]) -> list[Any]:
    [record] = (folder / "children" / kind).glob("*/child.json")
    child, trained = read_json(record), read_json(folder / "pretrained" / kind / "results.json")
    found = {row[0]: row for row in table(results(folder / "fine_tuned" / kind, AS_IN_PAPER))}
    scores = [found[name][1] for name in tasks]
    return [kind, child["params"], child["score"], trained["perplexity"], *scores, fmean(scores),
            found[tasks[0]][4]]  # fmt: skip


def _paper_row(name: str, tasks: Sequence[str]) -> list[Any]:
    size, *scores = PAPER[name]
    known = dict(zip(_PAPER_TASKS, scores, strict=True))
    mean = fmean(known[task] for task in tasks) if known.keys() >= set(tasks) else ""
    return [name, size, "", "", *(known.get(task, "") for task in tasks), mean, ""]
