"""Samplers that take their children from another one, and say what a step does with them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..supernet.step import Step
from .base import Probe, Sampler
from .uniform import UniformSampler

__all__ = ["ComposedSampler", "MakeSampler"]

MakeSampler = Callable[..., Sampler]
"""Makes a sampler of a space, with ``seed`` and ``filter``: a class, or a ``partial`` of one."""


class ComposedSampler(Sampler):
    """Base of the samplers that compose a step of another sampler's children.

    Subclasses give :meth:`turns`, and take children by :meth:`next`.

    Parameters
    ----------
    space, seed, filter
        See :class:`nni_magic.samplers.base.Sampler`.
    order
        Makes the sampler whose children they are, such as ``partial(GradualSampler, k=1)``.

    Attributes
    ----------
    inner : Sampler
        That sampler, with the same seed.

    Raises
    ------
    ValueError
        If the other sampler chooses all children of a step together, which would be lost here.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        order: MakeSampler = UniformSampler,
    ) -> None:
        self.inner = order(space, seed=seed, filter=filter)
        if type(self.inner).turns is not Sampler.turns:
            raise ValueError(
                f"order makes a {type(self.inner).__name__}, which chooses the children of a whole "
                "step; accepted are samplers that give one child after another"
            )
        self.watches_gradients = self.inner.watches_gradients
        self.watches_losses = self.inner.watches_losses
        super().__init__(space, seed=seed, filter=filter)

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        self.inner.reset(seed)

    def propose(self) -> Sample:
        return self.inner.propose()

    def next(self) -> Sample:
        """Take the other sampler's next child."""
        child = self.inner.next()
        self.current = dict(child)
        return child

    def tell(self, step: Step) -> None:
        self.inner.tell(step)

    def end(self, probe: Probe) -> None:
        self.inner.end(probe)

    def restrict(self, allowed: Mapping[str, Collection[Any]]) -> None:
        """Keep only some candidates, in the other sampler too; see :meth:`Sampler.restrict`."""
        self.inner.restrict(allowed)
        self.current = self.inner.current and dict(self.inner.current)
        super().restrict(allowed)
        self.reseated = self.inner.reseated

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.inner.load_state_dict(state["inner"])
