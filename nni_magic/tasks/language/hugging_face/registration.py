"""Make the models known to ``AutoConfig``, ``AutoModel...`` and ``AutoTokenizer``."""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from .configuration import MagicBertConfig
from .heads import (
    MagicBertForMaskedLM,
    MagicBertForPreTraining,
    MagicBertForQuestionAnswering,
    MagicBertForSequenceClassification,
)
from .modeling import MagicBertModel

__all__ = ["AUTO_CLASSES", "register"]

AUTO_CLASSES = {
    AutoModel: MagicBertModel,
    AutoModelForMaskedLM: MagicBertForMaskedLM,
    AutoModelForPreTraining: MagicBertForPreTraining,
    AutoModelForQuestionAnswering: MagicBertForQuestionAnswering,
    AutoModelForSequenceClassification: MagicBertForSequenceClassification,
}


def register() -> None:
    """Register configuration and models; once more changes nothing."""
    AutoConfig.register(MagicBertConfig.model_type, MagicBertConfig, exist_ok=True)
    for auto, model in AUTO_CLASSES.items():
        auto.register(MagicBertConfig, model, exist_ok=True)
