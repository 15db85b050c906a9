"""What the interference of a plan's supernets is: tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.benchmarks.reporting import table, write_report
from experiments.studies.gathered import devices
from experiments.studies.interference import tau_and_cosine
from experiments.studies.interference.findings import Settings, Studies, curves, markdown
from experiments.studies.interference.measurements import N_SCORED, InterferenceMeasurements
from nni_magic.analysis import plots
from nni_magic.analysis.interference import InterferenceStudy

__all__ = ["write"]


def write(measurements: InterferenceMeasurements, arguments: Sequence[str]) -> Path:
    """Write the report; gives the JSON's path.

    Raises
    ------
    ValueError
        If no supernet is measured in full.
    """
    settings, found = measurements.settings, measurements.found()
    if not found:
        raise ValueError(f"no supernet in {str(settings.runs)!r} is measured in full yet")
    losses = {
        name: {seed: record["mean_loss"] for seed, record in by_seed.items()}
        for name, by_seed in found.items()
    }
    studies = {
        name: {seed: InterferenceStudy.from_json(record) for seed, record in by_seed.items()}
        for name, by_seed in found.items()
    }
    taus = tau_and_cosine.measured_taus(measurements.study, studies)
    text = f"{_loss_table(losses)}\n\n{markdown(studies, measurements.wanted)}"
    if taus:
        text += "\n\n" + tau_and_cosine.markdown(studies, measurements.wanted, taus)
    results = {
        "interference": {
            name: {seed: study.to_json() for seed, study in by_seed.items()}
            for name, by_seed in studies.items()
        },
        "mean_loss": losses,
        "kendall_tau": taus,
        "trained_on": devices(
            measurements.study.trained(name, seed) for name in studies for seed in studies[name]
        ),
    }
    path, _ = write_report(
        f"interference_{settings.plan.stem}", settings, arguments, results, text,
        program="experiments.studies.interference",
    )  # fmt: skip
    stem = path.with_suffix("")
    if taus:
        tau_and_cosine.draw(studies, measurements.wanted, taus, stem)
    _draw_curves(studies, measurements.wanted, stem)
    _draw_matrices(studies, measurements.wanted, stem.with_name(f"{stem.name}_matrices"))
    return path


def _loss_table(losses: Mapping[str, Mapping[int, float]]) -> str:
    rows = [
        [name, ", ".join(map(str, by_seed)), f"{np.mean(of := list(by_seed.values())):.3f}",
         f"{min(of):.3f} to {max(of):.3f}"]
        for name, by_seed in losses.items()
    ]  # fmt: skip
    header = ["supernet", "seeds", f"mean loss of {N_SCORED} random children (nats)", "range"]
    return table(header, rows)


def _draw_curves(studies: Studies, wanted: Settings, stem: Path) -> None:
    """Draw the mean cosine by the number of differences, a panel for every shared layer."""
    differences: dict[int, list[int]] = {}
    for j, m in wanted:
        differences.setdefault(j, []).append(m)
    plots.cosine_by_difference(
        {f"shared layer {j}": curves(studies, j, ms) for j, ms in differences.items()}, stem
    )


def _draw_matrices(studies: Studies, wanted: Settings, stem: Path) -> None:
    """Draw the mean cosine of every pair of candidates, with the first seed of every supernet."""
    j, m = wanted[0]
    first = {name: next(iter(by_seed.items())) for name, by_seed in studies.items()}
    matrices = {
        f"{name}, seed {seed}\nj = {j}, m = {m}": study.mean_matrix(j, m)
        for name, (seed, study) in first.items()
    }
    candidates = next(study.candidates for _, study in first.values())
    plots.cosine_heatmap(matrices, candidates, stem)
