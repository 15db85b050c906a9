"""Tables of an experiment's results, read from the files that its trials wrote."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from prettytable import PrettyTable

__all__ = ["architecture", "pipeline_table", "strategies_table"]


def strategies_table(folders: list[Path]) -> str:
    """Supernets side by side, given by their trials' folders; losses in nats."""
    results = [_read(folder / "results.json") for folder in folders]
    retrained = any("retrained" in result for result in results)
    more = ["FLOPs", "tested loss", "accuracy"] if retrained else []
    rows = _table("strategy", "children's loss", "best child", "its loss", "params", "train",
                  "search", *more)  # fmt: skip
    for result in results:
        best = result["best_child"]
        rows.add_row(
            [
                result["settings"]["strategy"],
                "{random_children_loss:.3f} ± {random_children_loss_stdev:.3f}".format(**result),
                best["digest"],
                f"{best['val_loss']:.3f}",
                f"{best['params']:,}",
                f"{result['train_seconds']:.0f} s",
                f"{result['search_seconds']:.0f} s",
                *(_tested(result) if retrained else []),
            ]
        )
    return (
        f"{rows}\nchildren's loss: mean and standard deviation over the same random children for "
        "all\nstrategies."
        + (" tested: the best child, trained from scratch." if retrained else "")
        + " One seed each: this shows that everything runs, not which is better."
    )


def _tested(result: dict[str, Any]) -> list[str]:
    """Cost and test of the best child, where it was trained from scratch."""
    tested = result.get("retrained")
    flops = result["best_child"].get("flops")
    return [
        "" if flops is None else f"{flops:,.0f}",
        *(["", ""] if tested is None else [f"{tested['loss']:.3f}", f"{tested['accuracy']:.3f}"]),
    ]


def pipeline_table(folder: Path) -> str:
    """Children trained from scratch beside the baselines, best first; losses in nats.

    Parameters
    ----------
    folder
        What the trials of the pipeline share.
    """
    trained = [_row(path) for path in folder.glob("rank_*.json")]
    trained += [_row(path) for path in folder.glob("baseline_*.json")]
    rows = _table("child", "architecture", "params", "FLOPs", "inherited", "trained", "accuracy")
    for row in sorted(trained, key=lambda row: row["loss"]):
        rows.add_row(
            [
                row["child"], row["architecture"], f"{row['params']:,.0f}", f"{row['flops']:,.0f}",
                row["inherited"], f"{row['loss']:.3f}", f"{row['accuracy']:.3f}",
            ]
        )  # fmt: skip
    return (
        f"{rows}\ninherited: validation loss with the supernet's weights; trained: from scratch, "
        "on held-out\ntext that the search has not seen. One seed each: differences of a few "
        "hundredths mean nothing."
    )


def architecture(sample: dict[str, Any]) -> str:
    """A chain in short: equal neighbours are counted.

    Examples
    --------
    >>> architecture({"layer_1": "ffn", "layer_2": "ffn", "layer_3": "conv3"})
    '2 ffn, conv3'
    """
    runs = [(choice, len(list(run))) for choice, run in groupby(map(str, sample.values()))]
    return ", ".join(f"{n} {choice}" if n > 1 else choice for choice, n in runs)


def _row(path: Path) -> dict[str, Any]:
    record = _read(path)
    report, inherited = record["report"], record.get("inherited_score")
    kind, name = path.stem.split("_", 1)
    return {
        "child": f"found, rank {name}" if kind == "rank" else f"baseline {name}",
        "architecture": architecture(record.get("sample") or _exported(path.parent / kind)),
        "inherited": "" if inherited is None else f"{inherited:.3f}",
        "loss": report["default"],
        **{key: report[key] for key in ("params", "flops", "accuracy")},
    }


def _exported(folder: Path) -> dict[str, Any]:
    """The sample of the one child that was exported to a folder."""
    [path] = folder.glob("*/child.json")
    return _read(path)["sample"]


def _table(*header: str) -> PrettyTable:
    table = PrettyTable(list(header))
    table.align = "r"
    for name in ("strategy", "best child", "child", "architecture"):
        if name in header:
            table.align[name] = "l"
    return table


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
