"""The alignment term as the strategies' settings describe it."""

from __future__ import annotations

from ..losses.alignment import Alignment
from ..losses.targets import Target
from .settings import AlignmentSettings

__all__ = ["alignment"]


def alignment(settings: AlignmentSettings, target: Target, *, gradient: bool = False) -> Alignment:
    """Make the term that aligns hidden states with those of a target."""
    return Alignment(
        target,
        weight=settings.alignment_weight,
        error=settings.alignment_error,
        align_every=settings.align_every,
        layers=settings.aligned_layers,
        mask_argument=settings.mask_argument,
        warmup_epochs=settings.warmup_epochs,
        gradient=gradient,
    )
