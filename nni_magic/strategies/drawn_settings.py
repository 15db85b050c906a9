"""Settings of the strategies that draw one child a step, by its cost or by what it has learned."""

from __future__ import annotations

from dataclasses import dataclass

from ..support.errors import check_count, check_number
from .settings import SupernetSettings

__all__ = ["CostGroupSettings", "PADASettings", "PreNASSettings", "ShiftNASSettings"]


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
