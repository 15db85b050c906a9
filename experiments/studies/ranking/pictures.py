"""What a study of rank correlation has found so far: pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from experiments.studies.gathered import Gathered
from experiments.studies.ranking.comparisons import METHODS
from experiments.studies.ranking.statistics import RankedSupernets, Setting, Statistics
from experiments.studies.trainings import Supernets
from nni_magic.analysis import plots

__all__ = ["draw", "label", "several", "taus_of"]


def draw(record: Gathered, found: Statistics, stem: Path) -> None:
    """Draw tau by method, the methods' scores, and tau by every setting, where seeds are several.

    Supernets that give no value of a setting are drawn together, as ``<stem>_variants``, unless the
    plan compares methods, which have a picture of their own.

    Parameters
    ----------
    record, found
        What ``gather`` and ``statistics`` give.
    stem
        The pictures, without their ends.
    """
    supernets, planned = found.halves["all"].supernets, record.plan.supernets
    taus = {
        name: taus_of(one, one.seeds)
        for name, one in supernets.items()
        if len(one.seeds) > 1
    }  # fmt: skip
    methods = {name: tau for name, tau in taus.items() if name.split(", ")[0] in METHODS}
    variants = {
        "\n".join(name.rsplit("_", 1)): tau
        for name, tau in taus.items()
        if not (record.plan.comparison or name in methods or _values(planned, name))
    }
    if methods:
        _draw_taus({name.replace(", ", "\n"): tau for name, tau in methods.items()}, found, stem)
        _draw_scores(methods, record, stem)
    if variants:
        first = {name: tau for name, tau in methods.items() if name == METHODS[0]}
        _draw_taus({**first, **variants}, found, stem.with_name(f"{stem.name}_variants"))
    for setting, one in several(found.settings).items():
        if len(one.seeds) > 1:
            strategies = dict.fromkeys(planned[value.supernets].strategy for value in one.values)
            line = {
                value.value: taus_of(supernets[value.supernets], one.seeds) for value in one.values
            }
            path = stem.with_name(f"{stem.name}_{setting}")
            plots.tau_by_setting({", ".join(strategies): line}, path, setting=label(setting))


def _values(planned: Mapping[str, Supernets], name: str) -> Mapping[str, float]:
    """Values of settings that supernets give; uncalibrated ones are in no plan and give none."""
    return planned[name].values if name in planned else {}


def _draw_taus(taus: Mapping[str, list[float]], found: Statistics, stem: Path) -> None:
    here = found.halves["all"]
    plots.tau_by_method(
        taus,
        stem,
        trivial={here.best_trivial: here.trivial[here.best_trivial].kendall_tau},
        ceiling=None if found.ceiling is None else found.ceiling.tau_ceiling,
    )


def _draw_scores(names: Iterable[str], record: Gathered, stem: Path) -> None:
    ranked, truth = record.ranked(), record.ground_truth
    firsts = {name: next(iter(record.supernets[name].items())) for name in names}
    plots.score_against_truth(
        ranked.truth,
        {f"{name}, seed {seed}": np.array(one["scores"])[ranked.numbers]
         for name, (seed, one) in firsts.items()},
        stem.with_name(f"{stem.name}_scores"),
        truth_label=f"{truth.name} ({truth.unit})",
        score_label="validation loss with inherited weights (nats)",
    )  # fmt: skip


def several(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Leave out settings with only one value yet, or without a seed that all values have."""
    return {
        setting: found
        for setting, found in settings.items()
        if len(found.values) > 1 and found.seeds
    }


def label(setting: str) -> str:
    """Name a setting.

    >>> label("anchor_percentile")
    'anchor percentile'
    """
    return setting.replace("_", " ")


def taus_of(found: RankedSupernets, seeds: Iterable[str]) -> list[float]:
    """Kendall's tau of every seed of a supernet's rankings."""
    return [found.seeds[seed].kendall_tau for seed in seeds]
