"""One-shot strategies: SPOS, the baseline, MAGIC-T, MAGIC-A and MAGIC-AT, and others' methods.

An NNI project swaps one in by changing the line that imports its strategy. ``AverageAlignment``
and ``PercentileAnchor`` are the paper's variants of MAGIC-A, for analysis. The classes are loaded
when they are asked for: :mod:`nni_magic.strategies.registry` and the settings need no torch.
"""

from typing import TYPE_CHECKING, Any

from .registry import METHODS

if TYPE_CHECKING:
    from .alphanet import AlphaNet
    from .attentive_nas import AttentiveNAS
    from .average import AverageAlignment
    from .delayed_shrinking import DelayedShrinking
    from .differentiable.darts import Darts
    from .differentiable.darts_pt import DartsPT
    from .differentiable.drop_nas import DropNAS
    from .differentiable.gaea import GAEA
    from .differentiable.gumbel_darts import GumbelDarts
    from .differentiable.pc_darts import PCDarts
    from .differentiable.proxyless import Proxyless
    from .enas import ENAS
    from .fairnas import FairNAS
    from .few_shot import FewShot
    from .magic_a import MagicA
    from .magic_at import MagicAT
    from .magic_t import MagicT
    from .multi_architecture import MultiArchitecture
    from .pada import PADA
    from .percentile import PercentileAnchor
    from .prenas import PreNAS
    from .sandwich import Sandwich
    from .shiftnas import ShiftNAS
    from .spos import SPOS

__all__ = [
    "ENAS", "GAEA", "PADA", "SPOS", "AlphaNet", "AttentiveNAS", "AverageAlignment", "Darts",
    "DartsPT", "DelayedShrinking", "DropNAS", "FairNAS", "FewShot", "GumbelDarts", "MagicA",
    "MagicAT", "MagicT", "MultiArchitecture", "PCDarts", "PercentileAnchor", "PreNAS", "Proxyless",
    "Sandwich", "ShiftNAS",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    for method in METHODS.values():
        if method.strategy.partition(":")[2] == name:
            return method.load()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
