"""Settings of the strategies that train several children in a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..support.errors import check_choice, check_count, check_number
from ..support.names import MASK_ARGUMENT
from .settings import SupernetSettings

__all__ = [
    "AlphaNetSettings", "AttentiveNASSettings", "DelayedShrinkingSettings", "DistillationSettings",
    "MultiArchitectureSettings", "SandwichSettings", "TurnSettings",
]  # fmt: skip

Pick = Literal["best_up", "worst_up"]
"""Which of several children is trained."""


@dataclass(frozen=True, kw_only=True)
class TurnSettings(SupernetSettings):
    """Settings of the strategies that train several children in a step.

    Parameters
    ----------
    turn_by_turn
        Go back through every child of a step before the next one is run: the same gradient in the
        memory of one child. It cannot be used under DDP.
    """

    turn_by_turn: bool = False


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(TurnSettings):
    """Settings of the strategies whose largest child teaches the others.

    Parameters
    ----------
    n_random
        Random children a step, beside the largest and the smallest.
    mask_argument
        Argument of the model's ``forward`` that holds the padding mask, nonzero where real. The
        model need not have the default one.
    """

    n_random: int = 2
    mask_argument: str | None = MASK_ARGUMENT

    def __post_init__(self) -> None:
        check_count("n_random", self.n_random, at_least=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class SandwichSettings(DistillationSettings):
    """Settings of the sandwich rule.

    Parameters
    ----------
    temperature
        Of the teacher's and the students' probabilities; above 1 they are softer.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class AlphaNetSettings(DistillationSettings):
    """Settings of AlphaNet.

    Parameters
    ----------
    alpha_min
        α−, of the divergence that punishes students who are less sure than the teacher.
    alpha_max
        α+, of the divergence that punishes students who are surer than the teacher.
    ratio_clip
        β, the most that a ratio of probabilities to the power of α counts.
    """

    alpha_min: float = -1.0
    alpha_max: float = 1.0
    ratio_clip: float = 5.0

    def __post_init__(self) -> None:
        check_number("alpha_min", self.alpha_min)
        check_number("alpha_max", self.alpha_max)
        if self.alpha_min >= self.alpha_max:
            raise ValueError(
                f"alpha_min is {self.alpha_min!r}; accepted are numbers below alpha_max, which is "
                f"{self.alpha_max!r}"
            )
        check_number("ratio_clip", self.ratio_clip, above=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class AttentiveNASSettings(SandwichSettings):
    """Settings of AttentiveNAS.

    Parameters
    ----------
    draws
        Children of about the same cost of which one is trained; k of the paper.
    pick
        Which: the one with the least loss on the batch (``best_up``) or with the most
        (``worst_up``).
    """

    draws: int = 3
    pick: Pick = "best_up"

    def __post_init__(self) -> None:
        check_count("draws", self.draws)
        check_choice("pick", self.pick, get_args(Pick))
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class MultiArchitectureSettings(TurnSettings):
    """Settings of multi-architectural sampling.

    Parameters
    ----------
    children
        Children that a step trains, each on its part of the batch.
    """

    children: int = 4

    def __post_init__(self) -> None:
        check_count("children", self.children)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class DelayedShrinkingSettings(SandwichSettings):
    """Settings of delayed shrinking.

    Parameters
    ----------
    delay
        δ, the share of the training in which the largest child is trained alone; below 1.
    epsilon
        ε, the weight of the other children's losses when they come in.
    rise
        Share of the training over which that weight rises to 1.
    """

    delay: float = 0.5
    epsilon: float = 0.1
    rise: float = 0.1

    def __post_init__(self) -> None:
        check_number("delay", self.delay, at_least=0, below=1)
        check_number("epsilon", self.epsilon, at_least=0, at_most=1)
        check_number("rise", self.rise, at_least=0, at_most=1)
        super().__post_init__()
