"""The seam between a strategy and what shrinks its space."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

__all__ = ["Shrinking", "refuse_shrinking"]


@runtime_checkable
class Shrinking(Protocol):
    """What deletes candidates while a supernet trains; see ``nni_magic.search``.

    ``begin()`` is called before the first step, also that of a resumed run; ``shrink()`` when
    ``epochs`` are over. Both may call :meth:`SupernetModule.restrict`.
    """

    def begin(self, module: Any) -> None: ...

    def shrink(self, module: Any, epochs: int) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def refuse_shrinking(shrinking: Shrinking | None, why: str) -> None:
    """Refuse a shrinking under a method that it would take something necessary from.

    Raises
    ------
    ValueError
        If there is one.
    """
    if shrinking is not None:
        raise ValueError(f"shrinking is {shrinking!r}; accepted is None, as {why}")
