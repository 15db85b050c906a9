"""The seam of losses: a term that a method adds, and what it may use of the supernet's training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from nni.mutable import Sample
from torch import Tensor, nn

from ..samplers.base import Sampler
from ..samplers.streams import Stream
from ..scoring.leaderboard import Leaderboard
from ..scoring.scorer import Scorer
from ..supernet.routing import Router
from ..supernet.step import Step, Turn

__all__ = ["LossTerm", "TrainingSupernet", "distinct"]


class TrainingSupernet(Protocol):
    """What a term may use of the Lightning module that trains the supernet.

    Attributes
    ----------
    trainer, training_module
        Lightning's trainer and the evaluator's module.
    model
        The supernet.
    terms
        All terms of the loss.
    router
        Sets the supernet's path.
    seed : int
        Of the run, the same on all ranks.
    sampler, scorer, leaderboard
        Of the training; to score a child also remembers it.
    child : dict or None
        The child that was trained last.
    child_step : int
        The trainer's ``global_step`` when that child was drawn.
    resumes : bool
        Whether the fit continues from a checkpoint.
    log_is_due : bool
        Whether anything reads what this step logs.
    """

    trainer: Any
    training_module: Any
    terms: list[LossTerm]
    seed: int
    sampler: Sampler
    scorer: Scorer
    leaderboard: Leaderboard
    child: Sample | None
    child_step: int

    @property
    def model(self) -> Any: ...

    @property
    def router(self) -> Router: ...

    @property
    def resumes(self) -> bool: ...

    @property
    def log_is_due(self) -> bool: ...

    def draw_children(self, n: int, stream: Stream, *place: int) -> list[Sample]: ...

    def log(self, name: str, value: Any, *, batch_size: int | None = None) -> None: ...

    def log_dict(self, dictionary: Mapping[str, Any], prog_bar: bool = False) -> None: ...


class LossTerm(ABC):
    """A term that a method adds to the loss; it owns its state.

    It is no part of the Lightning module, but for its weights: a frozen teacher is brought to the
    device by the term itself.

    Attributes
    ----------
    name : str
        The term is logged as ``supernet/<name>``.
    weight : float
        Factor with which the term is added.
    weights : Module or None
        Weights of the term's own, made with the term. They are trained with the supernet's, as if
        they belonged to the first parameter group of the evaluator's optimizer, saved with them,
        and are no part of any child.
    """

    name: str
    weight: float
    weights: nn.Module | None = None

    def begin(self, module: TrainingSupernet) -> None:
        """Called when a fit begins; its state is loaded already if ``module.resumes``."""

    def started(self) -> None:
        """Called when training starts, with the trainer's epochs and steps known."""

    def before_step(self, batch: Any, batch_idx: int) -> None:
        """Called before every batch, while the children are still those of the batch before."""

    @property
    def layers(self) -> Mapping[str, nn.Module] | None:
        """Modules, by name, whose outputs the term needs; ``None`` while it adds nothing."""
        return {}

    @abstractmethod
    def __call__(self, step: Step, turn: Turn) -> Tensor | None:
        """Give the term of a turn that has just been run: a scalar, or ``None`` for nothing.

        ``step.calls[-1]`` and ``step.losses[-1]`` are of this turn. The supernet's path may be left
        on another child.
        """

    def tell(self, step: Step) -> None:
        """Called after every batch with what was computed on it."""

    def restricted(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        """Called after candidates were deleted.

        Parameters
        ----------
        allowed
            Label to the choices that stay.
        ranked
            Children that stay with their present scores, best first.
        """

    def validated(self) -> Sequence[Sample] | None:
        """Give the children that validation should score; ``None`` for the usual panel."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """All that the term needs to go on, in plain types and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""


def distinct(terms: Sequence[LossTerm]) -> list[LossTerm]:
    """Give terms as a list, if they can be told apart in what is logged and saved.

    Raises
    ------
    ValueError
        If two have one name.
    """
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise ValueError(f"names of terms are {names}; accepted are different ones")
    return list(terms)
