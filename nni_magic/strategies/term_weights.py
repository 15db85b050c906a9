"""Weights that loss terms bring along: trained, saved and synchronised with the supernet's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl
from lightning_utilities.core.apply_func import apply_to_collection
from torch import nn
from torch.optim import Optimizer

from ..losses.term import LossTerm, distinct
from .finite import GuardedModule

__all__ = ["TeachableModule"]


class TeachableModule(GuardedModule):
    """The evaluator's module, with loss terms and the weights that they bring along.

    Parameters
    ----------
    training_module
        The evaluator's Lightning module.
    terms
        Of the loss.

    Attributes
    ----------
    terms : list of LossTerm
        The terms.
    term_weights : ModuleDict
        The weights of those that have some, by the names of the terms; only if there are any.
    """

    def __init__(self, training_module: pl.LightningModule, terms: Sequence[LossTerm]) -> None:
        super().__init__(training_module)
        self.terms = distinct(terms)
        own = {term.name: term.weights for term in terms if term.weights is not None}
        if any(True for weights in own.values() for _ in weights.parameters()):
            self.term_weights = nn.ModuleDict(own)

    def configure_optimizers(self) -> Any:
        """Configure as the evaluator does; the terms' weights join its first parameter group.

        Raises
        ------
        ValueError
            If there are such weights, but no optimizer.
        """
        configured = super().configure_optimizers()
        if not hasattr(self, "term_weights"):
            return configured
        found: list[Optimizer] = []
        apply_to_collection(configured, Optimizer, found.append)
        if not found:
            raise ValueError(
                f"configure_optimizers of {type(self.training_module).__name__} gives no "
                f"optimizer; accepted is one, as {', '.join(self.term_weights)} has weights to "
                "train"
            )
        found[0].param_groups[0]["params"].extend(self.term_weights.parameters())
        return configured
