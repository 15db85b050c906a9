"""What a trial of the pipeline is to do, as the tuner and the trial agree on it.

A task travels as the trial's parameters, which NNI's web page shows::

    {"stage": "supernet"}
    {"stage": "supernet", "baselines": ["bert"]}
    {"stage": "search", "generation": 3}
    {"stage": "search", "generation": 3, "child": 7, "children": 20}
    {"stage": "retrain", "rank": 1}
    {"stage": "retrain", "baseline": "bert"}

All count from 1. The first trial is told the baselines of the last ones, so that a wrong name is
found before hours have gone into the supernet. A task tried again has ``"attempt": 2`` beside it.
Nothing here needs torch, because NNI waits no longer than ten seconds for a tuner to start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Task"]

_SHAPES: dict[Any, list[set[str]]] = {
    "supernet": [set(), {"baselines"}],
    "search": [{"generation"}, {"generation", "child", "children"}],
    "retrain": [{"rank"}, {"baseline"}],
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One piece of work of the pipeline; tries of the same work are the same task."""

    stage: str
    generation: int | None = None
    child: int | None = None
    children: int | None = None
    """Of a generation, where each has a trial of its own."""
    rank: int | None = None
    baseline: str | None = None
    baselines: Sequence[str] | None = dataclasses.field(default=None, compare=False)
    """Of a supernet: those that are trained at the end."""

    @classmethod
    def parse(cls, parameters: Any) -> Task:
        """Read the parameters of a trial; an ``attempt`` is passed over.

        Raises
        ------
        ValueError
            If they are not those of a task.

        Examples
        --------
        >>> Task.parse({"stage": "retrain", "rank": 1, "attempt": 2})  # doctest: +ELLIPSIS
        Task(stage='retrain', ..., rank=1, baseline=None, baselines=None)
        """
        named = dict(parameters) if isinstance(parameters, Mapping) else {}
        named.pop("attempt", None)
        stage = named.pop("stage", None)
        fits = isinstance(stage, str) and named.keys() in _SHAPES.get(stage, [])
        fits = fits and all(_is_value(*pair) for pair in named.items())
        if not fits or named.get("child", 0) > named.get("children", 0):
            raise ValueError(
                f"the trial's parameters are {parameters!r}; accepted are those that MagicTuner "
                "gives, the tuner of a pipeline's experiment"
            )
        return cls(stage=stage, **named)

    def parameters(self, attempt: int = 1) -> dict[str, Any]:
        """Give the parameters of a trial that does this task.

        Examples
        --------
        >>> Task(stage="search", generation=3).parameters(attempt=2)
        {'stage': 'search', 'generation': 3, 'attempt': 2}
        """
        again = {"attempt": attempt} if attempt > 1 else {}
        return {name: value for name, value in vars(self).items() if value is not None} | again

    def __str__(self) -> str:
        """Name the task.

        Examples
        --------
        >>> str(Task(stage="search", generation=3, child=7, children=20))
        'search, generation 3, child 7'
        """
        named = {**self.parameters(), "children": None, "stage": None, "baselines": None}
        numbers = [f"{name} {value}" for name, value in named.items() if value is not None]
        return ", ".join([self.stage, *numbers])


def _is_value(name: str, value: Any) -> bool:
    if name == "baseline":
        return isinstance(value, str)
    if name == "baselines":
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return type(value) is int and value >= 1
