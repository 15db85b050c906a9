"""A training step: the children that it trains, one in a turn.

Two seams carry all methods:

- *which children a step trains*: a sampler gives a :class:`Turn` for each, see
  :class:`nni_magic.samplers.base.Sampler`;
- *which terms its loss adds*: a :class:`nni_magic.losses.term.LossTerm` sees what every turn
  computed and gives a scalar.

The loss of a step is the sum over turns of ``weight · loss`` and of the terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from lightning_utilities.core.apply_func import apply_to_collection
from nni.mutable import Sample
from torch import Tensor
from torch.utils._pytree import tree_leaves

from .hidden_states import Call

__all__ = ["Step", "Turn", "count_rows", "parted", "rows_of"]


@dataclass(frozen=True)
class Turn:
    """One child's part of a step.

    Parameters
    ----------
    child
        The child that is trained.
    weight
        Factor of the evaluator's loss for this child. With 0 only the terms count.
    rows
        Rows of the batch that this child is trained on; by default all.
    part
        Instead, part i of n of the rows of every batch, as ``(i, n)`` with i from 0. The loss then
        counts by its share of the rows.
    """

    child: Sample
    weight: float = 1.0
    rows: slice | None = None
    part: tuple[int, int] | None = None

    def state_dict(self) -> dict[str, Any]:
        """The turn in plain types."""
        rows = self.rows and [self.rows.start, self.rows.stop, self.rows.step]
        part = self.part and list(self.part)
        return {"child": self.child, "weight": self.weight, "rows": rows, "part": part}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Turn:
        """Build a turn from what :meth:`state_dict` gave."""
        rows = state["rows"] and slice(*state["rows"])
        part = state["part"]
        return cls(state["child"], state["weight"], rows, part and tuple(part))


@dataclass
class Step:
    """What has happened in a step so far, on one batch; a term may read earlier turns.

    Attributes
    ----------
    turns : list of Turn
        All turns of the step, also those to come.
    losses : list of Tensor
        The evaluator's loss of every turn so far: scalars without gradient, not weighted. A turn
        in which the evaluator skips the batch has none.
    calls : list of list of Call
        The evaluator's calls of the model in every turn so far, with inputs, outputs and the hidden
        states that terms asked for; empty lists if no term asked.
    gradient_norm : Tensor or None
        Euclidean norm of the gradient of all weights, when the optimizer is about to step; only
        for samplers that set ``watches_gradients``.
    """

    turns: list[Turn]
    losses: list[Tensor] = field(default_factory=list)
    calls: list[list[Call]] = field(default_factory=list)
    gradient_norm: Tensor | None = None


def parted(turns: list[Turn], batch: Any) -> list[Turn]:
    """Give turns their rows of a batch; a batch of fewer rows than parts has turns for some.

    Raises
    ------
    ValueError
        If the number of rows cannot be told.
    """
    if all(turn.part is None for turn in turns):
        return turns
    n_rows, found = count_rows(batch), []
    for turn in turns:
        if turn.part is None:
            found.append(turn)
            continue
        i, n = turn.part
        rows = slice(i * n_rows // n, (i + 1) * n_rows // n)
        if size := rows.stop - rows.start:
            weight = turn.weight * size / n_rows
            found.append(replace(turn, rows=rows, weight=weight, part=None))
    return found


def count_rows(batch: Any) -> int:
    """Count the rows of a batch: the first dimension that all its tensors have.

    Raises
    ------
    ValueError
        If there is none, or they have different ones; or if something has a value for every row
        and is no tensor, such as a list of names, as it would stay whole.
    """
    sizes = set[int]()
    apply_to_collection(batch, Tensor, lambda t: sizes.update(t.shape[:1]))
    if len(sizes) != 1:
        raise ValueError(
            f"the first dimensions of the batch's tensors are {sorted(sizes)}; accepted is one, of "
            "its rows, so that it can be cut into parts"
        )
    n_rows = sizes.pop()
    for leaf in tree_leaves(batch, is_leaf=_is_plain):
        if _is_plain(leaf) and len(leaf) == n_rows:
            raise ValueError(
                f"the batch has a {type(leaf).__name__} of {n_rows} values, as many as its tensors "
                "have rows; accepted are tensors, so that it can be cut into parts"
            )
    return n_rows


def _is_plain(value: Any) -> bool:
    """Whether something is an array of numpy's, or a list of what are no tensors."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, (list, tuple)) and all(
        isinstance(one, (str, bytes, int, float)) for one in value
    )


def rows_of(batch: Any, rows: slice | None) -> Any:
    """Cut the tensors of a batch along their first dimension; those of no dimension stay.

    Parameters
    ----------
    batch
        Tensors in any nesting of lists, tuples, dicts and dataclasses.
    rows
        Which rows; ``None`` gives the batch itself.
    """
    if rows is None:
        return batch
    return apply_to_collection(batch, Tensor, lambda t: t[rows] if t.ndim else t)
