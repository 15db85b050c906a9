"""NAS-Bench-Macro: a chain of eight blocks, all 6,561 children trained three times [Su2021].

What MAGIC is made for, a chain, with a ground truth that nobody has to train again. Supernets may
be smaller than the children of the benchmark; what a child costs is the benchmark's. Behind the
first block of a stage, a block that is the identity changes nothing wherever it stands: so 3,969
different networks were trained, and children that are one network have the same figures.

The folder of the data holds the images of CIFAR-10, ``train/`` and ``test/`` with a folder for
every class, and the benchmark's own file as ``nasbench_macro.json``, plain or compressed (``.xz``,
``.gz``): a child's eight digits (0 identity, 1 ``mb3_3x3``, 2 ``mb6_5x5``) to

=============  ================================================================================
``test_acc``   test accuracies of its three trainings, in percent
``params``     parameters
``flops``      multiply-adds for one image
=============  ================================================================================

[Su2021] Su et al., Prioritized Architecture Sampling with Monto-Carlo Tree Search, CVPR 2021.
"""

from __future__ import annotations

import gzip
import json
import lzma
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from nni.mutable import Sample

from experiments.studies.published import N_CLASSES, PublishedOnCifar10, table_file
from nni_magic.tasks.domain import GroundTruth
from search_spaces.nasbench_macro import CANDIDATES, NASBenchMacroSpace

__all__ = ["NasBenchMacro", "name_of", "read_table"]

BLOCKS = [f"block_{n}" for n in range(1, 9)]
NAMES = {"".join(digits) for digits in product("012", repeat=len(BLOCKS))}
TRAININGS = 3
OPEN: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".json": open}


class NasBenchMacro(PublishedOnCifar10):
    """The space of NAS-Bench-Macro, and the accuracies published for it."""

    ground_truth = GroundTruth("test_error", "published test error", "%")
    n_published = TRAININGS
    table_name = "nasbench_macro.json"
    skips = ("identity",)

    def read_table(self, folder: Path) -> dict[str, dict[str, Any]]:
        return read_table(folder)

    def make_space(self) -> NASBenchMacroSpace:
        return NASBenchMacroSpace(n_classes=N_CLASSES, **self.space)

    def published(self, sample: Sample, training: int = 0) -> dict[str, Any]:
        """Error of one of the three trainings, in percent, and size of a child."""
        row = self.table[name_of(sample)]
        accuracy = row["test_acc"][training]
        return {
            "test_error": 100 - accuracy,
            "val_accuracy": accuracy / 100,
            "params": row["params"],
            "flops": row["flops"],
        }


def name_of(sample: Sample) -> str:
    """Name of a child in the table.

    >>> name_of(dict.fromkeys(BLOCKS, "mb3_3x3") | {"block_8": "mb6_5x5"})
    '11111112'
    """
    return "".join(str(CANDIDATES.index(sample[block])) for block in BLOCKS)


def read_table(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the published results of all children.

    Parameters
    ----------
    folder
        Where ``nasbench_macro.json`` lies, plain or compressed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or a child or one of its figures is missing.
    """
    path = table_file(folder, NasBenchMacro.table_name)
    try:
        with OPEN[path.suffix](path, "rt", encoding="utf-8") as file:
            table = json.load(file)
    except (ValueError, EOFError, OSError, lzma.LZMAError) as error:
        raise ValueError(f"{str(path)!r} is not as expected: {error}") from error
    rows = table if isinstance(table, dict) else {}
    complete = {name for name, row in rows.items() if _is_complete(row)} & NAMES
    if complete != NAMES or len(rows) != len(NAMES):
        raise ValueError(
            f"{str(path)!r} has {len(rows)} rows, and complete ones of {len(complete)} of the "
            f"{len(NAMES)} children"
        )
    return rows


def _is_complete(row: Any) -> bool:
    if not isinstance(row, dict) or not isinstance(accuracies := row.get("test_acc"), list):
        return False
    figures = [*accuracies, row.get("params"), row.get("flops")]
    return len(accuracies) == TRAININGS and all(
        isinstance(figure, (int, float)) and math.isfinite(figure) for figure in figures
    )
