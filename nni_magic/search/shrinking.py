r"""Progressive shrinking: delete the least promising candidates while the supernet trains.

.. math:: P(b, o) = \frac{1}{|S_{b,o}|} \sum_{\alpha \in S_{b,o}} Val(\alpha)

==================  ====================================================================
:math:`S_{b,o}`     the evaluated children that contain block b and take candidate o in it
:math:`Val`         their validation scores, by :class:`nni_magic.search.ChildEvaluator`
:math:`P(b, o)`     the promise of a candidate
==================  ====================================================================

At the end of every epoch the ``n_drop`` pairs (b, o) of least promise are deleted, never the last
one of a block, until one child is left [Xu2021; Xu2022, Sec. 5.1]. With 26 blocks of 4 candidates
and ``n_drop=5`` that takes 78 deletions in 16 epochs.

Differences from the papers: under a constraint a candidate is kept when no valid child would be
left without it; a candidate that no evaluated child contains has no promise and goes after all that
have one.

[Xu2021] Xu et al., NAS-BERT: Task-Agnostic and Adaptive-Size BERT Compression with Neural
Architecture Search, KDD 2021.
[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nni.mutable import Sample

from ..children.samples import Candidates, digest
from ..samplers.streams import Stream
from ..samplers.uniform import UniformSampler
from ..scoring.scored import ScoredChild
from ..supernet.epochs import epochs_left
from ..support.errors import check_count
from ..support.modes import Mode
from .evaluation import ChildScores
from .promises import deletions, promises

__all__ = ["ProgressiveShrinking"]

_logger = logging.getLogger(__name__)


class ProgressiveShrinking:
    """Deletes the least promising candidates after every epoch until one child is left.

    Given to a strategy: ``MagicAT(shrinking=ProgressiveShrinking(), ...)``. Training then ends with
    one child, which the strategy exports.

    Parameters
    ----------
    n_drop
        Candidates deleted after an epoch.
    evaluations
        Different random children scored after an epoch; the paper's are 10,000.
    memory
        See :class:`nni_magic.search.ChildEvaluator`.

    Attributes
    ----------
    history : list of dict
        Of every shrinking, in plain types: ``epoch`` (those over), ``candidates`` before it,
        ``promise`` of each, ``dropped`` (label, choice), ``evaluated`` children, how many of them
        had no finite score (``not_finite``), the ``best`` with its ``score``, and the ``mode`` of
        scores. :mod:`nni_magic.search.shrinking_history` writes and draws it.
    """

    def __init__(
        self,
        *,
        n_drop: int = 5,
        evaluations: int = 1000,
        memory: int = 2**28,
    ) -> None:
        check_count("n_drop", n_drop)
        check_count("evaluations", evaluations)
        check_count("memory", memory)
        self.n_drop = n_drop
        self.evaluations = evaluations
        self.history: list[dict[str, Any]] = []
        self._memory = memory
        self._evaluate: ChildScores | None = None

    def begin(self, module: Any) -> None:
        """Make sure, before the first step, that the schedule ends with one child.

        A run resumed from between an epoch's last step and its end first catches up.

        Raises
        ------
        ValueError
            If the trainer's epochs are too few.
        """
        self._evaluate = None  # it belongs to a model and its trainer
        trainer = module.trainer
        if trainer.global_step == 0:
            self.history = []
        if trainer.current_epoch > 0:
            self.shrink(module, trainer.current_epoch)
        needed = sum(len(choices) - 1 for choices in module.sampler.candidates.values())
        epochs = epochs_left(trainer)
        if epochs * self.n_drop < needed:
            raise ValueError(
                f"n_drop is {self.n_drop}; accepted are whole numbers of at least "
                f"{math.ceil(needed / max(1, epochs))}, as {epochs:.0f} epochs have to make the "
                f"{needed} deletions that leave one child; or train "
                f"{math.ceil(needed / self.n_drop)} epochs"
            )

    def shrink(self, module: Any, epochs: int) -> None:
        """Evaluate children and delete candidates; once for a number of epochs.

        Parameters
        ----------
        module
            The strategy's Lightning module, in training.
        epochs
            Epochs that are over.
        """
        candidates = module.sampler.candidates
        if _one_child(candidates):
            module.trainer.should_stop = True
            return
        if self.history and self.history[-1]["epoch"] >= epochs:
            return
        if self._evaluate is None:
            self._evaluate = ChildScores(module.scorer, memory=self._memory)
        mode = module.scorer.mode
        children = module.draw_children(self.evaluations, Stream.SHRINKING, epochs)
        scores = self._evaluate(children)
        ranked = _ranked(children, scores, mode)
        worst = ranked[-1].score
        replaced = [score if math.isfinite(score) else worst for score in scores]
        promise = promises(children, replaced, candidates, module.sampler.active_labels)
        dropped = deletions(
            promise, candidates, self.n_drop, mode,
            _feasibility(module, [known.sample for known in ranked]),
        )  # fmt: skip
        self.history.append(
            {
                "epoch": epochs,
                "candidates": {label: list(choices) for label, choices in candidates.items()},
                "promise": promise,
                "dropped": dropped,
                "evaluated": len(children),
                "not_finite": len(children) - len(ranked),
                "best": ranked[0].sample,
                "score": ranked[0].score,
                "mode": mode,
            }
        )
        _logger.info(
            "After epoch %d deleted %s", epochs, ", ".join(f"{o} of {b}" for b, o in dropped)
        )
        self._restrict(module, dropped, ranked)

    def _restrict(
        self, module: Any, dropped: Sequence[tuple[str, Any]], ranked: list[ScoredChild]
    ) -> None:
        allowed = {
            label: [choice for choice in choices if (label, choice) not in dropped]
            for label, choices in module.sampler.candidates.items()
        }
        module.restrict(allowed, [known for known in ranked if _holds(known.sample, allowed)])
        if _one_child(allowed):
            _logger.info("One child is left: training ends")
            module.trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The history in plain types."""
        return {"history": self.history}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where :meth:`state_dict` was taken."""
        self.history = list(state["history"])


def _ranked(children: Sequence[Sample], scores: Sequence[float], mode: Mode) -> list[ScoredChild]:
    """Children with a finite score, best first; the others are counted and named in the log."""
    scored = [ScoredChild(*each) for each in zip(children, scores, strict=True)]
    finite = [known for known in scored if math.isfinite(known.score)]
    if not finite:
        raise ValueError(
            f"none of {len(children)} children has a finite score: the training has diverged; "
            "try a smaller learning rate"
        )
    if failed := [digest(s.sample) for s in scored if not math.isfinite(s.score)]:
        _logger.warning(
            "%d of %d children have no finite score and count as the worst: %s",
            len(failed), len(scored), ", ".join(failed),
        )  # fmt: skip
    return sorted(finite, key=lambda known: known.score, reverse=mode == "max")


def _feasibility(module: Any, evaluated: Sequence[Sample]) -> Callable[[Candidates], bool]:
    """Tells whether candidates leave a valid child: an evaluated one, or one that is found."""
    valid = list(evaluated)

    def feasible(candidates: Candidates) -> bool:
        if any(_holds(child, candidates) for child in valid):
            return True
        sampler = UniformSampler(module.training_module.model, seed=0, filter=module.sampler.filter)
        sampler.restrict(candidates)
        try:
            valid.append(sampler.next())
        except RuntimeError:
            return False
        return True

    return feasible


def _holds(child: Sample, candidates: Candidates) -> bool:
    return all(child[label] in choices for label, choices in candidates.items())


def _one_child(candidates: Candidates) -> bool:
    return all(len(choices) == 1 for choices in candidates.values())
