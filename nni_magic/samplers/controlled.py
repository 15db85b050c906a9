r"""ENAS [Pham2018]: a recurrent controller draws children, and learns which have good scores.

[Pham2018] Pham et al., Efficient Neural Architecture Search via Parameter Sharing, ICML 2018.
"""

from __future__ import annotations

import copy
import logging
import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from nni.mutable import LabeledMutable, Mutable, Sample
from torch import Tensor, nn

from ..supernet.step import Turn
from ..support.errors import check_count, check_number
from .base import Probe, Sampler

__all__ = ["ControlledSampler", "Controller"]

_logger = logging.getLogger(__name__)

HIDDEN = 64
"""Units of the controller's LSTM."""

SHARPNESS = 1.5
"""Logits are between minus this and this, so that no candidate is ever given up."""

MOMENTUM = 0.99
"""Of the mean reward that a child's reward is compared with."""


class Controller(nn.Module):
    r"""An LSTM that chooses for one label after the other, and reads what it has chosen.

    .. math:: p(o_i \mid o_{<i}) = \text{softmax}(\kappa \tanh(W_i h_i)),
              \qquad h_i = \text{LSTM}(e(o_{i-1}), h_{i-1})

    Parameters
    ----------
    sizes
        Candidates of every label.
    seed
        Of its weights, uniform between -0.1 and 0.1.
    """

    def __init__(self, sizes: Sequence[int], seed: int) -> None:
        super().__init__()
        # In double precision, so that all processes of DDP draw alike on any processor.
        own: dict[str, Any] = {"device": "cpu", "dtype": torch.float64}
        with torch.random.fork_rng(devices=[]):  # from which the layers draw their first weights
            self.cell = nn.LSTMCell(HIDDEN, HIDDEN, **own)
            self.heads = nn.ModuleList(nn.Linear(HIDDEN, n, bias=False, **own) for n in sizes)
            self.chosen = nn.ModuleList(nn.Embedding(n, HIDDEN, **own) for n in sizes)
        self.start = nn.Parameter(torch.empty(1, HIDDEN, **own))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in self.parameters():
                weight.uniform_(-0.1, 0.1, generator=generator)

    def forward(
        self, choose: Callable[[Tensor], int], gone: Sequence[Tensor]
    ) -> tuple[list[int], Tensor]:
        """Go through all labels.

        Parameters
        ----------
        choose
            Is given the log-probabilities of a label's candidates, and gives the index of one.
        gone
            Whether each candidate was deleted, label by label.

        Returns
        -------
        tuple
            The indices, and their log-probabilities, ``(labels,)``.
        """
        inputs: Tensor = self.start
        state, indices, logs = None, [], []
        for head, embedding, deleted in zip(self.heads, self.chosen, gone, strict=True):
            state = self.cell(inputs, state)
            logits = SHARPNESS * torch.tanh(head(state[0])[0])
            log_p = logits.masked_fill(deleted, -math.inf).log_softmax(0)
            indices.append(choose(log_p))
            logs.append(log_p[indices[-1]])
            inputs = embedding(torch.tensor(indices[-1:], device="cpu"))
        return indices, torch.stack(logs)


class ControlledSampler(Sampler):
    r"""Children of a controller that is trained by REINFORCE after every epoch [Pham2018].

    .. math:: \nabla_\theta \sum_i \log p(o_i) \, (r - b), \qquad
              r = \text{score} + \beta \sum_i - p(o_i) \log p(o_i)

    Choices that have no effect count as well: the controller reads them, too.

    Parameters
    ----------
    space, seed, filter
        See :class:`nni_magic.samplers.base.Sampler`.
    n_steps
        Steps of the controller's optimizer after an epoch; each is by the score of one child.
    learning_rate
        Of its Adam.
    entropy_weight
        β.

    Attributes
    ----------
    controller : Controller
        Gives the probabilities.
    baseline : float or None
        b, the mean of the rewards with momentum; ``None`` before the first.
    """

    def __init__(
        self,
        space: Mutable | Mapping[str, LabeledMutable],
        *,
        seed: int | Sequence[int],
        filter: Any = None,
        n_steps: int = 50,
        learning_rate: float = 1e-3,
        entropy_weight: float = 1e-4,
    ) -> None:
        check_count("controller_steps", n_steps)
        check_number("controller_learning_rate", learning_rate, above=0)
        check_number("entropy_weight", entropy_weight, at_least=0)
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.entropy_weight = entropy_weight
        super().__init__(space, seed=seed, filter=filter)

    def reset(self, seed: int | Sequence[int]) -> None:
        super().reset(seed)
        own = int(self._rng.integers(2**63))
        self.controller = Controller([len(choices) for choices in self._all.values()], own)
        self._optimizer = torch.optim.Adam(
            self.controller.parameters(), lr=self.learning_rate, betas=(0.0, 0.999), eps=1e-3
        )
        self.baseline: float | None = None
        self._epoch = self._left = 0
        self._gone: tuple[Any, list[Tensor]] | None = None

    def propose(self) -> Sample:
        """Let the controller draw a child."""
        points = iter(self._rng.random(len(self._all)).tolist())

        def choose(log_p: Tensor) -> int:
            *bounds, total = accumulate(log_p.exp().tolist())
            return bisect(bounds, next(points) * total)

        with torch.no_grad():
            indices, _ = self.controller(choose, self._deleted())
        return {
            label: choices[i]
            for (label, choices), i in zip(self._all.items(), indices, strict=True)
        }

    def log_probabilities(self, child: Sample) -> Tensor:
        """Log-probabilities of a child's choices, ``(labels,)``."""
        given = iter([self._all[label].index(choice) for label, choice in child.items()])
        return self.controller(lambda log_p: next(given), self._deleted())[1]

    def _deleted(self) -> list[Tensor]:
        """Whether each candidate was deleted, label by label."""
        if self._gone is None or self._gone[0] is not self.candidates:
            gone = [
                torch.tensor([choice not in self.candidates[label] for choice in choices],
                             device="cpu")
                for label, choices in self._all.items()
            ]  # fmt: skip
            self._gone = self.candidates, gone
        return self._gone[1]

    def turns(self, probe: Probe) -> list[Turn]:
        """The controller's next child; when an epoch is over it is trained first."""
        if probe.epoch > self._epoch:
            self._epoch, self._left = probe.epoch, self.n_steps
        self._train(probe)
        return super().turns(probe)

    def end(self, probe: Probe) -> None:
        """Train the controller after the last epoch, too."""
        self._left = self.n_steps
        self._train(probe)

    def _train(self, probe: Probe) -> None:
        """Make the steps that are left; some, if an error ended them and the run goes on."""
        rewards = []
        while self._left:
            rewards.append(self._learn(probe))
            self._left -= 1
        if rewards:
            mean = np.mean(rewards)
            _logger.info("The controller's children have a mean reward of %.4f", mean)

    def _learn(self, probe: Probe) -> float:
        """Make one step by the score of one child; none by a score that is not finite."""
        child = self.next()
        score = probe.reward(child)
        if not math.isfinite(score):
            return score
        with torch.enable_grad():
            logs = self.log_probabilities(child)
            entropy = float(-(logs.detach().exp() * logs.detach()).sum())
            reward = score + self.entropy_weight * entropy
            known = reward if self.baseline is None else self.baseline
            self.baseline = MOMENTUM * known + (1 - MOMENTUM) * reward
            self._optimizer.zero_grad()
            (-(reward - self.baseline) * logs.sum()).backward()
        self._optimizer.step()
        return score

    def state_dict(self) -> dict[str, Any]:
        learned = {
            "controller": self.controller.state_dict(), "optimizer": self._optimizer.state_dict(),
            "baseline": self.baseline, "epoch": self._epoch, "left": self._left,
        }  # fmt: skip
        return {**super().state_dict(), **copy.deepcopy(learned)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        try:
            self.controller.load_state_dict(state["controller"])
        except RuntimeError as error:
            raise ValueError(f"the state is of another model space: {error}") from error
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self.baseline, self._epoch, self._left = state["baseline"], state["epoch"], state["left"]
