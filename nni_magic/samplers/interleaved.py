"""Several gradual walks in turn: between the walk of MAGIC-T and the draws of SPOS."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import LabeledMutable, Mutable, Sample

from ..children.samples import Candidates
from ..support.errors import check_count
from .gradual import GradualSampler

__all__ = ["InterleavedSampler"]


class InterleavedSampler(GradualSampler):
    """Several walks of MAGIC-T [Xu2022] that take turns, each from a start of its own.

    Sample t belongs to walk t mod ``walks``: it differs in ``k`` active labels from sample
    t - ``walks``, and from the ``walks`` - 1 samples in between like two random ones. So the
    samples given last are not all near each other, as they are in a single walk.

    Parameters
    ----------
    space, seed, filter, k, lazy
        See :class:`nni_magic.samplers.gradual.GradualSampler`; with one walk the samples are
        its samples.
    walks
        Number of walks.

    Raises
    ------
    ValueError
        If ``walks`` is less than 1, or as for :class:`nni_magic.samplers.gradual.GradualSampler`.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        k: int = 1,
        lazy: bool = False,
        walks: int,
    ) -> None:
        check_count("walks", walks)
        self.walks = walks
        super().__init__(space, seed=seed, filter=filter, k=k, lazy=lazy)

    def reset(self, seed: int | Sequence[int]) -> None:
        """Start all walks again from a seed. Restrictions stay."""
        super().reset(seed)
        # Where the other walks are, the next one first; ``current`` is where the last one is.
        self._waiting: deque[Sample | None] = deque([None] * (self.walks - 1))

    def next(self) -> Sample:
        """Draw the next sample of the walk whose turn it is; see :meth:`Sampler.next`."""
        self._turn()
        return super().next()

    def _turn(self) -> None:
        self._waiting.append(self.current)
        self.current = self._waiting.popleft()

    def _reseat(self, kept: Candidates) -> None:
        for _ in range(self.walks):
            self._turn()
            super()._reseat(kept)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next sample depends on, in plain types."""
        return {**super().state_dict(), "waiting": [s and dict(s) for s in self._waiting]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken.

        Raises
        ------
        ValueError
            If the state is of a space with other labels or choices, or of other walks.
        """
        if len(state["waiting"]) != self.walks - 1:
            raise ValueError(
                f"the state is of {len(state['waiting']) + 1} walks; the sampler has {self.walks}"
            )
        super().load_state_dict(state)
        self._waiting = deque(s and dict(s) for s in state["waiting"])
