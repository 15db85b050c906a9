"""Base of the strategies that train several children in a step."""

from __future__ import annotations

from typing import Any

from .base import SupernetStrategy
from .turn_settings import TurnSettings

__all__ = ["SeveralTurns"]


class SeveralTurns(SupernetStrategy):
    """Train several children in a step, in one backward pass or turn by turn.

    Parameters are those of :class:`nni_magic.strategies.base.SupernetStrategy`, with
    :class:`nni_magic.strategies.turn_settings.TurnSettings`.
    """

    settings_class = TurnSettings
    settings: TurnSettings

    def __init__(self, filter: Any = None, **kwargs: Any) -> None:
        super().__init__(filter, **kwargs)
        self.turn_by_turn = self.settings.turn_by_turn
