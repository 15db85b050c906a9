"""What hidden states are aligned with: the seam between the methods that align."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from nni.mutable import Sample

from ..children.samples import digest
from ..samplers.streams import Stream
from ..scoring.anchor import Anchor
from ..supernet.hidden_states import States
from .term import TrainingSupernet

__all__ = ["AnchorTarget", "Target"]


class Target(ABC):
    """Gives the hidden states to align with; it owns its state, as a loss term does.

    Attributes
    ----------
    module : TrainingSupernet
        What trains the supernet, since :meth:`begin`.
    warmup_epochs : int
        Epochs without alignment, which the alignment term sets when training starts.
    """

    module: TrainingSupernet
    warmup_epochs = 0

    def begin(self, module: TrainingSupernet) -> None:
        """Called when a fit begins; the state is loaded already if ``module.resumes``."""
        self.module = module

    @abstractmethod
    def renew(self) -> None:
        """Called before every batch, while the children are still those of the batch before."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether there is something to align with."""

    @abstractmethod
    def states(self, replay: Callable[[Sample], States]) -> States:
        """Hidden states to align with; ``replay`` gives those of a child for the present inputs."""

    def restricted(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        """Called after candidates were deleted; see :class:`nni_magic.losses.term.LossTerm`."""

    def validated(self) -> Sequence[Sample] | None:
        """Give the children that validation should score; ``None`` for the usual panel."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """All that the target needs to go on, in plain types and tensors."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""


class AnchorTarget(Target):
    """Aligns with one child, the anchor; a method says in :meth:`renew_anchor` when it changes.

    Parameters
    ----------
    candidates
        Number of random children among which an anchor is elected.

    Attributes
    ----------
    anchor : Anchor
        Since :meth:`begin`.
    """

    anchor: Anchor

    def __init__(self, candidates: int) -> None:
        self.candidates = candidates
        self._loaded: Mapping[str, Any] | None = None

    def begin(self, module: TrainingSupernet) -> None:
        super().begin(module)
        self.anchor = Anchor(module.leaderboard.score, module.scorer.mode)
        if module.resumes and self._loaded is not None:
            self.anchor.load_state_dict(self._loaded["anchor"])

    @abstractmethod
    def renew_anchor(self) -> None:
        """Elect or replace the anchor if it is time to."""

    def renew(self) -> None:
        self.renew_anchor()
        if self.anchor.sample is not None and self.module.log_is_due:
            number = float(int(digest(self.anchor.sample)[:6], 16))
            known = {
                "anchor/score": self.anchor.last_score,
                "anchor/replacements": float(self.anchor.replacements),
            }
            self.module.log_dict({"anchor/digest": number})
            self.module.log_dict(known, prog_bar=True)

    @property
    def ready(self) -> bool:
        return self.anchor.sample is not None

    def states(self, replay: Callable[[Sample], States]) -> States:
        return replay(cast(Sample, self.anchor.sample))

    def restricted(
        self, allowed: Mapping[str, Sequence[Any]], ranked: Sequence[tuple[Sample, float]]
    ) -> None:
        """Replace an anchor that holds a deleted candidate."""
        anchor = self.anchor.sample
        if anchor is not None and any(anchor[label] not in allowed[label] for label in allowed):
            best = [sample for sample, _ in ranked[:1]]
            self.anchor.elect(best or self.module.draw_children(self.candidates, Stream.ANCHOR))

    def validated(self) -> Sequence[Sample] | None:
        return None if self.anchor.sample is None else [self.anchor.sample]

    def state_dict(self) -> dict[str, Any]:
        return {"anchor": self.anchor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loaded = state  # an anchor needs a scorer, which there is when the fit begins
