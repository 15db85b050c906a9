"""Settings of the strategies that draw one child a step, by its cost or by what it has learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..support.errors import check_choice, check_count, check_number
from .settings import SupernetSettings

__all__ = [
    "CostGroupSettings", "ENASSettings", "FewShotSettings", "PADASettings", "PreNASSettings",
    "ShiftNASSettings",
]  # fmt: skip

By = Literal["order", "gradients", "lid"]
"""How the parts of few-shot NAS are chosen."""


@dataclass(frozen=True, kw_only=True)
class CostGroupSettings(SupernetSettings):
    """Settings of the strategies that tell groups of children by cost.

    Parameters
    ----------
    cost_groups
        How many, of equal width between the costs of the smallest and the largest child.
    """

    cost_groups: int = 8

    def __post_init__(self) -> None:
        check_count("cost_groups", self.cost_groups, at_least=2)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ShiftNASSettings(CostGroupSettings):
    """Settings of ShiftNAS.

    Parameters
    ----------
    shift_temperature
        τ; the smaller, the more often a group that lags behind its neighbours is drawn.
    """

    shift_temperature: float = 0.1

    def __post_init__(self) -> None:
        check_number("shift_temperature", self.shift_temperature, above=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ENASSettings(SupernetSettings):
    """Settings of ENAS.

    Parameters
    ----------
    controller_steps
        Steps of the controller after every epoch; each is by the score of one child.
    controller_learning_rate
        Of its Adam, as in the authors' code.
    entropy_weight
        Of the entropy of a child's choices in its reward.
    """

    controller_steps: int = 50
    controller_learning_rate: float = 1e-3
    entropy_weight: float = 1e-4

    def __post_init__(self) -> None:
        check_count("controller_steps", self.controller_steps)
        check_number("controller_learning_rate", self.controller_learning_rate, above=0)
        check_number("entropy_weight", self.entropy_weight, at_least=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class FewShotSettings(SupernetSettings):
    """Settings of few-shot NAS.

    Parameters
    ----------
    parts
        Supernets into which the one is split, each for as many candidates of a block.
    by
        How the groups of candidates, and the block, are chosen: in the ``order`` of the space, by
        the cosine of ``gradients`` of shared weights, or by the distance of profiles of local
        intrinsic dimension (``lid``).
    split_label
        Label of the block; by default the first one that has enough candidates, or of those that
        are measured the one whose groups are alike the least.
    split_after
        Share of the training in which there is one supernet; below 1.
    split_children
        Random children in which the candidates of a block are compared, where they are measured.
    """

    parts: int = 2
    by: By = "order"
    split_label: str | None = None
    split_after: float = 0.5
    split_children: int = 4

    def __post_init__(self) -> None:
        check_count("parts", self.parts, at_least=2)
        check_choice("by", self.by, get_args(By))
        check_number("split_after", self.split_after, at_least=0, below=1)
        check_count("split_children", self.split_children)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class PADASettings(SupernetSettings):
    """Settings of PA&DA; without both it is SPOS.

    Parameters
    ----------
    path_importance
        Whether candidates are drawn by gradient norm.
    data_importance
        Whether rows of the training data are drawn by gradient norm.
    """

    path_importance: bool = True
    data_importance: bool = True


@dataclass(frozen=True, kw_only=True)
class PreNASSettings(CostGroupSettings):
    """Settings of PreNAS.

    Parameters
    ----------
    scored_children
        Random children that are scored before training, a forward and a backward pass each.
    pool_share
        Share of every group's children that is trained; above 0.
    """

    scored_children: int = 1000
    pool_share: float = 0.1

    def __post_init__(self) -> None:
        check_count("scored_children", self.scored_children)
        check_number("pool_share", self.pool_share, above=0, at_most=1)
        super().__post_init__()
