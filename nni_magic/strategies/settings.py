"""Settings of the strategies: frozen, checked when they are made, and read without torch or NNI.

A strategy takes them as keyword arguments, the programs from a command line, a YAML file or a
tuner's parameters. Every default stands here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from ..support.errors import check_choice, check_count, check_number
from ..support.kinds import check_kinds
from ..support.modes import Mode, mode_of
from ..support.names import MASK_ARGUMENT
from ..support.plain import plain_fields

__all__ = [
    "AlignmentSettings", "AverageAlignmentSettings", "GradualSettings", "MagicASettings",
    "MagicATSettings", "MethodSettings", "PercentileAnchorSettings", "SupernetSettings",
]  # fmt: skip

NotFinite = Literal["stop", "skip"]
"""What to do with an optimizer step that is not finite."""
StateError = Literal["cosine", "mse", "relative"]
"""Names in :data:`nni_magic.losses.state_errors.STATE_ERRORS`."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """Settings of all methods.

    Parameters
    ----------
    seed
        Makes the choice of children repeatable: those that are trained, validated, made anchors
        and searched. Weights, shuffling and dropout follow ``seed_everything``, as in any Lightning
        run; a run is repeatable with both. By default one is drawn and logged.
    metric
        Name of the metric, as the evaluator logs it in validation, by which children are scored;
        by default the evaluator's validation loss. Of several validation loaders,
        ``val_loss/dataloader_idx_1`` is one loader's; a plain name and the default are of all
        loaders together, weighted by batch sizes.
    mode
        Whether a smaller (``min``) or a larger (``max``) metric is better. By default what the
        name of the metric tells, such as max of ``val_acc``; other names need it.
    validation_batches
        Batches of the validation data on which a child is scored; of each loader, if there are
        several.
    calibration_batches
        Training batches on which a child's BatchNorm statistics are taken anew before it is
        scored or validated; with 0 the supernet's are used as they are, which fit no child. It has
        no effect without BatchNorm.
    not_finite
        What to do when a loss or a gradient is infinite or not a number: ``stop`` ends the training
        before the weights are changed, and names the child; ``skip`` leaves the optimizer step out,
        with a warning.
    """

    seed: int | None = None
    metric: str | None = None
    mode: Mode | None = None
    validation_batches: int = 4
    calibration_batches: int = 4
    not_finite: NotFinite = "stop"

    def __post_init__(self) -> None:
        plain_fields(self)
        mode_of(self.metric, self.mode)
        if self.seed is not None:
            check_count("seed", self.seed, at_least=0)
        check_count("validation_batches", self.validation_batches)
        check_count("calibration_batches", self.calibration_batches, at_least=0)
        check_choice("not_finite", self.not_finite, get_args(NotFinite))
        check_kinds(self)  # last, as a bound says more than a type


@dataclass(frozen=True, kw_only=True)
class SupernetSettings(MethodSettings):
    """Settings of all strategies that train a supernet's children.

    Parameters
    ----------
    validation_children
        Size of a fixed, seeded panel of children; the validation metrics are means over it.
    """

    validation_children: int = 8

    def __post_init__(self) -> None:
        check_count("validation_children", self.validation_children)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class GradualSettings(SupernetSettings):
    """Settings of MAGIC-T, whose child is modified gradually from step to step.

    Parameters
    ----------
    k
        Operators replaced between adjacent steps.
    lazy
        Draw a replacement from all candidates, the present one included. Use it when blocks
        have two candidates.
    walks
        Walks that take turns, see :class:`nni_magic.samplers.interleaved.InterleavedSampler`; the
        paper has 1.
    """

    k: int = 1
    lazy: bool = False
    walks: int = 1

    def __post_init__(self) -> None:
        check_count("k", self.k)
        check_count("walks", self.walks)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings(SupernetSettings):
    """Settings of the strategies that align hidden states.

    Parameters
    ----------
    alignment_weight
        λ, the weight of the alignment term.
    alignment_error
        How a hidden state is compared with the target's: ``cosine``, one minus the cosine; the
        paper's mean squared error ``mse``; or ``relative``, its share of the states' mean square.
    align_every
        Align every so many of the layers that can be aligned by themselves: what other layers read
        and has one shape in all children, and so never the last layer. By default every fourth, or
        the last of them where there are fewer.
    aligned_layers
        Instead, exactly these layers: by number, from 1, or by module name.
        See :func:`nni_magic.supernet.layers.numbered_layers` for what counts as a layer.
    mask_argument
        Argument of the model's ``forward`` that holds the padding mask, nonzero where real. The
        model need not have the default one.
    warmup_epochs
        Epochs on the prediction loss alone before children are aligned, by default half of all:
        alignment that begins before the loss has left that of a guess may keep it there.
    """

    alignment_weight: float = 0.5
    alignment_error: StateError = "cosine"
    align_every: int | None = None
    aligned_layers: Sequence[int | str] | None = None
    mask_argument: str | None = MASK_ARGUMENT
    warmup_epochs: int | None = None

    def __post_init__(self) -> None:
        check_number("alignment_weight", self.alignment_weight, at_least=0)
        check_choice("alignment_error", self.alignment_error, get_args(StateError))
        if self.align_every is not None:
            check_count("align_every", self.align_every)
        if self.warmup_epochs is not None:
            check_count("warmup_epochs", self.warmup_epochs, at_least=0)
        super().__post_init__()
        for layer in self.aligned_layers or ():
            if not isinstance(layer, str):
                check_count("aligned_layers", layer)


@dataclass(frozen=True, kw_only=True)
class MagicASettings(AlignmentSettings):
    """Settings of MAGIC-A, which aligns children to the best one.

    Parameters
    ----------
    anchor
        A child to align to, in place of the best one that is found: a choice for every label. It
        is replaced only when one of its candidates is deleted.
    anchor_gradient
        Whether gradients flow through the anchor's pass too, for study.
    anchor_interval
        Optimizer steps between two comparisons of the child with the anchor.
    anchor_candidates
        Random children among which the first anchor is elected.
    """

    anchor: Mapping[str, Any] | None = None
    anchor_gradient: bool = False
    anchor_interval: int = 100
    anchor_candidates: int = 16

    def __post_init__(self) -> None:
        if isinstance(self.anchor, Mapping) and len(self.anchor) == 0:
            raise ValueError("anchor is {}; accepted are a choice for every label, and None")
        check_count("anchor_interval", self.anchor_interval)
        check_count("anchor_candidates", self.anchor_candidates)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class MagicATSettings(MagicASettings, GradualSettings):
    """Settings of MAGIC-AT: those of MAGIC-T, with four walks by default, and of MAGIC-A."""

    walks: int = 4


@dataclass(frozen=True, kw_only=True)
class AverageAlignmentSettings(AlignmentSettings):
    """Settings of the alignment to the average of random children.

    Parameters
    ----------
    n_children
        C, the random children that are averaged; fewer where the space has no more. The paper
        has as many as candidates in a block.
    """

    n_children: int = 6

    def __post_init__(self) -> None:
        check_count("n_children", self.n_children)
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class PercentileAnchorSettings(AlignmentSettings):
    """Settings of MAGIC-A with an anchor of a chosen quality.

    Parameters
    ----------
    percentile
        p, the quality of the anchor: from 0, the best child, to 100, the worst.
    tolerance
        r, how far from p the anchor may come before it is replaced, in percent.
    anchor_candidates
        Random children that are scored every epoch.
    """

    percentile: float = 0
    tolerance: float = 10
    anchor_candidates: int = 100

    def __post_init__(self) -> None:
        check_number("percentile", self.percentile, at_least=0, at_most=100)
        check_number("tolerance", self.tolerance, at_least=0, at_most=100)
        check_count("anchor_candidates", self.anchor_candidates)
        super().__post_init__()
