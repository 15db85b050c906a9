r"""Align the hidden states of child models.

.. math:: L_{align} = \sum_{n \in A} \mathrm{error}(H_n, H_n(\alpha_t)) \quad [Xu2022, 1]

==================  ==========================================================================
:math:`\alpha_t`    the child of a turn
:math:`H_n(\cdot)`  ``Call.states``: output of layer n by name, residual and norm included
:math:`H_n`         the target's, see :class:`nni_magic.losses.targets.Target`; MAGIC-A's is the
                    anchor's :math:`H_n(\alpha^l)`
:math:`A`           see :class:`nni_magic.losses.aligned_layers.AlignedLayers`
:math:`error`       see :mod:`nni_magic.losses.state_errors`; the paper's is the squared error
==================  ==========================================================================

The target's pass repeats the evaluator's call of the model on another path, see
:class:`nni_magic.losses.replay.CallReplay`, by default without gradient.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from nni.mutable import Sample
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from ..samplers.streams import Stream
from ..scoring.evaluator_state import unnoticed
from ..supernet.evaluator_steps import training_call
from ..supernet.hidden_states import Call, States
from ..supernet.resume import isolated_randomness
from ..supernet.step import Step, Turn
from ..support.names import MASK_ARGUMENT
from .aligned_layers import AlignedLayers
from .balance import Balance
from .padding import PaddingMask
from .replay import CallReplay
from .state_errors import STATE_ERRORS, StateError
from .targets import Target
from .term import LossTerm, TrainingSupernet
from .warm_start import WarmStart

__all__ = ["Alignment", "alignment_loss"]

_logger = logging.getLogger(__name__)


def alignment_loss(
    target: States, states: States, mask: Tensor | None = None, error: str = "mse"
) -> Tensor:
    """Sum over layers of the errors of hidden states [Xu2022, Eq. 1].

    Parameters
    ----------
    target, states
        Hidden states by layer; those of a layer have the same shape, ``(batch, ...)``. Of a layer
        that gives several tensors their errors are averaged.
    mask
        Nonzero where a position is real and zero where it is padding; its shape is the leading
        dimensions of the hidden states, e.g. ``(batch, seq)`` for ``(batch, seq, hidden)``.
        Padding counts neither in the error nor in the mean.
    error
        Name in :data:`nni_magic.losses.state_errors.STATE_ERRORS`.

    Returns
    -------
    Tensor
        A scalar in float32, whatever the precision of the states.

    Examples
    --------
    >>> alignment_loss({"a": torch.zeros(2, 3)}, {"a": torch.full((2, 3), 2.0)})
    tensor(4.)
    """
    error_of = partial(_error, STATE_ERRORS[error], mask)
    errors = [error_of(name, target[name], state) for name, state in states.items()]
    return sum(errors[1:], errors[0])


def _error(error_of: StateError, mask: Tensor | None, name: str, target: Any, state: Any) -> Tensor:
    """Error of a layer's state, or of the tensors in it."""
    if not isinstance(state, Tensor):
        pairs = zip(target, state, strict=True)
        return torch.stack([_error(error_of, mask, name, *pair) for pair in pairs]).mean()
    if mask is not None and state.shape[: mask.dim()] != mask.shape:
        raise ValueError(
            f"the mask has shape {tuple(mask.shape)}, but the hidden state of layer {name!r} is "
            f"{tuple(state.shape)}: the mask must have its leading dimensions; pass "
            "mask_argument=None to align without a mask"
        )
    return error_of(target.float(), state.float(), mask)


class Alignment(LossTerm):
    """The alignment term of the loss.

    Parameters
    ----------
    target
        Gives the hidden states to align with, and says when there are any.
    weight
        λ of [Xu2022, Eq. 2].
    error
        Name in :data:`nni_magic.losses.state_errors.STATE_ERRORS`.
    align_every, layers
        Which layers; see :class:`nni_magic.losses.aligned_layers.AlignedLayers`.
    mask_argument
        Name of the argument of the model's ``forward`` that is the padding mask. When the
        evaluator passes it, padding is left out; otherwise every position counts.
    warmup_epochs
        Epochs before children are aligned; see :class:`nni_magic.losses.warm_start.WarmStart`.
    gradient
        Whether gradients flow through the target's pass too, for study.
    """

    name = "alignment_loss"

    def __init__(
        self,
        target: Target,
        *,
        weight: float,
        error: str = "mse",
        align_every: int | None = None,
        layers: Sequence[int | str] | None = None,
        mask_argument: str | None = MASK_ARGUMENT,
        warmup_epochs: int | None = 0,
        gradient: bool = False,
    ) -> None:
        self.target = target
        self.weight = weight
        self.error = error
        self.chosen = AlignedLayers(align_every, layers)
        self.balance = Balance(weight)
        self.mask_argument = mask_argument
        self.warm_start = WarmStart(warmup_epochs)
        self.gradient = gradient
        self.replay: CallReplay | None = None
        self._values: list[Tensor] = []

    def begin(self, module: TrainingSupernet) -> None:
        self.module = module
        self.replay = None  # its layers belong to one fit's model
        if not module.resumes:
            self.chosen.names, self.warm_start.epochs = [], None
            self.balance = Balance(self.weight)
        self.target.begin(module)

    def started(self) -> None:
        """Choose the length of the warm start, and make sure that something will be aligned."""
        self.target.warmup_epochs = self.warm_start.begin(self.module.trainer)

    def before_step(self, batch: Any, batch_idx: int) -> None:
        self._values = []
        if self.replay is None and self._choose_layers(batch, batch_idx):
            rank_zero_info(self._described())
        self.target.renew()

    @property
    def layers(self) -> Mapping[str, nn.Module] | None:
        return self.replay.layers if self.replay is not None and self.target.ready else None

    def __call__(self, step: Step, turn: Turn) -> Tensor:
        """The term of a turn, averaged over the model's calls: a scalar in float32.

        Raises
        ------
        ValueError
            If the training step did not call the model.
        """
        assert self.replay is not None, "attach() comes first"
        if not (calls := step.calls[-1]):
            raise ValueError("the training step did not call self.model(...): nothing to align")
        value = torch.stack([self._of_call(call) for call in calls]).mean()
        self._values.append(value.detach())
        return value

    def _of_call(self, call: Call) -> Tensor:
        """The term of a call of the model."""
        assert self.replay is not None
        target = self.target.states(partial(self.replay, call))
        # Other terms may have asked for the states of other layers.
        own = {name: state for name, state in call.states.items() if name in self.replay.layers}
        return alignment_loss(target, own, self._mask(call), self.error)

    def tell(self, step: Step) -> None:
        """Watch the term beside the prediction loss; one warning a run, at the end of an epoch."""
        if step.losses:
            term = torch.stack(self._values).mean() if self._values else None
            self.balance.add(torch.stack(step.losses).mean(), term)
        if self.module.trainer.is_last_batch and (wrong := self.balance.end_epoch()):
            _logger.warning(
                "The alignment of layers %s, with weight %g, takes over the training: in epoch %d "
                "%s; use a smaller alignment_weight, or other aligned_layers",
                ", ".join(self.chosen.names), self.weight, self.module.trainer.current_epoch, wrong,
            )  # fmt: skip

    def _described(self) -> str:
        """What is aligned, in a line."""
        names, total = self.chosen.names, self.chosen.total
        return (
            f"Aligned are the hidden states of {', '.join(names)}, of {total} layers, with weight "
            f"{self.weight:g}; warmup_epochs is {self.warm_start.epochs}"
        )

    def attach(self, replay: CallReplay) -> None:
        """Align the layers of a replay from now on.

        Raises
        ------
        ValueError
            If the model has no argument of the mask's name.
        """
        self._mask = PaddingMask(replay.model, self.mask_argument)
        self.replay = replay

    def _choose_layers(self, batch: Any, batch_idx: int) -> bool:
        """Choose the layers, and find out now whether all children can be aligned there.

        Not on a batch that the training step skips: there is nothing to align yet.
        """
        module, children = self.module, self._covering_children()
        evaluator, precision = module.training_module, module.trainer.precision_plugin
        with isolated_randomness(), torch.no_grad(), precision.train_step_context():
            module.router.set(children[0])
            model = evaluator.model
            with unnoticed(evaluator):
                call = training_call(evaluator, batch, batch_idx)
            if call is None:
                return False
            mask = PaddingMask(model, self.mask_argument)(call)
            positions = () if mask is None else tuple(mask.shape)
            layers = self.chosen.choose(model, call, children, module.router, positions)
            replay = CallReplay(model, layers, module.router, gradient=self.gradient)
            self.attach(replay)
            replay.check_shapes(call, children)
            states = replay(call, children[0])
            # Shows now that the mask fits layers asked for.
            alignment_loss(states, states, mask, self.error)
        return True

    def _covering_children(self) -> list[Sample]:
        """A few valid children that together hold, most likely, all candidates of all labels."""
        children, covered = [], set[tuple[str, str]]()
        for child in self.module.draw_children(64, Stream.COVERING):
            choices = {(label, repr(choice)) for label, choice in child.items()}
            if not choices <= covered:
                covered |= choices
                children.append(child)
        return children

    def restricted(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        self.target.restricted(allowed, ranked)

    def validated(self) -> Sequence[Sample] | None:
        return self.target.validated()

    def state_dict(self) -> dict[str, Any]:
        return {
            "target": self.target.state_dict(), "layers": self.chosen.state_dict(),
            "warmup_epochs": self.warm_start.epochs, "balance": self.balance.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.target.load_state_dict(state["target"])
        self.chosen.load_state_dict(state["layers"])
        self.warm_start.epochs = state["warmup_epochs"]
        self.balance.load_state_dict(state["balance"])
