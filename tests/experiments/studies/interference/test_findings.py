"""Tables of the paper's findings, on cosines that were made up."""

import itertools

import numpy as np
import pytest

from experiments.studies.interference.findings import curves, markdown
from nni_magic.analysis.seeds import over_seeds
from nni_magic.analysis.study import InterferenceStudy

CANDIDATES = ("mha6", "mha8", "ffn", "ffn9")
SAME = [(0, 1), (2, 3)]
DIFFERENT = [(0, 2), (0, 3), (1, 2), (1, 3)]
SETTINGS = [(1, 1), (1, 2), (2, 1)]


def study_of(seed, repetitions=3):
    rng = np.random.default_rng(seed)
    matrices = {}
    for one in SETTINGS:
        half = rng.uniform(0, 0.9, (repetitions, 4, 4))
        whole = (half + half.transpose(0, 2, 1)) / 2
        whole[:, range(4), range(4)] = 1
        matrices[one] = whole
    return InterferenceStudy(("a", "b", "c"), CANDIDATES, 0, repetitions, matrices)


@pytest.fixture(scope="module")
def studies():
    return {
        "spos": {0: study_of(0), 1: study_of(1)},
        "magic_a": {0: study_of(2), 1: study_of(3), 7: study_of(4)},
        "magic_t": {1: study_of(5)},
    }


def cosine(study, settings, pairs):
    """Of every repetition."""
    return np.array([
        np.mean([study.matrices[one][r][i][k] for one in settings for i, k in pairs])
        for r in range(study.repetitions)
    ])  # fmt: skip


def tables(text):
    """Number of a finding to its rows, without the header."""
    found = {}
    for section in text.split("## Finding ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        found[int(section[0])] = [
            [cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]
        ]
    return found


def cell(values, sign=""):
    one = over_seeds(values)
    low, high = one.interval
    return f"{one.mean:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"


EVERY = list(itertools.combinations(range(4), 2))


def test_pairs_are_told_apart_by_their_types(studies):
    rows = tables(markdown(studies, SETTINGS))[1]
    pairs = {"mha and mha": [(0, 1)], "ffn and mha": DIFFERENT, "ffn and ffn": [(2, 3)]}
    assert [row[0] for row in rows] == list(pairs)
    for row in rows:
        single = [(1, 1), (2, 1)]
        spos = [cosine(one, single, pairs[row[0]]).mean() for one in studies["spos"].values()]
        assert row[1] == cell(spos)
        # One seed: over its repetitions.
        assert row[3] == cell(cosine(studies["magic_t"][1], single, pairs[row[0]]))


def test_same_type_stands_against_different_types(studies):
    same, different, difference = tables(markdown(studies, SETTINGS))[2]
    single = [(1, 1), (2, 1)]
    for row, pairs in ((same, SAME), (different, DIFFERENT)):
        assert row[1] == cell([cosine(x, single, pairs).mean() for x in studies["spos"].values()])
    assert difference[1] == cell([
        (cosine(x, single, SAME) - cosine(x, single, DIFFERENT)).mean()
        for x in studies["spos"].values()
    ])  # fmt: skip


def test_candidates_of_different_types_have_no_difference(studies):
    study = study_of(0)
    other = InterferenceStudy(study.labels, ("a", "b", "c", "d"), 0, 3, study.matrices)
    rows = tables(markdown({"spos": {0: other}}, SETTINGS))
    assert [row[0] for row in rows[2]] == ["different types"]
    assert rows[5][0][3] == ""


def test_cosine_by_setting(studies):
    rows = tables(markdown(studies, SETTINGS))[3]
    assert [row[:2] for row in rows] == [["1", "1"], ["1", "2"], ["2", "1"]]
    spos = studies["spos"]
    assert rows[1][2] == cell([cosine(one, [(1, 2)], EVERY).mean() for one in spos.values()])


def test_alignment_is_paired_with_the_baseline(studies):
    rows = tables(markdown(studies, SETTINGS))[4]
    for row, one in zip(rows, SETTINGS, strict=True):
        differences = [
            cosine(studies["magic_a"][seed], [one], EVERY)
            - cosine(studies["spos"][seed], [one], EVERY)
            for seed in (0, 1)  # those that both have
        ]
        assert row[2] == cell([d.mean() for d in differences], "+")
        single = cosine(studies["magic_t"][1], [one], EVERY)
        assert row[3] == cell(single - cosine(studies["spos"][1], [one], EVERY), "+")


def test_every_layer_has_all_findings(studies):
    rows = tables(markdown(studies, SETTINGS))[5]
    assert [row[:2] for row in rows] == [
        [str(j), name] for j in (1, 2) for name in ("spos", "magic_a", "magic_t")
    ]
    study = studies["magic_t"][1]
    first, second = rows[2], rows[5]
    assert first[2] == cell(cosine(study, [(1, 1)], EVERY))
    assert first[3] == cell(cosine(study, [(1, 1)], SAME) - cosine(study, [(1, 1)], DIFFERENT), "+")
    assert first[4] == cell(cosine(study, [(1, 1)], EVERY) - cosine(study, [(1, 2)], EVERY), "+")
    both = [(1, 1), (1, 2)]
    above = cosine(study, both, EVERY) - cosine(studies["spos"][1], both, EVERY)
    assert first[5] == cell(above, "+")
    assert rows[0][5] == ""  # the baseline
    assert second[4] == ""  # one m only


def test_findings_of_one_difference_need_it(studies):
    assert tables(markdown(studies, [(1, 2)])).keys() == {3, 4, 5}


def test_curves_have_standard_errors(studies):
    found = curves(studies, 1, [1, 2])
    means = [one.mean_cosine(1, 2) for one in studies["spos"].values()]
    assert found["spos"][2] == pytest.approx((np.mean(means), np.std(means, ddof=1) / 2**0.5))
    single = studies["magic_t"][1]
    assert found["magic_t"][1] == pytest.approx(
        (single.mean_cosine(1, 1), single.standard_error(1, 1))
    )
