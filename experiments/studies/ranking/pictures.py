"""What a study of rank correlation has found so far: pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.studies.gathered import ranked_children
from experiments.studies.ranking.comparisons import METHODS
from nni_magic.analysis import plots

__all__ = ["draw", "label", "several", "taus_of"]


def draw(record: Mapping[str, Any], found: Mapping[str, Any], stem: Path) -> None:
    """Draw tau by method, the methods' scores, and tau by every setting, as far as there are seeds.

    Settings that are no number are drawn together, as ``<stem>_variants``.

    Parameters
    ----------
    record, found
        What ``gather`` and ``statistics`` give.
    stem
        The pictures, without their ends.
    """
    supernets, planned = found["halves"]["all"]["supernets"], record["plan"]["supernets"]
    taus = {
        name: taus_of(one, one["seeds"])
        for name, one in supernets.items()
        if len(one["seeds"]) > 1
    }  # fmt: skip
    methods = {name: tau for name, tau in taus.items() if name.split(", ")[0] in METHODS}
    variants = {
        "\n".join(name.rsplit("_", 1)): tau
        for name, tau in taus.items()
        if name not in methods and not _values(planned, name)
    }
    if methods:
        _draw_taus({name.replace(", ", "\n"): tau for name, tau in methods.items()}, found, stem)
        _draw_scores(methods, record, stem)
    if variants:
        first = {name: tau for name, tau in methods.items() if name == METHODS[0]}
        _draw_taus({**first, **variants}, found, stem.with_name(f"{stem.name}_variants"))
    for setting, one in several(found["settings"]).items():
        if len(one["seeds"]) > 1:
            names = {value["value"]: value["supernets"] for value in one["values"]}
            strategies = dict.fromkeys(planned[name]["strategy"] for name in names.values())
            line = {value: taus_of(supernets[name], one["seeds"]) for value, name in names.items()}
            path = stem.with_name(f"{stem.name}_{setting}")
            plots.tau_by_setting({", ".join(strategies): line}, path, setting=label(setting))


def _values(planned: Mapping[str, Any], name: str) -> Mapping[str, float]:
    """Settings in whose pictures supernets are; uncalibrated ones are in no plan."""
    return planned.get(name, {"values": {}})["values"]


def _draw_taus(taus: Mapping[str, list[float]], found: Mapping[str, Any], stem: Path) -> None:
    here = found["halves"]["all"]
    best = here["best trivial"]
    plots.tau_by_method(
        taus,
        stem,
        trivial={best: here["trivial"][best]["kendall_tau"]},
        ceiling=found["ceiling"] and found["ceiling"]["tau_ceiling"],
    )


def _draw_scores(names: Iterable[str], record: Mapping[str, Any], stem: Path) -> None:
    children, truth, _ = ranked_children(record)
    numbers = [child["number"] for child in children]
    firsts = {name: next(iter(record["supernets"][name].items())) for name in names}
    plots.score_against_truth(
        truth,
        {f"{name}, seed {seed}": np.array(one["scores"])[numbers]
         for name, (seed, one) in firsts.items()},
        stem.with_name(f"{stem.name}_scores"),
        truth_label="{name} ({unit})".format(**record["ground_truth"]),
        score_label="validation loss with inherited weights (nats)",
    )  # fmt: skip


def several(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings of which only one value is trained yet, or no seed of all values."""
    return {
        setting: found
        for setting, found in settings.items()
        if len(found["values"]) > 1 and found["seeds"]
    }


def label(setting: str) -> str:
    """Name a setting.

    >>> label("anchor_percentile")
    'anchor percentile'
    """
    return setting.replace("_", " ")


def taus_of(found: Mapping[str, Any], seeds: Iterable[str]) -> list[float]:
    """Kendall's tau of every seed of a supernet's rankings."""
    return [found["seeds"][seed]["kendall_tau"] for seed in seeds]
