"""Means and standard errors of an interference study, and its way through JSON."""

import json

import numpy as np
import pytest
from scipy import stats

from nni_magic.analysis.study import InterferenceStudy


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    halves = rng.uniform(-0.5, 0.5, (2, 5, 3, 3))
    matrices = halves + halves.swapaxes(2, 3)
    matrices[:, :, range(3), range(3)] = 1
    return InterferenceStudy(
        ("a", "b", "c"), ("x", "y", 3), 7, 5, {(1, 1): matrices[0], (1, 2): matrices[1]}
    )


def test_mean_is_over_pairs_of_different_children(study):
    for key, matrices in study.matrices.items():
        pairs = [[m[i, k] for i in range(3) for k in range(i)] for m in matrices]
        assert study.mean_cosine(*key) == pytest.approx(np.mean(pairs))
        error = stats.sem([np.mean(each) for each in pairs])
        assert study.standard_error(*key) == pytest.approx(error)
        by_hand = [[np.mean([m[i, k] for m in matrices]) for k in range(3)] for i in range(3)]
        assert study.mean_matrix(*key) == pytest.approx(np.array(by_hand))


def test_json_holds_everything_in_plain_types(study):
    record = json.loads(json.dumps(study.to_json()))
    again = InterferenceStudy.from_json(record)
    for name in ("labels", "candidates", "seed", "repetitions"):
        assert getattr(again, name) == getattr(study, name)
    assert again.matrices.keys() == study.matrices.keys()
    for key, matrices in study.matrices.items():
        assert np.array_equal(again.matrices[key], matrices)
    [first, _] = record["settings"]
    assert (first["shared_layer"], first["differences"]) == (1, 1)
    assert first["mean_cosine"] == study.mean_cosine(1, 1)
    assert first["standard_error"] == study.standard_error(1, 1)
