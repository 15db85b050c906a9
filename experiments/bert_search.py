"""The whole pipeline on the BERT space, as the trials of one ``nnictl`` experiment.

``nnictl create --config experiments/bert_search.yml`` trains a supernet, searches its children by
evolution on inherited weights, and trains the best ones from scratch beside a hand-made baseline.
Which of these a trial does is what :class:`nni_magic.manager.tuner.MagicTuner` gives it; see
:mod:`nni_magic.manager.pipeline` for the files.

The baseline ``bert`` alternates attention and feed-forward layers, as BERT does. Children are
searched among those that have no more parameters than the baseline.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from nni_magic.checkpoint import load_supernet
from nni_magic.manager.pipeline import Pipeline
from nni_magic.manager.trial import ManagedTrial, one_clear_message
from nni_magic.search import ChildEvaluator, Population

# isort: split
import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.profiler.pytorch.flops import NumParamsProfiler
from nni.nas.space import model_context

from experiments.bert_training import (
    Parser,
    add_options,
    begin,
    check_settings,
    make_space,
    plain,
    train_child,
    train_supernet,
    untouched_rows,
)
from experiments.mlm import mlm_search_evaluator
from experiments.mlm_data import MlmData
from nni_magic.export import export_child
from nni_magic.records import provenance


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; they are the same for all trials of an experiment."""
    parser = Parser(__doc__)
    add_options(parser)
    parser.add_argument("--population", type=int, default=50, help="children of a generation")
    parser.add_argument("--retrain-epochs", type=int, default=5, help="of a found child")
    settings = parser.parse_args(arguments)
    check_settings(settings)
    return settings


class BertPipeline:
    """What the stages of the pipeline do on the BERT space.

    Parameters
    ----------
    settings
        The command line; ``output`` is the folder of this trial.
    trial
        The line to the manager.
    folder
        Where the trials of the experiment share files.
    """

    def __init__(self, settings: argparse.Namespace, trial: ManagedTrial, folder: Path) -> None:
        self.settings = settings
        self.trial = trial
        self.folder = folder
        self.checkpoint = folder / "supernet.ckpt"

    @cached_property
    def data(self) -> MlmData:
        """The text; to load it also seeds this process."""
        data = begin(self.settings)
        untouched_rows(self.settings, data)  # now, and not when the first child is trained
        return data

    def baseline(self) -> Sample:
        """Attention and feed-forward layers in turns."""
        space = make_space(self.settings, self.data).simplify()
        names = list(next(iter(space.values())).values)
        attention = next(name for name in names if name.startswith("mha"))
        feed_forward = next(name for name in names if name.startswith("ffn"))
        return {label: (attention, feed_forward)[i % 2] for i, label in enumerate(space)}

    # The stages

    def train_supernet(self) -> Mapping[str, float]:
        """Train it into the shared folder; its metric is the loss of the best child known."""
        strategy = train_supernet(
            self.settings, self.data, make_space(self.settings, self.data), self.trial, self.folder
        )
        best = next(strategy.list_models()).metrics.final
        return {"default": best}

    def population(self) -> Population:
        """Children with no more parameters than the baseline."""
        space = make_space(self.settings, self.data)
        params = NumParamsProfiler(space, (self._tokens(),))
        return Population(
            space,
            size=self.settings.population,
            seed=self.settings.seed,
            filter={"profiler": params, "max": params.profile(self.baseline())},
        )

    @cached_property
    def score(self) -> ChildEvaluator:
        """Scores children with the weights that they inherit from the supernet."""
        supernet = load_supernet(self.checkpoint, make_space(self.settings, self.data))
        evaluator = mlm_search_evaluator(
            self.data, batch_size=self.settings.batch_size, trainer_kwargs={"devices": 1}
        )
        return ChildEvaluator(supernet, evaluator, n_batches=self.settings.search_batches)

    def retrain(self, child: Sample) -> Mapping[str, float]:
        """Train a found child from scratch, and export it."""
        return self._train(child, "children", rank=self.trial.parameters["rank"])

    def train_baseline(self, name: str) -> Mapping[str, float]:
        """Train the baseline as a found child is."""
        if name != "bert":
            raise ValueError(f"baseline is {name!r}; accepted is bert")
        return self._train(self.baseline(), "baseline", rank=1)

    def _train(self, sample: Sample, kind: str, rank: int) -> Mapping[str, float]:
        pl.seed_everything(self.settings.seed, verbose=False)
        with model_context(sample):
            child = make_space(self.settings, self.data)
        name = f"{kind}_{rank}"
        metrics = train_child(
            self.settings, self.data, child, self.trial, self.folder, name,
            self.settings.retrain_epochs,
        )  # fmt: skip
        if not self.trial.is_first_rank:
            return {}
        folder = export_child(
            child,
            sample,
            metrics["val_loss"],
            self.folder / kind,
            rank=rank,
            space=make_space(self.settings, self.data),
            metric="val_loss",
            args=(self._tokens(),),
            provenance=provenance(
                seed=self.settings.seed,
                checkpoint=self.folder / f"{name}.ckpt",
                settings=plain(self.settings),
            ),
        )
        record = json.loads((folder / "child.json").read_text())
        return {
            "default": metrics["val_loss"],
            "accuracy": metrics["val_accuracy"],
            "params": record["params"],
            "flops": record["flops"],
        }

    def _tokens(self) -> torch.Tensor:
        return torch.zeros(2, self.data.max_length, dtype=torch.long)


def main() -> None:
    """Run one trial."""
    with one_clear_message():
        settings = parse_args()
        trial = ManagedTrial()
        settings.output = Path(os.environ["NNI_OUTPUT_DIR"])
        pipeline = Pipeline(trial)
        work = BertPipeline(settings, trial, pipeline.folder)
        pipeline.run(
            train_supernet=work.train_supernet,
            population=work.population,
            score=lambda samples: work.score(samples),
            retrain=work.retrain,
            train_baseline=work.train_baseline,
        )


if __name__ == "__main__":
    main()
