"""Whether a supernet favours the anchor's relatives, on scores that were made up."""

from argparse import Namespace

import numpy as np
import pytest
from studies import PLAN, made_up

from experiments.studies.anchors import anchor_table, favours
from experiments.studies.gathered import gather
from experiments.studies.report import write
from experiments.studies.statistics import statistics
from nni_magic.files import read_json, write_json

ALIGNED = {"strategy": "magic_a", "steps": 8, "seeds": [0, 1], "options": {"warmup_epochs": 1}}
SAMPLES = [dict(zip("abc", letters, strict=True)) for letters in ("xxx", "xxy", "xyy", "yyy")]
CHILDREN = [{"sample": sample} for sample in SAMPLES]
TRUTH = np.array([4.0, 3.0, 2.0, 1.0])


def scores_of(**by_name):
    return {name: {str(seed): np.array(one, dtype=float) for seed, one in enumerate(scores)}
            for name, scores in by_name.items()}  # fmt: skip


def record_of(**anchors):
    return {"supernets": {
        "spos": {"0": {}, "1": {}, "2": {}},
        **{name: {str(seed): {"anchor": one} for seed, one in enumerate(of)}
           for name, of in anchors.items()},
    }}  # fmt: skip


def test_relatives_that_gain_most_are_favoured():
    spos = [[5, 1, 3, 2], [1, 1, 2, 2]]
    gains = np.array([4, 3, 2, 1])  # the nearer to the anchor, the more
    aligned = np.array(spos) - gains
    scores = scores_of(spos=spos, near=aligned, far=np.array(spos) + gains)
    record = record_of(near=[SAMPLES[0]] * 2, far=[SAMPLES[0]] * 2)
    found = favours(record, CHILDREN, TRUTH, scores, "spos")
    assert found["near"]["favoured"]["mean"] == pytest.approx(1)
    assert found["far"]["favoured"]["mean"] == pytest.approx(-1)
    assert found["near"]["deserved"]["mean"] == pytest.approx(-1)
    assert found.keys() == {"near", "far"}
    assert "| near | 2 | +1.000 (+1.000 to +1.000) | -1.000 " in anchor_table(found)


def test_every_seed_has_its_own_anchor():
    scores = scores_of(spos=[[0] * 4] * 2, a=[[1, 2, 3, 4]] * 2)
    record = record_of(a=[SAMPLES[0], SAMPLES[-1]])
    found = favours(record, CHILDREN, TRUTH, scores, "spos")["a"]["favoured"]
    assert (found["mean"], found["n"]) == (pytest.approx(0), 2)
    assert found["std"] == pytest.approx(np.std([1, -1], ddof=1))


@pytest.mark.parametrize(("anchors", "children"), [
    ([SAMPLES[0], None], CHILDREN),  # one has none yet
    ([SAMPLES[0]], CHILDREN),
    ([SAMPLES[0], SAMPLES[1]], [CHILDREN[3]] * 4),  # all children are as far
])  # fmt: skip
def test_fewer_than_two_anchors_with_relatives_tell_nothing(anchors, children):
    scores = scores_of(spos=[[0] * 4] * 2, a=[[1, 2, 3, 4]] * len(anchors))
    assert favours(record_of(a=anchors), children, TRUTH, scores, "spos") == {}


def test_anchors_have_a_table_in_the_report(tmp_path, corpus):
    supernets = {**PLAN["supernets"], "magic_a": ALIGNED}
    study, _ = made_up(tmp_path, corpus, supernets=supernets)
    for seed in (0, 1):
        path = study.supernet_file("magic_a", seed)
        write_json(path, {**read_json(path), "anchor": study.children[seed]})
    found = statistics(gather(study))["halves"]["all"]["anchors"]
    assert found.keys() == {"magic_a"}
    settings = Namespace(
        plan=tmp_path / "plan.yml", output=tmp_path, hardware="cpu", seed=0, threads=1
    )
    text = write(study, settings, []).with_suffix(".md").read_text()
    assert text.count("Whether alignment favours the anchor's relatives: ") == 3
    assert anchor_table(found) in text


def test_study_without_anchors_has_no_table(tmp_path, corpus):
    study, _ = made_up(tmp_path, corpus)
    assert statistics(gather(study))["halves"]["all"]["anchors"] == {}
