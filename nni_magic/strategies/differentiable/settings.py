"""Settings of the differentiable strategies; see :mod:`nni_magic.strategies.settings`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ...support.errors import check_choice, check_count, check_number
from ..settings import MethodSettings

__all__ = [
    "DartsPTSettings", "DartsSettings", "DifferentiableSettings", "DropNASSettings",
    "GaeaSettings", "GumbelDartsSettings", "PCDartsSettings", "PartialSettings",
    "ProxylessSettings", "TemperatureSettings",
]  # fmt: skip

Base = Literal["darts", "pc_darts", "gdas"]
"""What GAEA optimizes."""


@dataclass(frozen=True, kw_only=True)
class DifferentiableSettings(MethodSettings):
    """Settings of all strategies that train a mixture.

    Parameters
    ----------
    arc_learning_rate
        Learning rate of the architecture parameters.
    bilevel
        Whether architecture parameters are trained on the validation data and weights on the
        training data, in turn; if not, both on the same batch of the training data.
    arc_warmup_epochs
        First epochs, in which weights alone are trained.
    """

    arc_learning_rate: float = 0.1
    bilevel: bool = True
    arc_warmup_epochs: int = 0

    def __post_init__(self) -> None:
        check_number("arc_learning_rate", self.arc_learning_rate, above=0)
        check_count("arc_warmup_epochs", self.arc_warmup_epochs, at_least=0)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class DartsSettings(DifferentiableSettings):
    """Settings of DARTS.

    Parameters
    ----------
    arc_learning_rate
        Learning rate of the architecture parameters.
    """

    arc_learning_rate: float = 3e-4


@dataclass(frozen=True, kw_only=True)
class PartialSettings(DifferentiableSettings):
    """Settings of strategies that mix operators on a part of the channels.

    Parameters
    ----------
    partial_channels
        K: a K-th of the channels passes the operators, and the others go by.
    """

    partial_channels: int = 4

    def __post_init__(self) -> None:
        check_count("partial_channels", self.partial_channels)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class PCDartsSettings(PartialSettings):
    """Settings of PC-DARTS.

    Parameters
    ----------
    arc_learning_rate
        Learning rate of the architecture parameters.
    """

    arc_learning_rate: float = 6e-4


@dataclass(frozen=True, kw_only=True)
class DartsPTSettings(DartsSettings):
    """Settings of DARTS with a choice by perturbation.

    Parameters
    ----------
    tune_epochs
        Epochs that the mixture is trained on after a block was chosen.
    """

    tune_epochs: int = 5

    def __post_init__(self) -> None:
        check_count("tune_epochs", self.tune_epochs)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class DropNASSettings(DifferentiableSettings):
    """Settings of DropNAS.

    Parameters
    ----------
    drop_rate
        Probability, but for drawing again, that all candidates of a group are dropped; in the
        last epoch, to which it rises.
    """

    arc_learning_rate: float = 3e-4
    bilevel: bool = False
    drop_rate: float = 3e-5

    def __post_init__(self) -> None:
        check_number("drop_rate", self.drop_rate, at_least=0, below=1)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ProxylessSettings(DifferentiableSettings):
    """Settings of ProxylessNAS.

    Parameters
    ----------
    arc_learning_rate
        Learning rate of the architecture parameters.
    """

    arc_learning_rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class TemperatureSettings(DifferentiableSettings):
    """Settings of strategies that sample a mixture's weights.

    Parameters
    ----------
    temperature
        Of the samples, in the first epoch.
    final_temperature
        Of the samples, at the end; the temperature falls linearly from epoch to epoch.
    """

    temperature: float = 10.0
    final_temperature: float = 0.1

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, above=0)
        check_number("final_temperature", self.final_temperature, above=0)
        if self.final_temperature > self.temperature:
            raise ValueError(
                f"final_temperature is {self.final_temperature!r}; accepted are numbers above 0 "
                f"and at most temperature, which is {self.temperature!r}"
            )
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GumbelDartsSettings(TemperatureSettings):
    """Settings of DARTS with sampled weights.

    Parameters
    ----------
    hard
        Whether a sample is one candidate, as in GDAS, and not a mixture of all.
    """

    arc_learning_rate: float = 3e-4
    temperature: float = 1.0
    final_temperature: float = 0.33
    hard: bool = False


@dataclass(frozen=True, kw_only=True)
class GaeaSettings(TemperatureSettings, PartialSettings):
    """Settings of GAEA.

    Parameters
    ----------
    base
        The mixture whose weights are trained: ``darts``, of all candidates; ``pc_darts``, of all on
        a part of the channels; or ``gdas``, which samples one of them. The temperature is that of
        ``gdas``, ``partial_channels`` that of ``pc_darts``.
    """

    base: Base = "darts"

    def __post_init__(self) -> None:
        check_choice("base", self.base, get_args(Base))
        super().__post_init__()
