"""What supernets like in children, on scores that were made up."""

from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
from studies import PLAN, made_up

from experiments.studies.gathered import Child, gather
from experiments.studies.ranking.preferences import anchor_table, by_anchor, change_table, changes
from experiments.studies.ranking.report import write
from experiments.studies.ranking.statistics import statistics
from nni_magic.analysis.seeds import MeanInterval
from nni_magic.support.files import read_json, write_json

ALIGNED = {"strategy": "magic_a", "steps": 8, "seeds": [0, 1], "options": {"warmup_epochs": 1}}
SAMPLES = [dict(zip("abc", letters, strict=True)) for letters in ("xxx", "xxy", "xyy", "yyy")]
CHILDREN = [Child(i, sample, params=1, flops=1) for i, sample in enumerate(SAMPLES)]
TRUTH = np.array([4.0, 3.0, 2.0, 1.0])


def scores_of(**by_name):
    return {name: {str(seed): np.array(one, dtype=float) for seed, one in enumerate(scores)}
            for name, scores in by_name.items()}  # fmt: skip


def record_of(**anchors):
    return SimpleNamespace(supernets={
        "spos": {"0": {}, "1": {}, "2": {}},
        **{name: {str(seed): {"anchor": one} for seed, one in enumerate(of)}
           for name, of in anchors.items()},
    })  # fmt: skip


def test_relatives_that_gain_most_are_favoured():
    spos = [[5, 1, 3, 2], [1, 1, 2, 2]]
    gains = np.array([4, 3, 2, 1])  # the nearer to the anchor, the more
    aligned = np.array(spos) - gains
    scores = scores_of(spos=spos, near=aligned, far=np.array(spos) + gains)
    record = record_of(near=[SAMPLES[0]] * 2, far=[SAMPLES[0]] * 2)
    found = by_anchor(record, CHILDREN, TRUTH, scores, "spos")
    assert found["near"].favoured.mean == pytest.approx(1)
    assert found["far"].favoured.mean == pytest.approx(-1)
    assert found["near"].deserved.mean == pytest.approx(-1)
    assert found.keys() == {"near", "far"}
    assert "| near | 2 | +1.000 (+1.000 to +1.000) | -1.000 " in anchor_table(found)


def test_every_seed_has_its_own_anchor():
    scores = scores_of(spos=[[0] * 4] * 2, a=[[1, 2, 3, 4]] * 2)
    record = record_of(a=[SAMPLES[0], SAMPLES[-1]])
    found = by_anchor(record, CHILDREN, TRUTH, scores, "spos")["a"].favoured
    assert (found.mean, found.n) == (pytest.approx(0), 2)
    assert found.std == pytest.approx(np.std([1, -1], ddof=1))


@pytest.mark.parametrize(("anchors", "children"), [
    ([SAMPLES[0], None], CHILDREN),  # one has none yet
    ([SAMPLES[0]], CHILDREN),
    ([SAMPLES[0], SAMPLES[1]], [CHILDREN[3]] * 4),  # all children are as far
])  # fmt: skip
def test_fewer_than_two_anchors_with_relatives_tell_nothing(anchors, children):
    scores = scores_of(spos=[[0] * 4] * 2, a=[[1, 2, 3, 4]] * len(anchors))
    assert by_anchor(record_of(a=anchors), children, TRUTH, scores, "spos") == {}


def test_change_is_from_the_baseline_of_the_seed():
    n_y = np.array([0, 1, 2, 3])
    spos = [[9, 1, 5, 3], [2, 8, 4, 6]]
    scores = scores_of(spos=spos, likes=np.array(spos) - n_y, none=spos, one=spos[:1])
    found = changes(CHILDREN, scores, "spos")
    assert found["likes"]["y"].mean == pytest.approx(-1)
    assert found["likes"]["x"].mean == pytest.approx(1)
    assert found["none"]["x"] == MeanInterval(mean=0, interval=(0, 0), std=0, n=2)
    assert found.keys() == {"likes", "none"}
    row = "| likes | 2 | +1000.0 (+1000.0 to +1000.0) | -1000.0 (-1000.0 to -1000.0) |"
    assert change_table(found).splitlines()[0] == "| supernet | seeds | x | y |"
    assert row in change_table(found)


def test_seeds_that_the_baseline_has_not_are_left_out():
    scores = scores_of(spos=[[0] * 4] * 2, a=[[0, 1, 2, 3], [0, 1, 2, 3], [3, 2, 1, 0]])
    assert changes(CHILDREN, scores, "spos")["a"]["y"].n == 2
    assert changes(CHILDREN, {"a": scores["a"]}, "spos") == {}


def test_anchors_have_a_table_in_the_report(tmp_path, corpus):
    supernets = {**PLAN["supernets"], "magic_a": ALIGNED}
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    for seed in (0, 1):
        path = study.supernet_file("magic_a", seed)
        write_json(path, {**read_json(path), "anchor": study.children[seed]})
    here = statistics(gather(study)).halves["all"]
    found = here.anchors
    assert found.keys() == {"magic_a"}
    assert here.changes.keys() == {"magic_a", "magic_t"}
    settings = Namespace(
        plan=tmp_path / "plan.yml", output=tmp_path, hardware="cpu", seed=0, threads=1
    )
    text = write(study, settings, [], {}).with_suffix(".md").read_text()
    assert text.count("Whether alignment favours the anchor's relatives: ") == 4
    assert anchor_table(found) in text
    assert text.count("Which candidates a method likes more or less: ") == 4
    assert change_table(here.changes) in text


def test_study_without_anchors_has_no_table(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    assert statistics(gather(study)).halves["all"].anchors == {}
