"""The padding mask among what the evaluator calls the model with."""

from __future__ import annotations

import inspect
from inspect import Parameter

from torch import Tensor, nn

from ..supernet.hidden_states import Call
from ..support.names import MASK_ARGUMENT

__all__ = ["PaddingMask"]


class PaddingMask:
    """Finds the padding mask among the arguments of a call of the model.

    Parameters
    ----------
    model
        The model.
    argument
        Name of the argument of ``forward`` that is the mask, nonzero where real; ``None`` for none.

    Raises
    ------
    ValueError
        If ``forward`` has no such argument, unless it is the default's.
    """

    def __init__(self, model: nn.Module, argument: str | None) -> None:
        self.argument = argument
        self._signature = inspect.signature(model.forward)
        kinds = {name: each.kind for name, each in self._signature.parameters.items()}
        names = [name for name, kind in kinds.items() if kind is not Parameter.VAR_POSITIONAL]
        known = (None, MASK_ARGUMENT, *names)
        if argument not in known and Parameter.VAR_KEYWORD not in kinds.values():
            raise ValueError(
                f"mask_argument is {argument!r}; accepted are the arguments {names} of "
                f"{type(model).__name__}'s forward, and None to align without a mask"
            )

    def __call__(self, call: Call) -> Tensor | None:
        """The mask of a call, if it was given one."""
        if self.argument is None:
            return None
        given = self._signature.bind(*call.args, **call.kwargs).arguments
        return given.get(self.argument, call.kwargs.get(self.argument))
