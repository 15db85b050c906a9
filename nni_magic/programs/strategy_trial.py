"""Train a supernet, search its children, train the best one: a trial that compares strategies.

The programs of the spaces give it their :class:`~nni_magic.programs.training.Domain`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace

from ..children.samples import digest
from ..manager.trial import ManagedTrial, one_clear_message
from ..scoring.scored import ScoredChild
from ..search import Evolution, Population, ProgressiveShrinking
from ..search.shrinking_history import plot_history, write_history
from ..support.records import count_params
from ..tasks.domain import Domain
from .options import add_retraining_options, plain
from .training import check_retraining, train_child, train_supernet

__all__ = ["add_search_options", "apply_parameters", "run", "run_trial", "search"]

Parse = Callable[[list[str] | None], argparse.Namespace]
Check = Callable[[argparse.Namespace], None]


def add_search_options(parser: argparse.ArgumentParser, retrain_epochs: int = 0) -> None:
    """Add what the search and the training of the best child need."""
    parser.add_argument("--output", type=Path, help="for the results; by default the trial's own")
    search = parser.add_argument_group("search")
    search.add_argument("--search-children", type=int, default=1000)
    search.add_argument("--population", type=int, default=50, help="children of a generation")
    add_retraining_options(parser, retrain_epochs)


def apply_parameters(
    settings: argparse.Namespace, parameters: dict[str, Any], parse: Parse, check: Check
) -> None:
    """Let what the tuner chose replace the settings of the same names.

    Parameters
    ----------
    settings
        The command line.
    parameters
        What the tuner chose.
    parse
        Reads a command line.
    check
        Raises an error for names that are not known.

    Raises
    ------
    ValueError
        If a parameter is no setting or not of its type, or a setting is not accepted.
    """
    for name, value in parameters.items():
        if name not in vars(settings):
            raise ValueError(
                f"the search space has a parameter {name!r}; accepted are {sorted(vars(settings))}"
            )
        is_flag = isinstance(getattr(settings, name), bool)
        setattr(settings, name, _flag(name, value) if is_flag else _parsed(name, value, parse))
    check(settings)
    if not 1 <= settings.population <= settings.search_children:
        raise ValueError(
            f"population is {settings.population}; "
            f"accepted are 1 to search_children, which is {settings.search_children}"
        )


def _flag(name: str, value: Any) -> bool:
    """Check the value of a flag, which has none on the command line."""
    if not isinstance(value, bool):
        raise ValueError(f"parameter {name!r} is {value!r}; accepted are true and false")
    return value


def _parsed(name: str, value: Any, parse: Parse) -> Any:
    """Read a value by the parser: YAML has 5e-4 as a string, and quniform gives 2.0 for 2."""
    words = [str(word) for word in value] if isinstance(value, list) else [_word(value)]
    option = f"--{name.replace('_', '-')}"
    chosen = parse([option, *words] if len(words) > 1 else [f"{option}={words[0]}"])
    return getattr(chosen, name)


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def search(domain: Domain, supernet: ModelSpace, survivor: Sample | None = None) -> dict[str, Any]:
    """Search the children by evolution, on the weights that they inherit.

    Parameters
    ----------
    domain
        What was trained.
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
    settings = domain.settings
    evaluate = domain.child_evaluator(supernet)
    random_children = Population(
        supernet, size=settings.population, seed=settings.seed, filter=domain.filter
    ).ask()
    first = evaluate(random_children)
    if survivor is None:
        evolution = Evolution(
            generations=settings.search_children // settings.population,
            population=settings.population,
            seed=settings.seed,
            filter=domain.filter,
            start=random_children,
        )
        ranked = evolution.search(supernet, evaluate)
    else:
        ranked = [ScoredChild(survivor, evaluate([survivor])[0])]
    losses = [child.score for child in ranked]
    if diverged := sum(not math.isfinite(loss) for loss in losses):
        raise ValueError(
            f"{diverged} of {len(losses)} children have no finite validation loss: the training "
            f"has diverged; learning_rate is {settings.learning_rate}, try a smaller one"
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
            "params": count_params(supernet.freeze(best)),
            **domain.costs(best),
        },
    }


def run(domain: Domain, trial: ManagedTrial) -> dict[str, Any]:
    """Train, search, train the best child, report and write the results; gives what it wrote.

    Under DDP all ranks train the supernet, and then one goes on alone; the others give an empty
    dict.
    """
    settings = domain.settings
    settings.output.mkdir(parents=True, exist_ok=True)
    space = domain.make_space()
    if settings.retrain_epochs:
        check_retraining(domain)
    clock = Clock()
    strategy = train_supernet(domain, space, trial, settings.output)
    if not trial.is_first_rank:
        return {}
    survivor = None
    if isinstance(strategy.shrinking, ProgressiveShrinking):
        survivor = strategy.oneshot_module.export()
        write_history(strategy.shrinking.history, settings.output / "shrinking.csv")
        plot_history(strategy.shrinking.history, settings.output / "shrinking.png")
    clock("train")
    found = search(domain, space, survivor)
    best = found["best_child"]
    (settings.output / "best_child.json").write_text(json.dumps(best, indent=2) + "\n")
    clock("search")
    if settings.retrain_epochs:
        found["retrained"] = retrain(domain, best["sample"], trial)
        clock("retrain")
    results = {
        "settings": plain(settings),
        "versions": domain.versions(),
        **domain.describe(),
        "steps": settings.epochs * settings.epoch_steps,
        **clock.seconds,
        **found,
    }
    (settings.output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    report(trial, found)
    return results


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


def retrain(domain: Domain, sample: Sample, trial: ManagedTrial) -> dict[str, float]:
    """Train the best child from scratch, on one device; gives its loss and accuracy in the test."""
    folder = domain.settings.output / "retrained"
    _, metrics = train_child(
        domain, sample, trial, folder / f"{digest(sample)}.ckpt", folder, devices=1, strategy="auto"
    )
    return metrics


def report(trial: ManagedTrial, found: dict[str, Any]) -> None:
    """Report the loss of the best child, trained from scratch if it was."""
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


def run_trial(parse: Parse, check: Check, domain: type[Domain]) -> None:
    """Run one trial as its program's ``main``."""
    with one_clear_message():
        settings = parse(None)
        trial = ManagedTrial()
        apply_parameters(settings, trial.parameters, parse, check)
        if settings.output is None:
            default = f"experiments/runs/{domain.__name__.lower()}"
            settings.output = Path(os.environ.get("NNI_OUTPUT_DIR", default))
        results = run(domain(settings), trial)
        if results:
            print(json.dumps(results["best_child"], indent=2))
