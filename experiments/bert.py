"""Train a BERT supernet on text, then search its children: one trial of an ``nnictl`` experiment.

``nnictl create --config experiments/bert_strategies.yml`` starts one trial per strategy. Alone,
without a manager, the same program trains one supernet, and continues it when it is started
again::

    python -m experiments.bert --strategy magic_at --output runs/magic_at
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nni_magic.manager.trial import ManagedTrial, one_clear_message
from nni_magic.samples import digest
from nni_magic.search import ChildEvaluator, Evolution, Population, ProgressiveShrinking
from nni_magic.search.shrinking_history import plot_history, write_history

# isort: split
from nni.mutable import Sample

from experiments.bert_training import (
    STRATEGIES,
    Parser,
    add_options,
    begin,
    check_settings,
    make_space,
    make_strategy,
    plain,
    train_supernet,
    versions,
)
from experiments.mlm import mlm_search_evaluator
from experiments.mlm_data import MlmData
from search_spaces import BertSpace

__all__ = ["STRATEGIES", "apply_parameters", "make_strategy", "parse_args", "run", "search"]


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; a parameter that the tuner gives replaces the setting of its name."""
    parser = Parser(__doc__)
    add_options(parser)
    parser.add_argument("--output", type=Path, help="for the results; by default the trial's own")
    search = parser.add_argument_group("search")
    search.add_argument("--search-children", type=int, default=1000)
    search.add_argument("--population", type=int, default=50, help="children of a generation")
    return parser.parse_args(arguments)


def apply_parameters(settings: argparse.Namespace, parameters: dict[str, Any]) -> None:
    """Let what the tuner chose replace the settings of the same names.

    Raises
    ------
    ValueError
        If a parameter is no setting or not of its type, or the strategy is unknown.
    """
    for name, value in parameters.items():
        if name not in vars(settings):
            raise ValueError(
                f"the search space has a parameter {name!r}; accepted are {sorted(vars(settings))}"
            )
        # Through the parser, because YAML reads 5e-4 as a string and quniform gives 2.0 for 2.
        words = [str(word) for word in value] if isinstance(value, list) else [_word(value)]
        option = f"--{name.replace('_', '-')}"
        chosen = parse_args([option, *words] if len(words) > 1 else [f"{option}={words[0]}"])
        setattr(settings, name, getattr(chosen, name))
    check_settings(settings)
    if not 1 <= settings.population <= settings.search_children:
        raise ValueError(
            f"population is {settings.population}; "
            f"accepted are 1 to search_children, which is {settings.search_children}"
        )


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def search(
    settings: argparse.Namespace,
    data: MlmData,
    supernet: BertSpace,
    survivor: Sample | None = None,
) -> dict[str, Any]:
    """Search the children by evolution, on the weights that they inherit.

    Parameters
    ----------
    settings, data, supernet
        The run.
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
    evaluator = mlm_search_evaluator(
        data, batch_size=settings.batch_size, trainer_kwargs={"devices": 1}
    )
    evaluate = ChildEvaluator(supernet, evaluator, n_batches=settings.search_batches)
    random_children = Population(supernet, size=settings.population, seed=settings.seed).ask()
    first = evaluate(random_children)
    if survivor is None:
        evolution = Evolution(
            generations=settings.search_children // settings.population,
            population=settings.population,
            seed=settings.seed,
            start=random_children,
        )
        ranked = evolution.search(supernet, evaluate)
    else:
        ranked = [(survivor, evaluate([survivor])[0])]
    losses = [loss for _, loss in ranked]
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
            "params": sum(p.numel() for p in supernet.freeze(best).parameters()),
        },
    }


def run(settings: argparse.Namespace, trial: ManagedTrial) -> dict[str, Any]:
    """Train, search, report and write the results; gives what it wrote.

    Under DDP all ranks train, and then one goes on alone; the others give an empty dict.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    data = begin(settings)
    space = make_space(settings, data)
    began = time.monotonic()
    strategy = train_supernet(settings, data, space, trial, settings.output)
    if not trial.is_first_rank:
        return {}
    survivor = None
    if isinstance(strategy.shrinking, ProgressiveShrinking):
        survivor = strategy.oneshot_module.export()
        write_history(strategy.shrinking.history, settings.output / "shrinking.csv")
        plot_history(strategy.shrinking.history, settings.output / "shrinking.png")
    trained = time.monotonic()
    found = search(settings, data, space, survivor)
    results = {
        "settings": plain(settings),
        "versions": versions(),
        "corpus": data.corpus_digest,
        "tokenizer": data.tokenizer_digest,
        "steps": settings.epochs * settings.epoch_steps,
        "train_seconds": round(trained - began, 1),
        "search_seconds": round(time.monotonic() - trained, 1),
        **found,
    }
    best = found["best_child"]
    (settings.output / "best_child.json").write_text(json.dumps(best, indent=2) + "\n")
    (settings.output / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    trial.report_final(
        best["val_loss"],
        random_children_loss=found["random_children_loss"],
        params=best["params"],
    )
    return results


def main() -> None:
    """Run one trial."""
    with one_clear_message():
        settings = parse_args()
        trial = ManagedTrial()
        apply_parameters(settings, trial.parameters)
        if settings.output is None:
            settings.output = Path(os.environ.get("NNI_OUTPUT_DIR", "experiments/runs/bert"))
        results = run(settings, trial)
        if results:
            print(json.dumps(results["best_child"], indent=2))


if __name__ == "__main__":
    main()
