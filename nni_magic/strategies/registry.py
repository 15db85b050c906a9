"""All methods by name: a new one is a file with its strategy and a row here.

From the rows come the choices and options of the command lines, the names in plans, the contract
that the tests hold every strategy to, and the tables of the README and the docs. Reading them
loads neither torch nor NNI.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..support.errors import check_choice
from .differentiable.settings import (
    DartsPTSettings,
    DartsSettings,
    DropNASSettings,
    GaeaSettings,
    GumbelDartsSettings,
    PCDartsSettings,
    ProxylessSettings,
)
from .drawn_settings import (
    ENASSettings,
    FewShotSettings,
    PADASettings,
    PreNASSettings,
    ShiftNASSettings,
)
from .settings import (
    AverageAlignmentSettings,
    GradualSettings,
    MagicASettings,
    MagicATSettings,
    MethodSettings,
    PercentileAnchorSettings,
    SupernetSettings,
)
from .turn_settings import (
    AlphaNetSettings,
    AttentiveNASSettings,
    DelayedShrinkingSettings,
    MultiArchitectureSettings,
    SandwichSettings,
    TurnSettings,
)

if TYPE_CHECKING:
    from .seeded import Seeded

__all__ = ["METHODS", "Method", "method", "register"]


@dataclass(frozen=True)
class Method:
    """One row: what trains a supernet.

    Parameters
    ----------
    name
        In command lines, plans and reports.
    strategy
        Where its class is, as ``module:class``.
    settings
        What the class takes as keyword arguments.
    source
        Where it was published.
    summary
        What it does, in a line.
    for_analysis
        Whether it is there to be studied, and not to be used.
    differentiable
        Whether it trains a mixture of all candidates, and not children.
    """

    name: str
    strategy: str
    settings: type[MethodSettings]
    source: str
    summary: str
    for_analysis: bool = False
    differentiable: bool = False

    def load(self) -> type[Seeded]:
        """Import the strategy's class."""
        module, _, name = self.strategy.partition(":")
        found: type[Seeded] = getattr(importlib.import_module(module), name)
        return found

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its settings."""
        return tuple(field.name for field in fields(self.settings))


METHODS: dict[str, Method] = {}
"""Every method by its name."""


def register(row: Method) -> None:
    """Add a method, so that programs, plans and tests know it by its name.

    Raises
    ------
    ValueError
        If there is another one of its name.
    """
    if METHODS.setdefault(row.name, row) != row:
        raise ValueError(f"method {row.name!r} is {METHODS[row.name].strategy}; names are unique")


def method(name: str) -> Method:
    """Find a method.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> method("magic_t").settings(k=2).k
    2
    >>> method("random")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: strategy is 'random'; accepted are 'spos', 'magic_t', 'magic_a', 'magic_at', ...
    """
    check_choice("strategy", name, METHODS)
    return METHODS[name]


HERE = __package__
XU = "Xu et al., ICML 2022"
for _row in (
    Method("spos", f"{HERE}.spos:SPOS", SupernetSettings, "Guo et al., ECCV 2020",
           "uniform path sampling, the baseline"),
    Method("magic_t", f"{HERE}.magic_t:MagicT", GradualSettings, XU,
           "adjacent steps train children that differ in `k` operators"),
    Method("magic_a", f"{HERE}.magic_a:MagicA", MagicASettings, XU,
           "hidden states are aligned with those of the best child"),
    Method("magic_at", f"{HERE}.magic_at:MagicAT", MagicATSettings, XU,
           "MAGIC-T's child with MAGIC-A's loss"),
    Method("fairnas", f"{HERE}.fairnas:FairNAS", TurnSettings, "Chu et al., ICCV 2021",
           "every step trains every candidate once"),
    Method("sandwich", f"{HERE}.sandwich:Sandwich", SandwichSettings, "Yu et al., ECCV 2020",
           "every step trains the largest child, which teaches the smallest and random ones"),
    Method("alphanet", f"{HERE}.alphanet:AlphaNet", AlphaNetSettings, "Wang et al., ICML 2021",
           "the sandwich rule, distilled with an adaptive α-divergence"),
    Method("attentive_nas", f"{HERE}.attentive_nas:AttentiveNAS", AttentiveNASSettings,
           "Wang et al., CVPR 2021",
           "the sandwich rule, whose random children are picked by their loss on the batch"),
    Method("multi_architecture", f"{HERE}.multi_architecture:MultiArchitecture",
           MultiArchitectureSettings, "Liao et al., 2021",
           "every step trains several children, each on its part of the batch"),
    Method("delayed_shrinking", f"{HERE}.delayed_shrinking:DelayedShrinking",
           DelayedShrinkingSettings, "Annavajjala et al., ECCV 2024",
           "the largest child alone, then the sandwich rule"),
    Method("shiftnas", f"{HERE}.shiftnas:ShiftNAS", ShiftNASSettings, "Zhang et al., ICCV 2023",
           "children of all costs, more of those whose loss lags behind"),
    Method("prenas", f"{HERE}.prenas:PreNAS", PreNASSettings, "Wang et al., ICML 2023",
           "only the children of every cost that a zero-cost score prefers"),
    Method("pada", f"{HERE}.pada:PADA", PADASettings, "Lu et al., CVPR 2023",
           "candidates and rows of the data by the norms of their gradients"),
    Method("few_shot", f"{HERE}.few_shot:FewShot", FewShotSettings, "Zhao et al., ICML 2021",
           "one supernet, then one for every group of a block's candidates"),
    Method("enas", f"{HERE}.enas:ENAS", ENASSettings, "Pham et al., ICML 2018",
           "children of a controller that learns from their validation scores"),
    Method("gaea", f"{HERE}.differentiable.gaea:GAEA", GaeaSettings, "Li et al., ICLR 2021",
           "a mixture of all candidates, whose weights move on the simplex by exponentiated "
           "gradient", differentiable=True),
    Method("darts", f"{HERE}.differentiable.darts:Darts", DartsSettings, "Liu et al., ICLR 2019",
           "a mixture of all candidates, whose weights are a softmax", differentiable=True),
    Method("pc_darts", f"{HERE}.differentiable.pc_darts:PCDarts", PCDartsSettings,
           "Xu et al., ICLR 2020", "a mixture of all candidates on a part of the channels",
           differentiable=True),
    Method("darts_pt", f"{HERE}.differentiable.darts_pt:DartsPT", DartsPTSettings,
           "Wang et al., ICLR 2021",
           "a mixture, of which block by block the candidate stays whose removal hurts most",
           differentiable=True),
    Method("drop_nas", f"{HERE}.differentiable.drop_nas:DropNAS", DropNASSettings,
           "Hong et al., IJCAI 2020", "a mixture from which candidates are dropped in groups",
           differentiable=True),
    Method("proxyless_nas", f"{HERE}.differentiable.proxyless:Proxyless", ProxylessSettings,
           "Cai et al., ICLR 2019", "one path of a mixture at a time, drawn by its weights",
           differentiable=True),
    Method("gumbel_darts", f"{HERE}.differentiable.gumbel_darts:GumbelDarts", GumbelDartsSettings,
           "Dong and Yang, CVPR 2019",
           "a mixture of all candidates, whose weights are sampled by Gumbel noise",
           differentiable=True),
    Method("average_alignment", f"{HERE}.average:AverageAlignment", AverageAlignmentSettings, XU,
           "hidden states are aligned with the average of random children", for_analysis=True),
    Method("percentile_anchor", f"{HERE}.percentile:PercentileAnchor", PercentileAnchorSettings, XU,
           "MAGIC-A with an anchor of a chosen quality", for_analysis=True),
):  # fmt: skip
    register(_row)
