r"""Zero-cost scores of a model before its training, as rankings that others must beat [1].

.. math::
    S_{snip} = \sum_w \left| w \frac{\partial L}{\partial w} \right|, \qquad
    S_{grad} = \sum_W \left\| \frac{\partial L}{\partial W} \right\|_2, \qquad
    S_{synflow} = \sum_w \left| w \frac{\partial R}{\partial w} \right|, \qquad
    S_{regions} = \log \det K, \quad K_{ij} = \left| \{ a : c_{ia} = c_{ja} \} \right|

L is the evaluator's loss on one batch, with batch statistics and without dropout; W are the weight
tensors. R is the sum of the model's outputs for one row of ones (of token ids, the first row's own)
with the absolute values of all weights, in evaluation mode. The larger a score, the better the
model is expected to be.

:math:`c_{ia}` says whether ReLU a is on for row i of the batch: rows with the same codes are in one
linear region. Their number [3] is that of the rows in all but the smallest networks; K also says
how far apart the regions are [2]. There is no such score of a model without modules that are
``ReLU`` or ``ReLU6``, or where two rows are in one region.

[1] Abdelfattah et al., Zero-Cost Proxies for Lightweight NAS, ICLR 2021.
[2] Mellor et al., Neural Architecture Search without Training, ICML 2021.
[3] Chen et al., Neural Architecture Search on ImageNet in Four GPU Hours, ICLR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from ..scoring.evaluator_state import unnoticed
from ..supernet.evaluator_steps import call_step, loss_of, training_call
from ..supernet.hidden_states import Call, as_anchor
from ..supernet.resume import isolated_randomness

__all__ = ["ZERO_COST", "ZeroCost", "linear_regions", "synflow", "zero_cost"]

ZERO_COST = ("synflow", "snip", "grad_norm", "linear_regions")
"""Names of the scores."""


def zero_cost(module: pl.LightningModule, batch: Any, batch_idx: int = 0) -> dict[str, float]:
    """Score the evaluator's model on a batch; nothing is changed by it.

    Parameters
    ----------
    module
        The evaluator's module, attached to a trainer.
    batch, batch_idx
        As its training step is given them.

    Returns
    -------
    dict
        The scores by the names of :data:`ZERO_COST`, those that there are.

    Raises
    ------
    ValueError
        If the training step skips the batch.
    """
    model: Any = module.model
    with isolated_randomness(), unnoticed(module), as_anchor(list(model.modules())):
        with torch.enable_grad(), _codes(model) as codes:
            loss = loss_of(call_step(module.training_step, batch, batch_idx))
        if loss is None:
            raise ValueError(
                "the training step skips the first batch; accepted is one with a loss, by which "
                "children are scored before their training"
            )
        pairs = _gradients(model, loss)
        call = training_call(module, batch, batch_idx)
    assert call is not None
    regions = linear_regions(codes)
    return {
        "synflow": synflow(model, call),
        "snip": _total(pairs),
        "grad_norm": float(sum(float(gradient.norm()) for _, gradient in pairs)),
        **({} if regions is None else {"linear_regions": regions}),
    }


def linear_regions(codes: Sequence[Tensor]) -> float | None:
    """Score how far apart the linear regions are in which a batch's rows lie.

    Parameters
    ----------
    codes
        Of every layer which units are on, booleans ``(rows, units)``.

    Returns
    -------
    float or None
        ``None`` without layers, if they have different rows, or if the score is not finite.

    Examples
    --------
    >>> codes = torch.tensor([[True, False, True], [True, True, False]])
    >>> round(linear_regions([codes]), 4)  # the logarithm of 3 * 3 - 1 * 1
    2.0794
    >>> linear_regions([codes[:1].repeat(2, 1)]) is None
    True
    """
    if len({len(code) for code in codes}) != 1:
        return None
    on = torch.cat(list(codes), dim=1).double()
    agree = on @ on.T + (1 - on) @ (1 - on).T
    found = float(torch.linalg.slogdet(agree).logabsdet)
    return found if int(torch.linalg.matrix_rank(agree)) == len(on) else None


def synflow(model: nn.Module, call: Call) -> float:
    """Score a model without data; see the module's docstring.

    Parameters
    ----------
    model
        Weights and modes stay as they are.
    call
        Inputs, for their shapes.
    """
    args, kwargs = apply_to_collection((call.args, call.kwargs), Tensor, _ones)
    device = next((parameter.device.type for parameter in model.parameters()), "cpu")
    with _absolute(model), _evaluating(model), isolated_randomness():
        with torch.enable_grad(), torch.autocast(device, enabled=False):
            outputs: list[Tensor] = []
            apply_to_collection(model(*args, **kwargs), Tensor, outputs.append)
            flow = sum(output.sum() for output in outputs if output.requires_grad)
        return _total(_gradients(model, flow)) if isinstance(flow, Tensor) else 0.0


class ZeroCost(pl.Callback):
    """Scores the evaluator's model on the first batch of its training.

    Attributes
    ----------
    scores : dict
        By name; empty until then.
    """

    def __init__(self) -> None:
        self.scores: dict[str, float] = {}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if not self.scores:
            self.scores = zero_cost(pl_module, batch, batch_idx)


@contextmanager
def _codes(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record which units of all ReLUs are on while the block runs, ``(rows, units)`` each."""
    codes: list[Tensor] = []
    layers = [layer for layer in model.modules() if isinstance(layer, (nn.ReLU, nn.ReLU6))]
    handles = [
        layer.register_forward_hook(
            lambda _, args, output: codes.append((output > 0).reshape(len(output), -1))
        )
        for layer in layers
    ]
    try:
        yield codes
    finally:
        for handle in handles:
            handle.remove()


def _gradients(model: nn.Module, value: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Weights with their gradients, those that have one."""
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return [(w.detach(), g) for w, g in zip(weights, found, strict=True) if g is not None]


def _total(pairs: list[tuple[Tensor, Tensor]]) -> float:
    return float(sum(float((weight * gradient).abs().double().sum()) for weight, gradient in pairs))


def _ones(tensor: Tensor) -> Tensor:
    row = tensor[:1] if tensor.ndim else tensor
    return torch.ones_like(row) if row.is_floating_point() else row


@contextmanager
def _absolute(model: nn.Module) -> Iterator[None]:
    """The absolute values of all weights, while the block runs."""
    own: Mapping[nn.Parameter, Tensor] = {p: p.detach().clone() for p in model.parameters()}
    try:
        with torch.no_grad():
            for parameter in own:
                parameter.abs_()
        yield
    finally:
        with torch.no_grad():
            for parameter, value in own.items():
                parameter.copy_(value)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode while the block runs; then every module has its own again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
