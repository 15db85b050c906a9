"""Export a child of a domain, as the programs that train do."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from torch import nn

from ..export import export_child
from ..export.children import FORMATS
from ..support.records import provenance
from ..tasks.domain import Domain
from .options import flat, plain

__all__ = ["write_child"]


def write_child(
    domain: Domain, settings: Any, child: nn.Module, sample: Sample, score: float, folder: Path, *,
    metric: str, checkpoint: Path, rank: int = 1, formats: Collection[str] = tuple(FORMATS),
) -> Path:  # fmt: skip
    """Export a child with what its domain adds to it, and with where it comes from.

    Parameters
    ----------
    domain
        Of the child.
    settings
        Of the program, for the record.
    child, sample, score
        The stand-alone child, which one it is, and how good.
    folder
        Where the child's folder is made.
    metric
        Name of the score.
    checkpoint
        Where the weights come from.
    rank
        Place of the child, from 1.
    formats
        What to write besides the weights.

    Returns
    -------
    Path
        The child's folder; see :func:`nni_magic.export.export_child`.
    """
    return export_child(
        child, sample, score, folder, rank=rank, space=domain.make_space(), metric=metric,
        formats=formats, **domain.export_options(),
        provenance=provenance(
            seed=domain.settings.seed, checkpoint=checkpoint, settings=plain(flat(settings)),
            data=domain.describe(),
        ),
    )  # fmt: skip
