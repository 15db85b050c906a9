"""One-shot strategies: SPOS, the baseline, and MAGIC-T, MAGIC-A and MAGIC-AT.

An NNI project swaps one in by changing the line that imports its strategy. ``AverageAlignment``
and ``PercentileAnchor`` are the paper's variants of MAGIC-A, for analysis. The classes are loaded
when they are asked for: :mod:`nni_magic.strategies.registry` and the settings need no torch.
"""

from typing import TYPE_CHECKING, Any

from .registry import METHODS

if TYPE_CHECKING:
    from .average import AverageAlignment
    from .magic_a import MagicA
    from .magic_at import MagicAT
    from .magic_t import MagicT
    from .percentile import PercentileAnchor
    from .spos import SPOS

__all__ = ["SPOS", "AverageAlignment", "MagicA", "MagicAT", "MagicT", "PercentileAnchor"]


def __getattr__(name: str) -> Any:
    for method in METHODS.values():
        if method.strategy.partition(":")[2] == name:
            return method.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
