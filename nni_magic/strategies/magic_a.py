r"""MAGIC-A: align every child's hidden states with those of the best child [Xu2022, Sec. 4].

.. math::
    L = L_{pred} + \lambda \sum_{n \in A} \mathrm{MSE}(H_n(\alpha^l), H_n(\alpha_t))

==================  ====================================================================
:math:`\alpha_t`    ``SupernetModule.child``: trained at step t, uniform as in SPOS
:math:`\alpha^l`    ``Anchor.sample``: the top-performing child
:math:`H_n`         output of layer n, residual and norm included
:math:`A`           every ``align_every`` layers, or ``aligned_layers``
:math:`\lambda`     ``alignment_weight``
==================  ====================================================================

After ``warmup_epochs`` on the prediction loss alone, ``anchor_candidates`` random children are
scored and the best becomes the anchor. Every ``anchor_interval`` steps the child just trained
challenges it; the better of the two, on the same weights and held-out batches, stays.

Differences from the paper: it compares at every step (``anchor_interval=1``); with the defaults
the comparisons, two children on four batches in 100 steps, cost less than 3 % of training.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from nni.mutable import Sample

from ..alignment import Alignment
from ..anchor import Anchor
from ..hidden_states import capture_call, select_layers
from ..resume import isolated_randomness
from ..samples import digest
from ..sampling import Sampler
from .module import LossTerm, SupernetModule
from .supernet import SupernetStrategy, check_positive

__all__ = ["MagicA"]


class AlignedSupernetModule(SupernetModule):
    """Trains a child a step, with the alignment term and the anchor that it needs."""

    def __init__(
        self,
        training_module: Any,
        sampler: Sampler,
        *,
        alignment_weight: float,
        align_every: int,
        aligned_layers: Sequence[int | str] | None,
        mask_argument: str | None,
        anchor_gradient: bool,
        warmup_epochs: int,
        anchor_interval: int,
        anchor_candidates: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(training_module, sampler, **kwargs)
        self.layers: dict[str, Any] = {"align_every": align_every, "layers": aligned_layers}
        self.alignment_settings: dict[str, Any] = {
            "weight": alignment_weight,
            "mask_argument": mask_argument,
            "gradient": anchor_gradient,
        }
        self.warmup_epochs = warmup_epochs
        self.anchor_interval = anchor_interval
        self.anchor_candidates = anchor_candidates
        self.anchor = Anchor(self.leaderboard.score, self.scorer.mode)
        self.alignment: Alignment | None = None

    def on_fit_start(self) -> None:
        self.alignment = None  # its layers belong to this fit's model
        if not self.replay.pending:
            self.anchor = Anchor(self.leaderboard.score, self.scorer.mode)
        return super().on_fit_start()

    def on_train_batch_start(self, batch: Any, batch_idx: int, *args: Any) -> Any:
        if self.alignment is None:
            self._prepare_alignment(batch, batch_idx)
        if self.anchor.sample is None:
            if self.trainer.current_epoch >= self.warmup_epochs:
                self.anchor.elect(self.draw_children(self.anchor_candidates, 2))
        elif self.child is not None and self._challenge_is_due():
            self.anchor.challenge(self.child)
        if self.anchor.sample is not None and self.log_is_due:
            self.log_dict(
                {
                    "anchor/digest": float(int(digest(self.anchor.sample)[:6], 16)),
                    "anchor/score": self.anchor.last_score,
                    "anchor/replacements": float(self.anchor.replacements),
                }
            )
        return super().on_train_batch_start(batch, batch_idx, *args)

    def _challenge_is_due(self) -> bool:
        """Whether the optimizer has just made a step after which the anchor is compared."""
        step = self.trainer.global_step
        return step != self.child_step and step % self.anchor_interval == 0

    def _prepare_alignment(self, batch: Any, batch_idx: int) -> None:
        """Choose the layers, and find out now whether all children can be aligned there."""
        children = self._covering_children()
        precision = self.trainer.precision_plugin
        with isolated_randomness(), torch.no_grad(), precision.train_step_context():
            self.route(children[0])
            model = self.training_module.model
            call = capture_call(model, lambda: self.training_module.training_step(batch, batch_idx))
            self.alignment = Alignment(
                model,
                select_layers(model, call, **self.layers),
                self.route,
                lambda replay: replay(cast(Sample, self.anchor.sample)),
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

    def loss_terms(self) -> Sequence[LossTerm]:
        """The alignment term, once there is an anchor."""
        return () if self.anchor.sample is None else (cast(LossTerm, self.alignment),)

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


class MagicA(SupernetStrategy):
    """Train a supernet whose children have hidden states like the best child's.

    Parameters
    ----------
    alignment_weight
        λ, the weight of the alignment term.
    align_every
        Align every so many layers: with 4 the layers 4, 8, 12, ...
    aligned_layers
        Instead, exactly these layers: by number, from 1, or by module name.
        See :func:`nni_magic.hidden_states.select_layers` for what counts as a layer.
    mask_argument
        Argument of the model's ``forward`` that holds the padding mask, nonzero where real.
    anchor_gradient
        Let gradients through the anchor's pass too, for study.
    warmup_epochs
        Epochs on the prediction loss alone before there is an anchor.
    anchor_interval
        Optimizer steps between two comparisons of the child with the anchor.
    anchor_candidates
        Random children among which the first anchor is elected.
    **kwargs
        See :class:`nni_magic.strategies.supernet.SupernetStrategy`.
    """

    module_class = AlignedSupernetModule

    def __init__(
        self,
        *,
        alignment_weight: float = 0.5,
        align_every: int = 4,
        aligned_layers: Sequence[int | str] | None = None,
        mask_argument: str | None = "attention_mask",
        anchor_gradient: bool = False,
        warmup_epochs: int = 3,
        anchor_interval: int = 100,
        anchor_candidates: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not alignment_weight >= 0:
            raise ValueError(f"alignment_weight is {alignment_weight!r}; it must not be negative")
        if not isinstance(warmup_epochs, int) or warmup_epochs < 0:
            raise ValueError(f"warmup_epochs is {warmup_epochs!r}; accepted are 0, 1, 2, ...")
        check_positive(
            align_every=align_every,
            anchor_interval=anchor_interval,
            anchor_candidates=anchor_candidates,
        )
        self.alignment = {
            "alignment_weight": alignment_weight,
            "align_every": align_every,
            "aligned_layers": aligned_layers,
            "mask_argument": mask_argument,
            "anchor_gradient": anchor_gradient,
            "warmup_epochs": warmup_epochs,
            "anchor_interval": anchor_interval,
            "anchor_candidates": anchor_candidates,
        }

    def module_settings(self) -> dict[str, Any]:
        return {**super().module_settings(), **self.alignment}
