"""The five findings of [Xu2022, Sec. 3 and App. A] in measured interference, a table for each.

Every figure is a mean with Student's 95 % interval: over the seeds of the supernets where there are
several, else over the repetitions on the only one. Supernets are compared on the same children.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from experiments.benchmarks.reporting import table
from experiments.studies.cells import cell
from experiments.studies.ranking.comparisons import METHODS
from nni_magic.analysis.interference import InterferenceStudy
from nni_magic.analysis.seeds import MeanInterval, over_seeds

__all__ = ["Settings", "Studies", "cosines", "curves", "markdown", "operator_type"]

Studies = Mapping[str, Mapping[int, InterferenceStudy]]  # supernet to seed to study
Settings = Sequence[tuple[int, int]]  # shared layer j, number of differences m
Pairs = Sequence[tuple[int, int]]  # of children
ByType = Mapping[tuple[str, str], Pairs]
Figure = Callable[[InterferenceStudy], np.ndarray]  # of every repetition, (repetitions,)

BASELINE = METHODS[0]


def operator_type(candidate: str) -> str:
    """Give a candidate's name up to its sizes.

    >>> [operator_type(name) for name in ("mha6x48", "ffn", "sepconv5", "mb3_3x3")]
    ['mha', 'ffn', 'sepconv', 'mb']
    """
    return re.split(r"\d", candidate)[0] or candidate


def cosines(study: InterferenceStudy, settings: Settings, pairs: Pairs | None = None) -> np.ndarray:
    """Mean cosine over settings and pairs of children, by default all, ``(repetitions,)``."""
    rows, columns = np.transpose(_all_pairs(study) if pairs is None else pairs)
    return np.mean([study.matrices[one][:, rows, columns].mean(1) for one in settings], axis=0)


def less(study: InterferenceStudy, one: Figure, other: Figure) -> np.ndarray:
    """Difference of two figures of a study, ``(repetitions,)``."""
    return one(study) - other(study)


def mean_of(by_seed: Mapping[int, InterferenceStudy], figure: Figure) -> MeanInterval:
    """Mean of a figure of a supernet."""
    return _mean([figure(study) for study in by_seed.values()])


def above_baseline(studies: Studies, name: str, figure: Figure) -> MeanInterval | None:
    """Mean of a figure less the baseline's, over common seeds; ``None`` if there is none."""
    baseline = studies.get(BASELINE, {})
    common = [seed for seed in studies[name] if seed in baseline and name != BASELINE]
    if not common:
        return None
    return _mean([figure(studies[name][seed]) - figure(baseline[seed]) for seed in common])


def _mean(values: Sequence[np.ndarray]) -> MeanInterval:
    """Mean over seeds, of each ``(repetitions,)``, or over the repetitions of the only one."""
    return over_seeds([one.mean() for one in values] if len(values) > 1 else values[0])


def curves(
    studies: Studies, j: int, differences: Iterable[int]
) -> dict[str, dict[int, tuple[float, float]]]:
    """Supernet to number of differences to mean cosine and standard error, for a shared layer."""
    found: dict[str, dict[int, tuple[float, float]]] = {name: {} for name in studies}
    for m in differences:
        for name, by_seed in studies.items():
            one = mean_of(by_seed, partial(cosines, settings=[(j, m)]))
            found[name][m] = one.mean, one.std / one.n**0.5
    return found


def markdown(studies: Studies, settings: Settings) -> str:
    """A titled table for each finding.

    Parameters
    ----------
    studies
        Each with all the settings.
    settings
        What was measured; findings 1 and 2 need m = 1.
    """
    first = next(iter(next(iter(studies.values())).values()))
    seeds = ", ".join(f"{name} {len(by_seed)}" for name, by_seed in studies.items())
    sections = [
        "Cosine between the gradients of children on the candidate that they share in layer j, "
        "where they differ in each of the m layers behind it; higher is less interference. In "
        "brackets Student's 95 % interval: over seeds where a supernet has several, else over "
        f"{first.repetitions} repetitions. Seeds: {seeds}. The headings say what the paper found; "
        "the tables, what is found here."
    ]
    by_type = _pairs_by_type(first)
    if single := [(j, m) for j, m in settings if m == 1]:
        sections += [_by_types(studies, single, by_type), _same_type(studies, single, by_type)]
    sections += [_by_setting(studies, settings), _above_baseline(studies, settings)]
    return "\n\n".join([*sections, _by_layer(studies, settings, by_type)])


def _by_types(studies: Studies, single: Settings, by_type: ByType) -> str:
    rows = [
        _row(" and ".join(types), studies, partial(cosines, settings=single, pairs=pairs))
        for types, pairs in by_type.items()
    ]
    return (
        "## Finding 1 of the paper: the cosine is below 1 even for one different operator\n\n"
        "m = 1, mean over j, by the types of the two operators.\n\n"
        + table(["operators", *studies], rows)
    )


def _same_type(studies: Studies, single: Settings, by_type: ByType) -> str:
    same, different = _same_and_different(by_type)
    rows = [
        _row(name, studies, partial(cosines, settings=single, pairs=pairs))
        for name, pairs in (("same type", same), ("different types", different))
        if pairs
    ]
    if same and different:
        rows.append(_row("difference", studies, _gain_of_same(single, same, different)))
    return (
        "## Finding 2 of the paper: operators of the same type interfere less\n\n"
        "m = 1, mean over j.\n\n" + table(["operators", *studies], rows)
    )


def _by_setting(studies: Studies, settings: Settings) -> str:
    rows = [
        [j, *_row(m, studies, partial(cosines, settings=[(j, m)]))] for j, m in settings
    ]  # fmt: skip
    return (
        "## Finding 3 of the paper: the cosine falls as more operators differ\n\n"
        + table(["j", "m", *studies], rows)
    )  # fmt: skip


def _above_baseline(studies: Studies, settings: Settings) -> str:
    others = [name for name in studies if name != BASELINE]
    rows = [
        [j, m, *(cell(above_baseline(studies, name, partial(cosines, settings=[(j, m)])), "+")
                 for name in others)]
        for j, m in settings
    ]  # fmt: skip
    return (
        "## Finding 4 of the paper: alignment raises the cosine\n\n"
        f"Difference from {BASELINE}, on the same children and seeds.\n\n"
        + table(["j", "m", *others], rows)
    )


def _by_layer(studies: Studies, settings: Settings, by_type: ByType) -> str:
    same, different = _same_and_different(by_type)
    rows: list[list[object]] = []
    for j in dict.fromkeys(j for j, _ in settings):
        here = sorted(one for one in settings if one[0] == j)
        fewest, most = here[:1], here[-1:]
        fall = partial(
            less, one=partial(cosines, settings=fewest), other=partial(cosines, settings=most)
        )
        for name, by_seed in studies.items():
            one = fewest[0][1] == 1 and same and different
            rows.append([
                j, name, cell(mean_of(by_seed, partial(cosines, settings=fewest))),
                cell(mean_of(by_seed, _gain_of_same(fewest, same, different)), "+") if one else "",
                cell(mean_of(by_seed, fall), "+") if fewest != most else "",
                cell(above_baseline(studies, name, partial(cosines, settings=here)), "+"),
            ])  # fmt: skip
    return (
        "## Finding 5 of the paper: all of it holds for every shared layer\n\n"
        "For every j: the cosine at its smallest m, there the same type less different types, the "
        f"fall until its largest m, and the difference from {BASELINE}, mean over m.\n\n"
        + table(["j", "supernet", "cosine", "same type", "fall", f"above {BASELINE}"], rows)
    )


def _gain_of_same(single: Settings, same: Pairs, different: Pairs) -> Figure:
    of_same = partial(cosines, settings=single, pairs=same)
    return partial(less, one=of_same, other=partial(cosines, settings=single, pairs=different))


def _pairs_by_type(study: InterferenceStudy) -> ByType:
    """Pairs of children at m = 1 by the types of the operators in which they differ."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for i, k in _all_pairs(study):
        one, other = sorted(operator_type(str(study.candidates[child])) for child in (i, k))
        found.setdefault((one, other), []).append((i, k))
    return dict(found)


def _same_and_different(by_type: ByType) -> tuple[Pairs, Pairs]:
    same: list[tuple[int, int]] = []
    different: list[tuple[int, int]] = []
    for (one, other), pairs in by_type.items():
        (same if one == other else different).extend(pairs)
    return same, different


def _all_pairs(study: InterferenceStudy) -> Pairs:
    return list(combinations(range(len(study.candidates)), 2))


def _row(head: object, studies: Studies, figure: Figure) -> list[object]:
    return [head, *(cell(mean_of(by_seed, figure)) for by_seed in studies.values())]
