"""PA&DA [Lu2023]: rows of the training data are drawn by their gradient norm at the logits.

[Lu2023] Lu et al., PA&DA: Jointly Sampling PAth and DAta for Consistent NAS, CVPR 2023.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..samplers.streams import Stream
from ..samplers.weighted import mixed
from ..supernet.epochs import progress_of
from ..supernet.hidden_states import Call
from ..supernet.rows import DrawnRows, drawing_rows
from ..supernet.step import Step, Turn
from .term import LossTerm, TrainingSupernet

__all__ = ["RowNorms"]


class RowNorms(LossTerm):
    """Measures the gradient of every row at the model's output, and draws rows by it.

    It adds nothing to the loss. The probabilities of an epoch are those of
    :func:`nni_magic.samplers.weighted.mixed`, from the mean norms of the last epoch, with the share
    of the training that is over as weight. A row that was not drawn since keeps its norm.

    Attributes
    ----------
    norms : torch.Tensor
        Gradient norms of all rows, ``(rows,)``, in float64; not-a-number if not known.
    drawn : float
        δ, of the present epoch.
    """

    name = "row_norms"
    weight = 0.0

    def __init__(self) -> None:
        self._reset(0)

    def _reset(self, n_rows: int) -> None:
        self.norms = torch.full((n_rows,), math.nan, dtype=torch.float64)
        self._sums = torch.zeros_like(self.norms)
        self._counts = torch.zeros_like(self.norms)
        self.drawn, self._epoch = 0.0, -1
        self._measured: Tensor | None = None

    def loader(self, loaders: Any) -> Any:
        """Give the training loader that reads the rows drawn; see :func:`drawing_rows`."""
        drawing = drawing_rows(loaders, self._draw)
        self._rows: DrawnRows = drawing.sampler
        self._batch_size: int = drawing.batch_size
        return drawing

    def begin(self, module: TrainingSupernet) -> None:
        self._module = module
        if not module.resumes:
            self._reset(0)

    @property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the rows in the present epoch."""
        return mixed(self.norms.numpy(), self.drawn)

    def _draw(self, size: int) -> np.ndarray:
        trainer, n_rows = self._module.trainer, len(self._rows.dataset)
        if not len(self.norms):
            self._reset(n_rows)
        if len(self.norms) != n_rows:
            raise ValueError(
                f"train_dataloaders has {n_rows} rows; accepted are {len(self.norms)}, as in the "
                "training that is to go on"
            )
        if trainer.current_epoch != self._epoch:
            self.norms = torch.where(self._counts > 0, self._sums / self._counts, self.norms)
            self._sums, self._counts = torch.zeros_like(self.norms), torch.zeros_like(self.norms)
            self._epoch, self.drawn = trainer.current_epoch, progress_of(trainer)
        rng = np.random.default_rng([self._module.seed, int(Stream.ROWS), self._epoch])
        return rng.choice(n_rows, size, p=self.probabilities)

    def before_step(self, batch: Any, batch_idx: int) -> None:
        first = batch_idx * self._batch_size
        self._drawn_rows = torch.as_tensor(self._rows.order[first : first + self._batch_size])
        self._measured = None

    def __call__(self, step: Step, turn: Turn) -> Tensor | None:
        """Have the gradient measured when the backward pass comes to the output.

        Raises
        ------
        ValueError
            If the training step does not call the model once, or what it gives has not the rows of
            the batch.
        """
        output = _output(step.calls[-1])
        if output.ndim < 1 or len(output) != len(self._drawn_rows):
            raise ValueError(
                f"the model's output is {tuple(output.shape)} for a batch of "
                f"{len(self._drawn_rows)} rows; accepted are outputs with a row for each, by whose "
                "gradient rows are drawn, or data_importance as false"
            )
        if output.requires_grad:
            output.register_hook(self._measure)
        return None

    def _measure(self, gradient: Tensor) -> None:
        # A loss is a mean over the rows, and that of a short batch is not to count for more.
        scaler = getattr(self._module.trainer.precision_plugin, "scaler", None)
        factor = len(gradient) / (1.0 if scaler is None else scaler.get_scale())
        self._measured = factor * gradient.detach().flatten(1).double().norm(dim=1)

    def tell(self, step: Step) -> None:
        trainer, rows = self._module.trainer, self._drawn_rows
        unknown = torch.full(rows.shape, math.nan, dtype=torch.float64)
        norms = unknown if self._measured is None else self._measured
        device = trainer.strategy.root_device
        rows, norms = (
            trainer.strategy.all_gather(each.to(device)).cpu().flatten() for each in (rows, norms)
        )
        finite = norms.isfinite()
        self._sums.index_add_(0, rows[finite], norms[finite])
        self._counts.index_add_(0, rows[finite], torch.ones_like(norms[finite]))

    def state_dict(self) -> dict[str, Any]:
        return {
            "norms": self.norms.clone(), "sums": self._sums.clone(),
            "counts": self._counts.clone(), "epoch": self._epoch, "drawn": self.drawn,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.norms, self._sums, self._counts = (
            state[name].clone() for name in ("norms", "sums", "counts")
        )
        self._epoch, self.drawn = state["epoch"], state["drawn"]


def _output(calls: list[Call]) -> Tensor:
    """The output of the model's only call in a step: a tensor, or what it names ``logits``."""
    if len(calls) != 1:
        raise ValueError(
            f"the training step calls the model {len(calls)} times; accepted is once, as rows are "
            "drawn by the gradient at the model's output"
        )
    output = calls[0].output
    found = output.get("logits") if isinstance(output, Mapping) else output
    found = getattr(found, "logits", found)
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise ValueError(
            f"the model's output is a {type(output).__name__}; accepted are logits, or what holds "
            "them as 'logits'"
        )
    return found
