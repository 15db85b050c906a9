"""MAGIC-AT: the child of MAGIC-T with the loss of MAGIC-A, and nothing else [Xu2022, App. B].

Differences from the paper: those of MAGIC-T and of MAGIC-A; and by default four walks take turns,
so that steps t and t + 4 train adjacent children. With a single walk, the paper's, which
``walks=1`` has, children were worse than SPOS's on two of four small spaces; with four on none by
more than SPOS's spread over seeds, see docs/evidence.md.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

from .magic_a import MagicA
from .magic_t import MagicT
from .settings import MagicATSettings

__all__ = ["MagicAT"]


class MagicAT(MagicA, MagicT):
    """Train a supernet with gradual modification and alignment together.

    Parameters are those of :class:`MagicT` and :class:`MagicA`, with
    :class:`nni_magic.strategies.settings.MagicATSettings`.
    """

    settings_class = MagicATSettings
    settings: MagicATSettings
