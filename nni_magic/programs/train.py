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
import logging
import math
import os
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from ..children.samples import digest
from ..export.children import FORMATS, check_formats
from ..manager.generations import Generations
from ..manager.trial import ManagedTrial
from ..scoring.scored import ScoredChild
from ..search import ChildEvaluator, ProgressiveShrinking
from ..search.prediction import population_of
from ..search.shrinking_history import plot_history, write_history
from ..support.compat import freeze
from ..support.files import filled_folder, write_json
from ..support.flops import count_params
from ..support.locks import sole_writer
from ..tasks.domain import Domain
from ..tasks.registry import Task
from .clock import Clock, TimedEpochs
from .concerns import Search
from .exporting import write_child
from .made_with import scored_with
from .options import flat, plain, replaced
from .settings import TrainSettings
from .training import check_retraining, train_child, train_supernet

__all__ = ["run", "run_trial", "search"]

_logger = logging.getLogger(__name__)


def search(
    domain: Domain,
    settings: Search,
    supernet: ModelSpace,
    folder: Path,
    clock: Clock,
    survivor: Sample | None = None,
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
    folder
        Of its ``supernet.ckpt``; every generation that is scored is kept there, in ``search.json``,
        and a search that is started again continues behind it.
    clock
        Times the generations.
    survivor
        The child that the training has chosen: there is nothing else to search.

    Returns
    -------
    dict
        The best child, and the validation loss of the random children that evolution begins
        with. These are the same for every strategy, so their mean compares the supernets.

    Raises
    ------
    ValueError
        If losses are not numbers: the training has diverged. Or if the folder holds another
        search, or a longer one.
    """
    evaluate = domain.child_evaluator(supernet)
    size, seed = settings.population, domain.settings.seed
    population = population_of(
        settings.search_by, supernet, size=size, seed=seed, filter=domain.filter
    )
    random_children = population.ask()
    made_with = {**scored_with(domain, folder / "supernet.ckpt"), "population": size, "seed": seed}
    if settings.search_by != "evolution":
        made_with["search_by"] = settings.search_by
    generations = Generations(folder, population, made_with)
    n = settings.search_children // size if survivor is None else 1
    ranked = _evolved(generations, n, evaluate, domain, clock)
    scores = {digest(child.sample): child.score for child in ranked}
    first = [scores[digest(sample)] for sample in random_children]
    if survivor is not None:
        ranked = [ScoredChild(survivor, *_finite(evaluate([survivor]), domain))]
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


def _evolved(
    generations: Generations, n: int, evaluate: ChildEvaluator, domain: Domain, clock: Clock
) -> list[ScoredChild]:
    """Score what is missing of so many generations, and give all children, best first."""
    kept, size = len(generations.reports), generations.population.size
    if kept > n:
        raise ValueError(
            f"search_children is less than {kept * size}, though so many are scored already; "
            f"accepted are at least as many, or move {str(generations.folder / 'search.json')!r} "
            "away to search anew"
        )
    clock.begin(anew=None if kept else "search")
    for number in range(kept + 1, n + 1):
        if not (children := generations.population.ask()):
            _logger.info("No further child is found; the search ends")
            break
        scores = _finite(evaluate(children), domain)
        clock.add("search")
        report = generations.complete(number, scores)
        _logger.info(
            "Generation %d of %d: %d children scored, the best has %.6g",
            number, n, len(children), report["default"],
        )  # fmt: skip
    return generations.population.best()


def _finite(losses: list[float], domain: Domain) -> list[float]:
    """Give losses that are all numbers, or raise a ``ValueError``."""
    if diverged := sum(not math.isfinite(loss) for loss in losses):
        raise ValueError(
            f"{diverged} of {len(losses)} children have no finite validation loss: the training "
            f"has diverged; learning_rate is {domain.settings.learning_rate}, try a smaller one"
        )
    return losses


def run(domain: Domain, settings: TrainSettings, trial: ManagedTrial) -> dict[str, Any]:
    """Train, search, train the best child, report and write the results; gives what it wrote.

    Under DDP all ranks train the supernet, and then one goes on alone; the others give an empty
    dict.

    Raises
    ------
    ValueError
        If another run writes into the folder.
    """
    output = settings.output or _default_folder(domain)
    with (
        filled_folder("output", output) as folder,
        filled_folder("cache", settings.task.cache),
        sole_writer(folder, "output") if trial.is_first_rank else nullcontext(),
    ):
        return _run(domain, settings, trial, folder)


def _run(
    domain: Domain, settings: TrainSettings, trial: ManagedTrial, folder: Path
) -> dict[str, Any]:
    if settings.export:
        check_formats(FORMATS)
    if settings.retraining.retrain_epochs:
        check_retraining(domain, settings.retraining)
    clock = Clock(folder / "seconds.json")
    timed = [TimedEpochs(clock, part) for part in ("train", "retrain") if trial.is_first_rank]
    space = domain.seeded_space()
    strategy = train_supernet(
        domain, settings.supernet, space, trial, folder, logs=folder,
        shrinking=settings.shrinking, teacher=settings.teaching, callbacks=timed[:1],
    )  # fmt: skip
    if not trial.is_first_rank:
        return {}
    survivor = strategy.oneshot_module.export() if strategy.finds_child else None
    if isinstance(strategy.shrinking, ProgressiveShrinking):
        survivor = strategy.oneshot_module.export()
        write_history(strategy.shrinking.history, folder / "shrinking.csv")
        plot_history(strategy.shrinking.history, folder / "shrinking.png")
    found = search(domain, settings.search, space, folder, clock, survivor)
    best = found["best_child"]
    write_json(folder / "best_child.json", best)
    child = None
    if settings.retraining.retrain_epochs:
        where = folder / "retrained"
        checkpoint = where / f"{digest(best['sample'])}.ckpt"
        child, found["retrained"] = train_child(
            domain, settings.retraining, best["sample"], trial, checkpoint, where, timed[1:],
            devices=1, num_nodes=1, strategy="auto",
        )  # fmt: skip
    if settings.export:
        found["exported"] = str(_exported(domain, settings, space, folder, found, child))
    results = {
        "settings": {**plain(flat(settings)), "output": str(folder)},
        "versions": domain.versions(),
        **domain.describe(),
        "steps": domain.settings.epochs * domain.settings.epoch_steps,
        **{f"{part}_seconds": round(seconds, 1) for part, seconds in clock.seconds.items()},
        **found,
    }
    write_json(folder / "results.json", results)
    report(trial, found)
    return results


def _exported(
    domain: Domain,
    settings: TrainSettings,
    supernet: ModelSpace,
    folder: Path,
    found: dict[str, Any],
    trained: ModelSpace | None,
) -> Path:
    """Export the best child: as it was trained from scratch, or with the weights it inherits."""
    sample = found["best_child"]["sample"]
    if trained is None:
        child = domain.child_evaluator(supernet).child(sample)
        score, metric = found["best_child"]["val_loss"], "val_loss"
        checkpoint = folder / "supernet.ckpt"
    else:
        child, score, metric = trained, found["retrained"]["loss"], "test_loss"
        checkpoint = folder / "retrained" / f"{digest(sample)}.ckpt"
    return write_child(
        domain, settings, child, sample, score, folder / "children",
        metric=metric, checkpoint=checkpoint,
    )  # fmt: skip


def _default_folder(domain: Domain) -> Path:
    """The folder of the trial, or without a manager one with the name of the task."""
    return Path(os.environ.get("NNI_OUTPUT_DIR", f"runs/{type(domain).__name__.lower()}"))


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
