"""A child with a teacher: pre-trained on its states or logits, fine-tuned on a task's logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer
from transformers.modeling_outputs import MaskedLMOutput

from ....losses.imitation import Reading, logit_divergence
from ....supernet.hidden_states import States, hooked
from ...teaching import TaskTeacher, Teacher
from ..glue import Example, GlueTask
from .attention import attention_maps, last_attention, widths
from .fine_tuning import check_classes, glue_rows
from .heads import MagicBertForMaskedLM
from .lessons import ChildSizes, Teaching
from .teacher import TeacherFolder, TeacherModel

__all__ = ["DistillingTrainer", "TaskClassifier", "TaughtChild", "child_teaching"]

BATCH = 64
"""Texts that the teacher of a task reads at once."""


def child_teaching(
    settings: Teacher, child: MagicBertForMaskedLM, tokenizer: Tokenizer, seed: int
) -> Teaching:
    """Load the teacher of a child; see :class:`~.lessons.Teaching`."""
    config = child.config
    sizes = ChildSizes(
        config.num_hidden_layers, config.hidden_size, widths(attention_maps(child)),
        config.max_position_embeddings,
    )  # fmt: skip
    return Teaching(settings, tokenizer, sizes, seed)


class TaughtChild(nn.Module):
    """A child that imitates a teacher beside predicting masked tokens, for its training alone.

    Parameters
    ----------
    child
        The child.
    teaching
        The teacher, which is no part of this module, and what is imitated, which is.
    weight
        Factor of the loss of everything that is imitated.
    """

    def __init__(self, child: MagicBertForMaskedLM, teaching: Teaching, weight: float) -> None:
        super().__init__()
        self.child = child
        self.imitations = nn.ModuleDict(teaching.imitations)
        self._teaching = teaching
        self._weight = weight
        self._maps = attention_maps(child)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> MaskedLMOutput:
        """Predict tokens as the child does; in training the loss has the teacher's terms, too."""
        outputs: States = {}
        modules = {name: module for layer in self._maps for name, module in layer.items()}
        with hooked(modules, outputs, stop=False):
            found = self.child(
                input_ids, attention_mask, labels, **{**more, "output_hidden_states": True}
            )
        loss = found.loss
        if self.training:
            assert labels is not None
            loss = loss + self._weight * self._imitated(
                input_ids, attention_mask, labels != -100, found, outputs
            )
        return MaskedLMOutput(loss=loss, logits=found.logits)

    def _imitated(
        self, ids: Tensor, mask: Tensor | None, predicted: Tensor, found: Any, outputs: States
    ) -> Tensor:
        """The sum of all terms."""
        own = Reading(
            {n: found.hidden_states[n] for n in self._teaching.layers},
            last_attention(self._maps, outputs), found.logits[predicted],
        )  # fmt: skip
        mask = torch.ones_like(ids) if mask is None else mask
        both = self._teaching.readings(ids, mask, predicted, own)
        self._teaching.forget()
        return torch.stack([imitation(*both) for imitation in self.imitations.values()]).sum()


class TaskClassifier:
    """A classifier that was fine-tuned on a task, whose logits are imitated.

    Parameters
    ----------
    folder
        Its folder.
    task
        Whose classes it must have.

    Attributes
    ----------
    digest : str
        Of its weights.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`~.teacher.TeacherFolder`; or if it has other classes, or no classifier.
    """

    def __init__(self, folder: Path, task: GlueTask) -> None:
        self._folder, self._task = TeacherFolder(folder), task
        check_classes("teacher", folder, self._folder.config, task)
        self._model: Any = self._folder.classifier()
        self.digest = self._folder.digest

    def taught(
        self, rows: Sequence[dict[str, Any]], examples: Sequence[Example]
    ) -> list[dict[str, Any]]:
        """Add ``teacher_logits`` to a child's rows, of the same texts by the teacher's tokenizer.

        Parameters
        ----------
        rows, examples
            The rows, and what they were made of.
        """
        tokenizer, longest = self._folder.tokenizer, TeacherModel(self._model).max_length
        own = glue_rows(self._task, examples, tokenizer, longest)
        inputs = [{name: row[name] for name in ("input_ids", "attention_mask")} for row in own]
        self._model.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        logits: list[list[float]] = []
        for start in range(0, len(inputs), BATCH):
            batch = tokenizer.pad(inputs[start : start + BATCH], return_tensors="pt")
            with torch.no_grad():
                logits += self._model(**batch.to(self._model.device)).logits.float().tolist()
        return [{**row, "teacher_logits": each} for row, each in zip(rows, logits, strict=True)]


class DistillingTrainer(Trainer):
    """``Trainer`` whose model learns from the teacher's logits beside the labels.

    Classes are compared by divergence, see :func:`nni_magic.losses.imitation.logit_divergence`,
    and ratings by squared error. Rows without ``teacher_logits`` have the loss of the labels alone.

    Parameters
    ----------
    teaching
        Settings of the teacher.
    **more
        See ``transformers.Trainer``.
    """

    def __init__(self, *, teaching: TaskTeacher, **more: Any) -> None:
        super().__init__(**more)
        self._teaching = teaching

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Add the teacher's term to the loss of the labels."""
        inputs = dict(inputs)
        taught = inputs.pop("teacher_logits", None)
        loss, found = super().compute_loss(model, inputs, True, num_items_in_batch)
        if taught is not None:
            loss = loss + self._teaching.teacher_weight * self._term(found.logits, taught)
        return (loss, found) if return_outputs else loss

    def _term(self, logits: Tensor, taught: Tensor) -> Tensor:
        if logits.shape[-1] == 1:
            return F.mse_loss(logits.float(), taught.float())
        return logit_divergence(logits, taught, self._teaching.teacher_temperature).mean()
