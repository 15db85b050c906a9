r"""Base of the methods that align a child's hidden states with others.

.. math:: L = L_{pred} + \lambda \sum_{n \in A} \mathrm{MSE}(H_n, H_n(\alpha_t)) \quad [Xu2022]

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t
:math:`H_n(\cdot)`  output of layer n, residual and norm included
:math:`H_n`         the target, that :meth:`AligningModule.target` of a method gives
:math:`A`           every ``align_every`` layers, or ``aligned_layers``
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import nni_bootstrap  # noqa: F401
import torch
from nni.mutable import Sample

from ..children.samples import digest
from ..losses.alignment import MASK_ARGUMENT, Alignment
from ..samplers.base import Sampler
from ..scoring.anchor import Anchor
from ..scoring.scorer import kept_metrics, logged_to
from ..supernet.epochs import epochs_left
from ..supernet.hidden_states import States, capture_call, select_layers
from ..supernet.resume import isolated_randomness
from ..support.errors import check_count
from .base import SupernetStrategy
from .module import LossTerm, SupernetModule

__all__ = ["AlignedStrategy", "AligningModule", "AnchoredModule"]


class AligningModule(SupernetModule, abc.ABC):
    """Trains a child a step, with the alignment term; a method says what the target is."""

    def __init__(
        self,
        training_module: Any,
        sampler: Sampler,
        *,
        alignment_weight: float,
        align_every: int,
        aligned_layers: Sequence[int | str] | None,
        mask_argument: str | None,
        warmup_epochs: int,
        gradient: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, sampler, **kwargs)
        self.layers: dict[str, Any] = {"align_every": align_every, "layers": aligned_layers}
        self.alignment_settings: dict[str, Any] = {
            "weight": alignment_weight,
            "mask_argument": mask_argument,
            "gradient": gradient,
        }
        self.warmup_epochs = warmup_epochs
        self.alignment: Alignment | None = None

    @abc.abstractmethod
    def target(self, replay: Callable[[Sample], States]) -> States:
        """Hidden states to align to; ``replay`` gives those of a child for the present batch."""

    def renew_target(self) -> None:
        """Called before a step, while the child is still the one before."""

    @property
    def aligns(self) -> bool:
        """Whether there is something to align to."""
        return self.trainer.current_epoch >= self.warmup_epochs

    def loss_terms(self) -> Sequence[LossTerm]:
        """The alignment term, when there is something to align to."""
        return (cast(LossTerm, self.alignment),) if self.aligns else ()

    def on_fit_start(self) -> None:
        self.alignment = None  # its layers belong to this fit's model
        return super().on_fit_start()

    def on_train_start(self) -> None:
        epochs = self.trainer.current_epoch + epochs_left(self.trainer)
        if epochs <= self.warmup_epochs and not self.trainer.fast_dev_run:
            raise ValueError(
                f"warmup_epochs is {self.warmup_epochs}, but training ends after {epochs:.0f} "
                f"epochs, so that nothing would be aligned; pass less than {epochs:.0f}"
            )
        return super().on_train_start()

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        if self.alignment is None:
            self._prepare_alignment(batch, batch_idx)
        self.renew_target()
        return super().on_train_batch_start(batch, batch_idx, *args)

    def _prepare_alignment(self, batch: Any, batch_idx: int) -> None:
        """Choose the layers, and find out now whether all children can be aligned there."""
        children = self._covering_children()
        evaluator, precision = self.training_module, self.trainer.precision_plugin
        with isolated_randomness(), torch.no_grad(), precision.train_step_context():
            self.route(children[0])
            model = evaluator.model
            with kept_metrics(evaluator), logged_to(evaluator, lambda *args, **options: None):
                call = capture_call(model, lambda: evaluator.training_step(batch, batch_idx))
            self.alignment = Alignment(
                model,
                select_layers(model, call, **self.layers),
                self.route,
                self.target,
                **self.alignment_settings,
            )
            self.alignment.check_shapes(call, children)

    def _covering_children(self) -> list[Sample]:
        """A few valid children that together hold, most likely, all candidates of all labels."""
        children, covered = [], set[tuple[str, str]]()
        for child in self.draw_children(64, 3):
            choices = {(label, repr(choice)) for label, choice in child.items()}
            if not choices <= covered:
                covered |= choices
                children.append(child)
        return children


class AnchoredModule(AligningModule):
    """Aligns to one child, the anchor; a method says when it changes."""

    def __init__(
        self, training_module: Any, sampler: Sampler, *, anchor_candidates: int, **kwargs: Any
    ) -> None:
        super().__init__(training_module, sampler, **kwargs)
        self.anchor_candidates = anchor_candidates
        self.anchor = Anchor(self.leaderboard.score, self.scorer.mode)

    @abc.abstractmethod
    def renew_anchor(self) -> None:
        """Elect or replace the anchor if it is time to."""

    def renew_target(self) -> None:
        self.renew_anchor()
        if self.anchor.sample is not None and self.log_is_due:
            self.log_dict(
                {
                    "anchor/digest": float(int(digest(self.anchor.sample)[:6], 16)),
                    "anchor/score": self.anchor.last_score,
                    "anchor/replacements": float(self.anchor.replacements),
                }
            )

    def target(self, replay: Callable[[Sample], States]) -> States:
        """The anchor's hidden states."""
        return replay(cast(Sample, self.anchor.sample))

    @property
    def aligns(self) -> bool:
        """Whether there is an anchor."""
        return self.anchor.sample is not None

    def on_fit_start(self) -> None:
        if not self.replay.pending:
            self.anchor = Anchor(self.leaderboard.score, self.scorer.mode)
        return super().on_fit_start()

    def restrict(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        """Keep only some candidates; an anchor that holds one of the others is replaced."""
        super().restrict(allowed, ranked)
        anchor = self.anchor.sample
        if anchor is not None and any(anchor[label] not in allowed[label] for label in allowed):
            best = [sample for sample, _ in ranked[:1]]
            self.anchor.elect(best or self.draw_children(self.anchor_candidates, 2))

    def validated_children(self) -> Sequence[Sample]:
        """The anchor, once there is one."""
        return self.panel if self.anchor.sample is None else [self.anchor.sample]

    def state(self) -> dict[str, Any]:
        return {**super().state(), "anchor": self.anchor.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.anchor.load_state_dict(state["anchor"])


class AlignedStrategy(SupernetStrategy):
    """Base of the strategies that align hidden states.

    Parameters
    ----------
    alignment_weight
        λ, the weight of the alignment term.
    align_every
        Align every so many layers: with 4 the layers 4, 8, 12, ...
    aligned_layers
        Instead, exactly these layers: by number, from 1, or by module name.
        See :func:`nni_magic.supernet.hidden_states.select_layers` for what counts as a layer.
    mask_argument
        Argument of the model's ``forward`` that holds the padding mask, nonzero where real.
    warmup_epochs
        Epochs on the prediction loss alone before children are aligned.
    **kwargs
        See :class:`nni_magic.strategies.base.SupernetStrategy`.
    """

    def __init__(
        self,
        *,
        alignment_weight: float = 0.5,
        align_every: int = 4,
        aligned_layers: Sequence[int | str] | None = None,
        mask_argument: str | None = MASK_ARGUMENT,
        warmup_epochs: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not alignment_weight >= 0:
            raise ValueError(f"alignment_weight is {alignment_weight!r}; it must not be negative")
        check_count("warmup_epochs", warmup_epochs, at_least=0)
        check_count("align_every", align_every)
        self.alignment: dict[str, Any] = {
            "alignment_weight": alignment_weight,
            "align_every": align_every,
            "aligned_layers": aligned_layers,
            "mask_argument": mask_argument,
            "warmup_epochs": warmup_epochs,
        }

    def module_settings(self) -> dict[str, Any]:
        return {**super().module_settings(), **self.alignment}
