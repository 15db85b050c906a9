"""Train a supernet, search its children, train the best one: a trial that compares strategies.

::

    nni-magic train bert --strategy magic_at --output runs/magic_at
    nni-magic train proxyless --strategy spos --dataset fashion_mnist --output runs/fashion

trains one supernet, and continues it when it is started again. ``nnictl create`` on an example such
as ``bert_strategies`` starts one trial per strategy: a parameter that the tuner gives replaces the
setting of its name. Children are scored on data held out of the training; with ``--retrain-epochs``
the best one is trained from scratch and tested on data that no search has seen.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from ..children.samples import digest
from ..manager.trial import ManagedTrial
from ..scoring.scored import ScoredChild
from ..search import Evolution, Population, ProgressiveShrinking
from ..search.shrinking_history import plot_history, write_history
from ..support.compat import freeze
from ..support.files import write_json
from ..support.locks import sole_writer
from ..support.records import count_params
from ..tasks.domain import Domain
from ..tasks.registry import Task
from .concerns import Search
from .options import flat, plain, replaced
from .settings import TrainSettings
from .training import check_retraining, train_child, train_supernet

__all__ = ["run", "run_trial", "search"]


def search(
    domain: Domain, settings: Search, supernet: ModelSpace, survivor: Sample | None = None
) -> dict[str, Any]:
    """Search the children by evolution, on the weights that they inherit.

    Parameters
    ----------
    domain
        What was trained.
    settings
        Of the search.
    supernet
        The trained supernet.
    survivor
        The child that progressive shrinking has left: there is nothing else to search.

    Returns
    -------
    dict
        The best child, and the validation loss of the random children that evolution begins
        with. These are the same for every strategy, so their mean compares the supernets.

    Raises
    ------
    ValueError
        If losses are not numbers: the training has diverged.
    """
    evaluate = domain.child_evaluator(supernet)
    options = {"seed": domain.settings.seed, "filter": domain.filter}
    random_children = Population(supernet, size=settings.population, **options).ask()
    first = evaluate(random_children)
    if survivor is None:
        evolution = Evolution(
            generations=settings.search_children // settings.population,
            population=settings.population,
            start=random_children,
            **options,
        )
        ranked = evolution.search(supernet, evaluate)
    else:
        ranked = [ScoredChild(survivor, evaluate([survivor])[0])]
    losses = [child.score for child in ranked]
    if diverged := sum(not math.isfinite(loss) for loss in losses):
        raise ValueError(
            f"{diverged} of {len(losses)} children have no finite validation loss: the training "
            f"has diverged; learning_rate is {domain.settings.learning_rate}, try a smaller one"
        )
    best, loss = ranked[0]
    return {
        "children": len(ranked),
        "random_children": len(first),
        "random_children_loss": mean(first),
        "random_children_loss_stdev": stdev(first) if len(first) > 1 else 0.0,
        "best_child": {
            "sample": best,
            "digest": digest(best),
            "val_loss": loss,
            "params": count_params(freeze(supernet, best)),
            **domain.costs(best),
        },
    }


def run(domain: Domain, settings: TrainSettings, trial: ManagedTrial) -> dict[str, Any]:
    """Train, search, train the best child, report and write the results; gives what it wrote.

    Under DDP all ranks train the supernet, and then one goes on alone; the others give an empty
    dict.

    Raises
    ------
    ValueError
        If another run writes into the folder.
    """
    folder = settings.output or _default_folder(domain)
    folder.mkdir(parents=True, exist_ok=True)
    with sole_writer(folder, "output") if trial.is_first_rank else nullcontext():
        return _run(domain, settings, trial, folder)


def _run(
    domain: Domain, settings: TrainSettings, trial: ManagedTrial, folder: Path
) -> dict[str, Any]:
    space = domain.make_space()
    if settings.retraining.retrain_epochs:
        check_retraining(domain, settings.retraining)
    clock = Clock()
    strategy = train_supernet(
        domain, settings.supernet, space, trial, folder, logs=folder, shrinking=settings.shrinking
    )
    if not trial.is_first_rank:
        return {}
    survivor = None
    if isinstance(strategy.shrinking, ProgressiveShrinking):
        survivor = strategy.oneshot_module.export()
        write_history(strategy.shrinking.history, folder / "shrinking.csv")
        plot_history(strategy.shrinking.history, folder / "shrinking.png")
    clock("train")
    found = search(domain, settings.search, space, survivor)
    best = found["best_child"]
    write_json(folder / "best_child.json", best)
    clock("search")
    if settings.retraining.retrain_epochs:
        where = folder / "retrained"
        checkpoint = where / f"{digest(best['sample'])}.ckpt"
        _, found["retrained"] = train_child(
            domain, settings.retraining, best["sample"], trial, checkpoint, where,
            devices=1, num_nodes=1, strategy="auto",
        )  # fmt: skip
        clock("retrain")
    results = {
        "settings": {**plain(flat(settings)), "output": str(folder)},
        "versions": domain.versions(),
        **domain.describe(),
        "steps": domain.settings.epochs * domain.settings.epoch_steps,
        **clock.seconds,
        **found,
    }
    write_json(folder / "results.json", results)
    report(trial, found)
    return results


def _default_folder(domain: Domain) -> Path:
    """The folder of the trial, or without a manager one with the name of the task."""
    return Path(os.environ.get("NNI_OUTPUT_DIR", f"runs/{type(domain).__name__.lower()}"))


class Clock:
    """Wall times of a run's parts, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, part: str) -> None:
        """End a part."""
        now = time.monotonic()
        self.seconds[f"{part}_seconds"] = round(now - self._last, 1)
        self._last = now


def report(trial: ManagedTrial, found: dict[str, Any]) -> None:
    """Report the best child's loss after training from scratch, or else with inherited weights."""
    best = found["best_child"]
    retrained = found.get("retrained", {})
    tested = {"accuracy": retrained["accuracy"], "val_loss": best["val_loss"]} if retrained else {}
    costs = {name: best[name] for name in ("params", "flops") if name in best}
    trial.report_final(
        retrained.get("loss", best["val_loss"]),
        random_children_loss=found["random_children_loss"],
        **tested,
        **costs,
    )


def run_trial(task: Task, settings: TrainSettings) -> None:
    """Run one trial with what the tuner chose for it."""
    trial = ManagedTrial()
    settings = replaced(settings, trial.parameters)
    settings.supernet.settings_for(settings.task)  # the strategy must be given by now
    domain = task.load()(settings.task)
    results = run(domain, settings, trial)
    if results:
        print(json.dumps(results["best_child"], indent=2))
