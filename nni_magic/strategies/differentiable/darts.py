r"""DARTS: a mixture by softmax, trained by Adam [Liu2019].

.. math::
    \theta_{e,o} = \frac{\exp \alpha_{e,o}}{\sum_{o'} \exp \alpha_{e,o'}}

Differences from the paper: the second-order gradient is left out, as in NNI's ``DARTS``. That runs
on today's libraries as it is; this one has the seeds, checkpoints, checks and scores of the
strategies here, so that others can be compared with it.

[Liu2019] Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, ICLR 2019.
"""

from __future__ import annotations

from .base import Differentiable
from .settings import DartsSettings

__all__ = ["Darts"]


class Darts(Differentiable):
    """Train a mixture whose weights are a softmax, by Adam.

    Parameters are those of :class:`nni_magic.strategies.differentiable.base.Differentiable`, with
    :class:`nni_magic.strategies.differentiable.settings.DartsSettings`.
    """

    settings_class = DartsSettings
