"""Do supernets with less interference rank children better? Kendall's tau against the cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nni_magic.analysis import figures
from nni_magic.analysis.ranking import rank
from nni_magic.analysis.resampling import FEWEST_CHILDREN
from nni_magic.errors import naming

# isort: split
import numpy as np
import scipy.stats

from experiments.benchmarks.reporting import table
from experiments.studies.findings import Settings, Studies, cosines
from experiments.studies.gathered import gather, ranked_children
from experiments.studies.study import Study

__all__ = ["draw", "markdown", "taus_of"]

FEWEST_SUPERNETS = 4
Taus = Mapping[str, Mapping[int, float]]  # supernet to seed to tau


def taus_of(study: Study, studies: Studies) -> dict[str, dict[int, float]]:
    """Kendall's tau of the supernets that are measured; empty where no children are trained.

    Raises
    ------
    ValueError
        If a supernet's scores are not finite or all the same.
    """
    record = gather(study)
    children, truth, _ = ranked_children(record)
    if len(children) < FEWEST_CHILDREN:
        return {}
    numbers = [child["number"] for child in children]
    taus: dict[str, dict[int, float]] = {name: {} for name in studies}
    for name, by_seed in studies.items():
        for seed in by_seed:
            if found := record["supernets"].get(name, {}).get(str(seed)):
                with naming(f"supernet {name!r}, seed {seed}"):
                    ranking = rank(truth, np.array(found["scores"])[numbers], top_k=())
                taus[name][seed] = ranking.kendall_tau
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
        From :func:`taus_of`.
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
        *_correlation("Over all", every),
        *_correlation("Within methods, each less its mean, over", within),
    ])  # fmt: skip


def _correlation(words: str, points: Sequence[np.ndarray]) -> list[str]:
    """Say how the two go together, if there are supernets enough to tell."""
    if sum(map(len, points)) < FEWEST_SUPERNETS:
        return []
    every = np.concatenate(points)
    found = scipy.stats.spearmanr(*every.T)
    return [
        f"{words} {len(every)} supernets, Spearman's rho of cosine and tau is "
        f"{found.statistic:.2f} (p = {found.pvalue:.3f})."
    ]


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
