"""Do supernets with less interference rank children better? Kendall's tau against the cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table
from experiments.studies.gathered import gather
from experiments.studies.interference.findings import Settings, Studies, cosines
from experiments.studies.results import Results
from nni_magic.analysis import figures
from nni_magic.analysis.ranking import rank
from nni_magic.analysis.resampling import FEWEST_CHILDREN
from nni_magic.support.errors import naming

__all__ = ["draw", "markdown", "measured_taus"]

FEWEST_POINTS = 4
Taus = Mapping[str, Mapping[int, float]]  # supernet to seed to tau


def measured_taus(results: Results, studies: Studies) -> dict[str, dict[int, float]]:
    """Kendall's tau of the supernets that are measured; empty without a ground truth.

    Raises
    ------
    ValueError
        If a supernet's scores are not finite or all the same.
    """
    record = gather(results)
    ranked = record.ranked()
    if len(ranked.children) < FEWEST_CHILDREN:
        return {}
    taus: dict[str, dict[int, float]] = {name: {} for name in studies}
    for name, by_seed in studies.items():
        for seed in by_seed:
            if found := record.supernets.get(name, {}).get(str(seed)):
                with naming(f"supernet {name!r}, seed {seed}"):
                    scores = np.array(found["scores"])[ranked.numbers]
                    taus[name][seed] = rank(ranked.truth, scores, top_k=()).kendall_tau
    return taus


def markdown(studies: Studies, settings: Settings, taus: Taus) -> str:
    """A table of all supernets, and the rank correlation over them.

    Parameters
    ----------
    studies
        What was measured.
    settings
        Over these the cosine is a mean.
    taus
        From :func:`measured_taus`.
    """
    points = _points(studies, settings, taus)
    rows = [
        [name, len(of), *(f"{value:.3f}" for value in np.mean(of, axis=0))]
        for name, of in points.items()
    ]
    every = list(points.values())
    within = [of - np.mean(of, axis=0) for of in every if len(of) > 1]
    section = (
        "## Interference and ranking\n\nMeans over seeds of the cosine, which is a mean over j and "
        f"m, and of Kendall's tau.\n\n{table(['supernet', 'seeds', 'cosine', 'tau'], rows)}"
    )
    return "\n\n".join([
        section,
        *_correlation("all supernets", every),
        *_correlation("the means of methods alone", [of.mean(axis=0)[None] for of in every]),
        *_correlation("supernets less the means of their methods", within),
    ])  # fmt: skip


def _correlation(words: str, points: Sequence[np.ndarray]) -> list[str]:
    """Say how the two go together, if there are points enough to tell.

    Without a p-value: supernets of one method are not drawn independently of each other.
    """
    if sum(map(len, points)) < FEWEST_POINTS:
        return []
    every = np.concatenate(points)
    rho = scipy.stats.spearmanr(*every.T).statistic
    return [f"Spearman's rho of cosine and tau over {words}, {len(every)}: {rho:.2f}."]


def draw(studies: Studies, settings: Settings, taus: Taus, stem: Path) -> None:
    """Draw every supernet as a dot, into ``<stem>_tau``."""
    figure, [panel] = figures.panels_of(1, 5, 3.5)
    for i, (name, of) in enumerate(_points(studies, settings, taus).items()):
        look = figures.style(i)
        panel.scatter(*of.T, s=36, color=look["color"], marker=look["marker"], label=name)
    figures.tidy(panel)
    figures.label_axes(figure, "mean cosine: higher is less interference", "Kendall's τ")
    figures.write_legend(figure, [panel])
    figures.save(figure, stem.with_name(f"{stem.name}_tau"))


def _points(studies: Studies, settings: Settings, taus: Taus) -> dict[str, np.ndarray]:
    """Cosine and tau of every seed, ``(seeds, 2)``, of the supernets that have both."""
    return {
        name: np.array([
            (cosines(studies[name][seed], settings).mean(), tau) for seed, tau in by_seed.items()
        ])
        for name, by_seed in taus.items()
        if by_seed
    }  # fmt: skip
