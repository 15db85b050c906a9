"""Which layers a run aligns: those asked for, or those that can be aligned by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import Sample
from torch import nn

from ..supernet.alignable import obstacles
from ..supernet.hidden_states import Call
from ..supernet.layers import named_layers, numbered_layers
from ..supernet.routing import Router

__all__ = ["AlignedLayers", "every_nth"]

PAPERS = 4
"""Every so many layers are aligned in the paper, of 26."""


class AlignedLayers:
    """Chooses the layers, once a run: one that is resumed has those it began with.

    Parameters
    ----------
    align_every
        Take every so many of the layers that can be aligned by themselves: those that another
        layer reads, never what goes to the head, and that give a tensor, or a list of tensors, of
        one shape in all children. By default every fourth, or the last one where there are fewer.
    wanted
        Instead, exactly these: layers by number, from 1, or modules by their name; see
        :func:`nni_magic.supernet.layers.named_layers`.

    Attributes
    ----------
    names : list of str
        Names of the layers, since they were chosen.
    total : int
        Layers that the model has in all.
    """

    def __init__(self, align_every: int | None, wanted: Sequence[int | str] | None) -> None:
        self.align_every = align_every
        self.wanted = wanted
        self.names: list[str] = []
        self.total = 0

    def choose(
        self,
        model: nn.Module,
        call: Call,
        children: Sequence[Sample],
        router: Router,
        positions: tuple[int, ...] = (),
    ) -> dict[str, nn.Module]:
        """Choose the layers, by name.

        Parameters
        ----------
        model
            The supernet.
        call
            Inputs of the model.
        children
            Children that together hold all candidates; the path is set to the first of them.
        router
            Sets the supernet's path.
        positions
            Shape of the padding mask, if there is one.

        Raises
        ------
        ValueError
            If a layer does not exist, none would be aligned, or a run that is resumed has aligned
            others.
        """
        numbered = numbered_layers(model, call)
        self.total = len(numbered)
        if self.wanted is not None:
            chosen = named_layers(model, call, self.wanted)
            if self.names and self.names != list(chosen):
                raise ValueError(
                    f"aligned_layers is {list(self.wanted)}; accepted are {self.names}, which the "
                    "run that is resumed has aligned so far"
                )
        elif self.names:
            return named_layers(model, call, self.names)
        else:
            against = obstacles(model, numbered, call, children, router, positions)
            able = [name for name in numbered if name not in against]
            chosen = {name: numbered[name] for name in self._every(able, against)}
        self.names = list(chosen)
        return chosen

    def _every(self, able: Sequence[str], against: Mapping[str, str]) -> Sequence[str]:
        if not able:
            raise ValueError(
                f"no layer can be aligned by itself, {_told(against)}. Pass aligned_layers, "
                "numbers or names of modules whose output has one shape in all children, or take a "
                "space with more choice blocks, or a strategy that does not align"
            )
        if chosen := every_nth(able, self.align_every):
            return chosen
        raise ValueError(
            f"align_every is {self.align_every}; accepted are 1 to {len(able)}, the number of "
            f"layers that can be aligned by themselves ({', '.join(able)}), so that one is; "
            f"or pass aligned_layers. Not counted are {', '.join(against)}"
        )

    def state_dict(self) -> dict[str, Any]:
        """Names of the layers chosen."""
        return {"names": self.names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the layers of :meth:`state_dict`."""
        self.names = list(state["names"])


def every_nth(able: Sequence[str], align_every: int | None) -> Sequence[str]:
    """Take every so many; by default every fourth, or the last one where there are fewer.

    Examples
    --------
    >>> every_nth("abcdefgh", 3), every_nth("abcdefgh", None), every_nth("abc", None)
    ('cf', 'dh', 'c')
    """
    if align_every is None and len(able) < PAPERS:
        return able[-1:]
    every = align_every or PAPERS
    return able[every - 1 :: every]


def _told(against: Mapping[str, str]) -> str:
    """Obstacles, each with the layers that it concerns."""
    if not against:
        return "as there is no choice block"
    concerned: dict[str, list[str]] = {}
    for name, obstacle in against.items():
        concerned.setdefault(obstacle, []).append(name)
    each = (f"{why} ({', '.join(names)})" for why, names in concerned.items())
    return f"as outputs are {'; '.join(each)}"
