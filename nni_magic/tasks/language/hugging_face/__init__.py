"""Children of the BERT space as models of Hugging Face's ``transformers``.

Importing this package makes them known to ``AutoConfig``, ``AutoModel...`` and, with them, to
``pipeline`` and ``Trainer``::

    import nni_magic.tasks.language.hugging_face
    from transformers import pipeline

    pipeline("fill-mask", model="children/1_<digest>/hugging_face")("Monday comes after <mask>.")
"""

import importlib.util

import nni_bootstrap  # noqa: F401

if importlib.util.find_spec("transformers") is None:
    raise ModuleNotFoundError(
        "nni_magic.tasks.language.hugging_face needs transformers: "
        "pip install nni-magic[huggingface]"
    )

from .configuration import MagicBertConfig
from .conversion import from_child
from .distilled import DistillingTrainer, TaskClassifier, TaughtChild, child_teaching
from .electra import MagicBertForElectra
from .fine_tuning import glue_metrics, glue_rows, read_mnli, to_answer, to_classify
from .folder import read_folder, write_folder, write_trained
from .heads import (
    MagicBertForMaskedLM,
    MagicBertForPreTraining,
    MagicBertForQuestionAnswering,
    MagicBertForSequenceClassification,
)
from .modeling import MagicBertModel
from .onnx import export_onnx
from .pretraining import HeldOutRows, Masking, PretrainingTrainer, TrainingRows
from .registration import register
from .resuming import check_settings, train
from .source import read_source, to_pretrain
from .squad_windows import answers, windows
from .supernet_lessons import supernet_lessons
from .tokenizer import wrapped_tokenizer

__all__ = [
    "DistillingTrainer", "HeldOutRows", "MagicBertConfig", "MagicBertForElectra",
    "MagicBertForMaskedLM", "MagicBertForPreTraining", "MagicBertForQuestionAnswering",
    "MagicBertForSequenceClassification", "MagicBertModel", "Masking", "PretrainingTrainer",
    "TaskClassifier", "TaughtChild", "TrainingRows", "answers", "check_settings", "child_teaching",
    "export_onnx", "from_child", "glue_metrics", "glue_rows", "read_folder", "read_mnli",
    "read_source", "supernet_lessons", "to_answer", "to_classify", "to_pretrain", "train",
    "windows", "wrapped_tokenizer", "write_folder", "write_trained",
]  # fmt: skip

register()
