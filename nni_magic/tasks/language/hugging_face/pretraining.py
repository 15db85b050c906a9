"""Pre-train a child on text, by masked-language modelling or as ELECTRA's discriminator.

Masks are drawn where the loss is computed, from the generators whose state is in a checkpoint. A
data loader works ahead, so that masks drawn there would not be the same after a kill.
"""

from __future__ import annotations

import math
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import (
    DataCollatorForLanguageModeling,
    EvalPrediction,
    PreTrainedTokenizerFast,
    Trainer,
)

from ..masking import mask_tokens
from ..mlm_data import MlmData

__all__ = ["HeldOutRows", "Masking", "PretrainingTrainer", "TrainingRows", "perplexity", "row_sums"]


class Masking:
    """Masks a batch: tokens on their own, or whole words.

    Parameters
    ----------
    tokenizer
        Its vocabulary tells where words begin.
    data
        What is trained on.
    probability
        Share of tokens to predict, in (0, 1].
    whole_words
        Words are masked as ``transformers`` does it: every token of one becomes the mask token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        data: MlmData,
        probability: float = 0.15,
        *,
        whole_words: bool = False,
    ) -> None:
        self._data = data
        self._probability = probability
        self._collator = None
        if whole_words:
            self._collator = DataCollatorForLanguageModeling(
                tokenizer, whole_word_mask=True, mlm_probability=probability,
                mask_replace_prob=1.0, random_replace_prob=0.0,
            )  # fmt: skip
            names = tokenizer.convert_ids_to_tokens(list(range(data.vocab_size)))
            is_word_piece = any(name.startswith("##") for name in names)
            self._begins = torch.tensor(
                [not name.startswith("##") if is_word_piece else name[:1] in "ĠĊ" for name in names]
            )

    def __call__(self, token_ids: Tensor) -> dict[str, Tensor]:
        """Mask ``(batch, seq)`` ids; gives ``input_ids``, ``attention_mask`` and ``labels``."""
        special = torch.tensor(self._data.special.every, device=token_ids.device)
        maskable = ~torch.isin(token_ids, special)
        if self._collator is None:
            inputs, selected = mask_tokens(
                token_ids, maskable, vocab_size=self._data.vocab_size,
                mask_id=self._data.special.mask, special_ids=self._data.special.every,
                probability=self._probability,
            )  # fmt: skip
            labels = token_ids.masked_fill(~selected, -100)
        else:
            on_cpu = token_ids.cpu()
            masked = self._collator.torch_mask_tokens(
                on_cpu.clone(), (~maskable).cpu(), self._offsets(on_cpu)
            )
            inputs, labels = (one.to(token_ids.device) for one in masked)
        attention_mask = (token_ids != self._data.special.pad).long()
        return {"input_ids": inputs, "attention_mask": attention_mask, "labels": labels}

    def _offsets(self, token_ids: Tensor) -> Tensor:
        """Places in a text that has one character a token, and a gap before every word."""
        begins = self._begins[token_ids].long()
        starts = torch.arange(token_ids.shape[1]) + begins.cumsum(-1)
        return torch.stack([starts, starts + 1], dim=-1)


class TrainingRows(Dataset):
    """Rows as a batch of ``Trainer`` has them, not masked yet."""

    def __init__(self, data: MlmData) -> None:
        self._rows = data.train

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"input_ids": self._rows[index]}


class HeldOutRows(Dataset):
    """Held-out rows, whose masks never change."""

    def __init__(self, data: MlmData, at_most: int) -> None:
        self._rows, self._pad = data.validation, data.special.pad
        self._length = min(at_most, len(data.validation))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        inputs, targets, selected = self._rows[index]
        labels = targets.masked_fill(~selected, -100)
        return {
            "input_ids": inputs, "attention_mask": (targets != self._pad).long(), "labels": labels,
        }  # fmt: skip


class PretrainingTrainer(Trainer):
    """``Trainer`` that masks its batches.

    Parameters
    ----------
    masking
        Masks those that train; held-out rows are masked already.
    **more
        See ``transformers.Trainer``.
    """

    def __init__(self, *, masking: Masking, **more: Any) -> None:
        super().__init__(
            **more, compute_metrics=perplexity, preprocess_logits_for_metrics=row_sums
        )
        self._masking = masking
        # Ranks draw masks and dropout of their own; all shuffle by ``data_seed``.
        torch.manual_seed(self.args.seed + self.args.process_index)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Mask, and take the mean over the masked tokens of this batch, which may be none."""
        if model.training:
            inputs = self._masking(inputs["input_ids"])
        count = (inputs["labels"] != -100).sum().clamp(min=1)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch=count)


def row_sums(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the losses of each row, so that no logits are kept: ``(batch, 2)``, sum and number."""
    losses = F.cross_entropy(logits.transpose(1, 2).float(), labels, reduction="none")
    return torch.stack([losses.sum(-1), (labels != -100).sum(-1).to(losses.dtype)], dim=-1)


def perplexity(found: EvalPrediction) -> dict[str, float]:
    """Perplexity of the masked tokens: the exponential of their mean loss."""
    total, count = torch.as_tensor(found.predictions).double().sum(0).tolist()
    return {"perplexity": math.exp(min(total / max(count, 1), 700.0))}
