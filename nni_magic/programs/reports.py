"""Tables of an experiment's results, read from the files that its trials wrote."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from statistics import mean
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
        "on held-out\ndata that the search has not seen, one seed each."
        + _found_beside_random(trained)
    )


def _found_beside_random(rows: list[dict[str, Any]]) -> str:
    """What the search was worth: found children beside random ones, if there are both."""
    losses = {
        kind: [row["loss"] for row in rows if row["child"].startswith(kind)]
        for kind in ("found", "random")
    }
    if not all(losses.values()):
        return ""
    found, chance = (mean(losses[kind]) for kind in ("found", "random"))
    low, high = min(losses["random"]), max(losses["random"])
    return (
        f" Found children have {found:.3f} on average,\nrandom children of at most the same size "
        f"{chance:.3f} ({low:.3f} to {high:.3f}): the search was worth {chance - found:+.3f}.\nA "
        "difference that is smaller than between random children means little."
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
    report = record["report"]
    kind, name = path.stem.split("_", 1)
    inherited = record.get("inherited_score", report.get("inherited"))
    return {
        "child": _called(kind, name),
        "architecture": architecture(record.get("sample") or _exported(path.with_suffix(""))),
        "inherited": "" if inherited is None else f"{inherited:.3f}",
        "loss": report["default"],
        **{key: report[key] for key in ("params", "flops", "accuracy")},
    }


def _called(kind: str, name: str) -> str:
    if kind == "rank":
        return f"found, rank {name}"
    return name.replace("_", " ") if name.startswith("random_") else f"baseline {name}"


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
