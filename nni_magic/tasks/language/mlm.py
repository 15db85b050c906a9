"""Masked-language-modelling evaluator for NNI: the training recipe of a BERT-like model.

The model is called as ``model(token_ids, attention_mask=mask, positions=selected)`` and returns
logits for the selected positions only, ``(n_selected, vocab)``: the projection to the vocabulary
is most of a small model's work, and only 15 % of the positions are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import nni
import nni_bootstrap  # noqa: F401
import torch
from nni.nas.evaluator.pytorch import Lightning
from torch import Tensor
from torch.nn import functional as F

from ...support.errors import check_choice, check_count, check_number
from ...support.kinds import fits
from ..evaluators import (
    ReportingModule,
    check_ids,
    check_steps,
    every_step,
    parameter_groups,
    search_evaluator,
    training_evaluator,
)
from .masking import mask_tokens
from .mlm_data import MlmData

__all__ = [
    "OPTIMIZERS", "MaskedLanguageModel", "mlm_evaluator", "mlm_search_evaluator",
    "warmup_then_decay",
]  # fmt: skip

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def warmup_then_decay(step: int, warmup_steps: int, total_steps: int) -> float:
    """Learning rate of optimizer step ``step`` (from 0), as a share of the peak.

    Rises linearly to 1 at step ``warmup_steps - 1``, then falls linearly to 0 at
    ``total_steps``, which is the first step not taken.

    >>> [warmup_then_decay(step, 2, 6) for step in range(7)]
    [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return max(0.0, (total_steps - step) / max(1, total_steps - warmup_steps))


@nni.trace
class MaskedLanguageModel(ReportingModule):
    """Train with dynamic masking, validate on fixed masks.

    Logs ``train_loss``, ``val_loss`` (mean cross entropy of the predicted tokens, in nats) and
    ``val_accuracy`` (share predicted right). Means weigh every predicted token alike.

    Training batches are ``(batch, seq)`` ids. They are masked here with torch's global
    generator, so that a checkpoint of its state resumes with the same masks. Validation batches
    are ``(inputs, targets, selected)``.

    Parameters
    ----------
    vocab_size
        Ids are 0 to ``vocab_size - 1``.
    pad_id, mask_id
        Ids of the padding and mask tokens.
    special_ids
        All special ids: never masked, never a random replacement.
    total_steps
        Optimizer steps after which the learning rate is 0.
    warmup_steps
        Optimizer steps until the peak, at most ``total_steps``.
    learning_rate
        The peak.
    optimizer
        ``"adamw"`` (decoupled weight decay) or ``"adam"`` (as a penalty on the loss).
    betas, eps
        Adam's.
    weight_decay
        Not applied to biases and norms, which are the parameters of less than two dimensions.
    mask_probability
        Share of the positions to predict in training.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        pad_id: int,
        mask_id: int,
        special_ids: tuple[int, ...],
        total_steps: int,
        warmup_steps: int = 0,
        learning_rate: float = 5e-4,
        optimizer: str = "adamw",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        mask_probability: float = 0.15,
    ) -> None:
        """See the class."""
        super().__init__()
        check_choice("optimizer", optimizer, OPTIMIZERS)
        check_steps(total_steps, warmup_steps)
        check_number("learning_rate", learning_rate, above=0)
        check_number("weight_decay", weight_decay, at_least=0)
        check_number("eps", eps, above=0)
        check_number("mask_probability", mask_probability, above=0, at_most=1)
        check_count("vocab_size", vocab_size)
        ids = {"pad_id": (pad_id,), "mask_id": (mask_id,), "special_ids": special_ids}
        for name, each in ids.items():
            _check_ids(name, each, vocab_size)
        if not (fits(betas, Sequence[float]) and len(betas) == 2 and _are_shares(betas)):
            raise ValueError(f"betas is {betas!r}; accepted are two numbers of at least 0, below 1")
        self.pad_id = pad_id
        self.masking: dict[str, Any] = {
            "vocab_size": vocab_size,
            "mask_id": mask_id,
            "special_ids": tuple(special_ids),
            "probability": mask_probability,
        }
        self.optimizer = optimizer
        self.optimizer_settings = {"lr": learning_rate, "betas": tuple(betas), "eps": eps}
        self.weight_decay = weight_decay
        self.schedule = partial(
            warmup_then_decay, warmup_steps=warmup_steps, total_steps=total_steps
        )

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Check the ids where they are read without waiting for a GPU."""
        for ids in (batch,) if isinstance(batch, Tensor) else batch[:2]:
            check_ids("token ids", ids, self.masking["vocab_size"])
        return batch

    def forward(
        self,
        token_ids: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Call the model."""
        return self.model(token_ids, attention_mask=attention_mask, positions=positions)

    def training_step(
        self, batch: Tensor | tuple[Tensor, Tensor, Tensor], batch_idx: int
    ) -> Tensor:
        """Mask ``batch``, ``(batch, seq)`` ids, and return the loss.

        A batch of the held-out rows, on which differentiable strategies train the architecture, is
        masked already.
        """
        masked = self._mask(batch) if isinstance(batch, Tensor) else batch
        loss, logits, _ = self._predict(*masked)
        self.log("train_loss", loss, prog_bar=True, batch_size=len(logits))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of ``(inputs, targets, selected)``, each ``(batch, seq)``."""
        loss, logits, targets = self._predict(*batch)
        hits = (logits.argmax(-1) == targets).float().sum() / max(1, len(logits))
        options = {"prog_bar": True, "batch_size": len(logits), "sync_dist": True}
        self.log("val_loss", loss, **options)
        self.log("val_accuracy", hits, **options)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Adam, and a learning rate that changes with every optimizer step."""
        groups = parameter_groups(self.parameters(), self.weight_decay)
        optimizer = OPTIMIZERS[self.optimizer](groups, **self.optimizer_settings)
        return every_step(optimizer, self.schedule)

    def result(self) -> float:
        """The negative validation loss."""
        return -self.trainer.callback_metrics["val_loss"].item()

    def _mask(self, token_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        special = torch.tensor(self.masking["special_ids"], device=token_ids.device)
        maskable = ~torch.isin(token_ids, special)
        inputs, selected = mask_tokens(token_ids, maskable, **self.masking)
        return inputs, token_ids, selected

    def _predict(
        self, inputs: Tensor, targets: Tensor, selected: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        mask = inputs != self.pad_id
        logits = self.model(inputs, attention_mask=mask, positions=selected)
        targets = targets[selected]
        # A sum over max(1, n): the mean of an empty selection would be NaN.
        total = F.cross_entropy(logits.float(), targets, reduction="sum")
        return total / max(1, len(targets)), logits, targets


def mlm_evaluator(
    data: MlmData,
    *,
    total_steps: int,
    batch_size: int = 128,
    seed: int = 0,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> Lightning:
    """Make an evaluator that trains, for one-shot strategies and for children from scratch.

    Parameters
    ----------
    data
        From :func:`nni_magic.tasks.language.mlm_data.prepare`.
    total_steps
        Optimizer steps of the run: the learning rate ends there, and so does training unless
        ``trainer_kwargs`` says otherwise.
    batch_size
        Sequences in a batch, for training and validation.
    seed
        Order of the training rows. (Masks and weights follow torch's global seed.)
    num_workers
        Loader processes; 0 is quick enough for memory-mapped rows.
    trainer_kwargs
        For Lightning's Trainer.
    **settings
        For :class:`MaskedLanguageModel`.

    Raises
    ------
    ValueError
        If ``batch_size`` is larger than the training set, which would give no batch at all.
    """
    return training_evaluator(
        _module(data, total_steps=total_steps, **settings),
        data.train,
        data.validation,
        total_steps=total_steps,
        batch_size=batch_size,
        seed=seed,
        num_workers=num_workers,
        trainer_kwargs=trainer_kwargs,
    )


def mlm_search_evaluator(
    data: MlmData,
    *,
    batch_size: int = 128,
    num_workers: int = 0,
    trainer_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> Lightning:
    """Make an evaluator that only validates, for a search on inherited weights.

    In a trial of NNI it reports ``-val_loss``: strategies look for the largest result. The
    parameters are those of :func:`mlm_evaluator`; the trainer is quiet and writes nothing unless
    ``trainer_kwargs`` says otherwise.
    """
    return search_evaluator(
        _module(data, **{"total_steps": 1, **settings}),
        data.validation,
        batch_size=batch_size,
        num_workers=num_workers,
        trainer_kwargs=trainer_kwargs,
    )


def _module(data: MlmData, **settings: Any) -> MaskedLanguageModel:
    return MaskedLanguageModel(
        vocab_size=data.vocab_size,
        pad_id=data.special.pad,
        mask_id=data.special.mask,
        special_ids=data.special.every,
        **settings,
    )


def _check_ids(name: str, ids: Any, vocab_size: int) -> None:
    if not fits(ids, Sequence[int]):
        raise ValueError(f"{name} is {ids!r}; accepted are ids of tokens")
    for each in ids:
        check_count(name, each, at_least=0, at_most=vocab_size - 1)


def _are_shares(numbers: Sequence[float]) -> bool:
    return all(0 <= each < 1 for each in numbers)
