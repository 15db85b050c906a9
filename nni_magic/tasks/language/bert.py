"""BERT supernets and children on text: what the programs on this space share."""

from __future__ import annotations

import dataclasses
import importlib
from functools import cached_property
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler.pytorch.flops import NumParamsProfiler
from torch.utils.data import DataLoader, Subset

from search_spaces import BertSpace
from search_spaces.bert import PRESETS

from ..domain import Domain
from ..teaching import Lessons, Teacher
from .mlm import mlm_evaluator, mlm_search_evaluator
from .mlm_data import MlmData, prepare
from .preprocessing import TextPreprocessing
from .settings import BertSettings

__all__ = ["Bert"]


class Bert(Domain):
    """The BERT space, trained on text by masked-language modelling."""

    settings: BertSettings
    settings_type = BertSettings
    data: MlmData
    row = "sequence"
    baseline_name = "bert"
    accuracy = "val_accuracy"
    packages = (*Domain.packages, "tokenizers")

    def load(self) -> MlmData:
        settings = self.settings
        shape = {**PRESETS[settings.preset], **self.space}
        corpus = list(settings.corpus) if len(settings.corpus) > 1 else settings.corpus[0]
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

    def preprocessing(self) -> TextPreprocessing:
        return TextPreprocessing(self.data.tokenizer, self.data.max_length)

    def export_options(self) -> dict[str, Any]:
        """Inputs with a mask, of any length; ONNX has the names of Hugging Face's tokenizers."""
        length = self.data.max_length
        token_ids = torch.arange(2 * length).reshape(2, length) % self.data.vocab_size
        mask = torch.arange(length) < torch.tensor([[length], [max(1, length // 4)]])
        return {
            "kwargs": {"token_ids": token_ids, "attention_mask": mask.long()},
            "any_size": (1,),
            "onnx_names": ("input_ids", "attention_mask"),
            "beside": self.preprocessing().write,
        }

    def baseline(self) -> Sample:
        """Attention and feed-forward layers in turns, as in BERT."""
        space = self.make_space().simplify()
        names = list(next(iter(space.values())).values)
        attention = next(name for name in names if name.startswith("mha"))
        feed_forward = next(name for name in names if name.startswith("ffn"))
        return {label: (attention, feed_forward)[i % 2] for i, label in enumerate(space)}

    def lessons(self, teacher: Teacher, space: ModelSpace) -> Lessons:
        package = importlib.import_module(".hugging_face", __package__)
        found: Lessons = package.supernet_lessons(teacher, self.data, space, self.settings.seed)
        return found

    @cached_property
    def filter(self) -> dict[str, Any] | None:
        """No more parameters than the budget, if there is one."""
        budget = self.settings.params
        return None if budget is None else {"profiler": self._profiler, "max": budget}

    @property
    def filter_beside_baseline(self) -> Any:
        """No more parameters than the baseline, nor than the budget."""
        most = self._profiler.profile(self.baseline())
        return {"profiler": self._profiler, "max": min(most, self.settings.params or most)}

    @cached_property
    def _profiler(self) -> NumParamsProfiler:
        return NumParamsProfiler(self.make_space(), (self.example(),))

    def evaluator(self, **settings: Any) -> Lightning:
        return mlm_evaluator(self._search_data(), optimizer=self.settings.optimizer, **settings)

    def search_evaluator(self, **settings: Any) -> Lightning:
        return mlm_search_evaluator(self._search_data(), **settings)

    def _search_rows(self) -> int:
        return self.settings.validation_batches * self.settings.batch_size

    def _search_data(self) -> MlmData:
        """The data with only those held-out rows that score children, whatever the devices."""
        validation = self.data.validation
        rows = range(min(self._search_rows(), len(validation)))
        return dataclasses.replace(self.data, validation=Subset(validation, rows))

    def test_data(self) -> DataLoader:
        """The held-out rows after those that score children."""
        settings, validation = self.settings, self.data.validation
        rows = range(self._search_rows(), len(validation))
        if not rows:
            raise ValueError(
                f"validation_batches is {settings.validation_batches} of {settings.batch_size} "
                f"rows, and the corpus has {len(validation)} held-out rows: none is left to test on"
            )
        return DataLoader(Subset(validation, rows), settings.batch_size)
