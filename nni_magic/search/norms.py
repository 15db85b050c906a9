"""See whether steps of a chain run the same BatchNorm.

Such a norm has one set of statistics in a child: the average over its calls in all the steps. A
chain that is run step by step would take one set for every step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from nni.mutable import Sample
from torch import nn

from ..supernet.calibration import tracking_norms
from ..supernet.chain import ChainStep
from ..supernet.hidden_states import Call

__all__ = ["share_norms"]


def share_norms(steps: Sequence[ChainStep], children: Sequence[Sample], call: Call) -> bool:
    """Tell whether a norm with running statistics is run by more than one step.

    Parameters
    ----------
    steps
        The chain.
    children
        Are run where the modules of the steps do not tell: a stem and a head that are methods may
        each run all modules outside of the layers.
    call
        A call of the model to run them on, in evaluation mode.
    """
    if len(steps) == 1:
        return False
    owned: list[set[nn.Module]] = [{*tracking_norms(step.modules)} for step in steps]
    ends = owned[0] & owned[-1]
    inner = [step - ends for step in owned]
    if sum(map(len, inner)) > len(set().union(*inner)) or ends & set().union(*owned[1:-1]):
        return True
    return bool(ends) and any(_run_twice(ends, steps, child, call) for child in children)


def _run_twice(
    norms: set[nn.Module], steps: Sequence[ChainStep], child: Sample, call: Call
) -> bool:
    """Whether the first and the last step of a child run one of these norms."""
    state: Any = call.copy()  # a step may change it in place
    ran: list[set[nn.Module]] = []
    for step in steps:
        if step.key(child) is not None:
            step.route(child)
            with _noted(norms) as seen:
                state = step.run(state, **step.given(call))
            ran.append(seen)
    return bool(ran[0] & ran[-1])


@contextlib.contextmanager
def _noted(norms: set[nn.Module]) -> Iterator[set[nn.Module]]:
    """Collect those of some norms that are run while the block runs."""
    seen: set[nn.Module] = set()

    def note(norm: nn.Module, *_: Any) -> None:
        seen.add(norm)

    hooks = [norm.register_forward_hook(note) for norm in norms]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
