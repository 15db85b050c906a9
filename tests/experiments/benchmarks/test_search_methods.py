"""The comparison of searches, at its smallest."""

import json

import pytest
import scipy.stats
import torch
from reading import domain_of, settings_of

from experiments.benchmarks import search_methods
from nni_magic.manager.trial import ManagedTrial
from nni_magic.programs import train
from search_spaces import BertSpace


@pytest.fixture
def results(corpus, trial, tmp_path):
    where = ["--corpus", str(corpus), "--cache", str(corpus / "cache")]
    small = "--strategy spos --epochs 1 --epoch-steps 2 --batch-size 4 --warmup-steps 1"
    search = ["--search-children", "2", "--population", "2", "--output", str(tmp_path)]
    chosen = settings_of("train", "bert", [*where, *small.split(), *search])
    assert isinstance(trial, ManagedTrial)
    train.run(domain_of(chosen), chosen, trial)
    return search_methods.main(
        [*where, "--checkpoint", str(tmp_path / "supernet.ckpt"), "--batch-size", "2",
         "--seeds", "2", "--generations", "3", "--population", "4", "--threads", "1",
         "--hardware", "here", "--output", str(tmp_path / "results")]
    )  # fmt: skip


def test_both_searches_score_equally_many_children(results, tmp_path):
    for curves in results["curves"].values():
        assert [len(curve) for curve in curves] == [12, 12]
        assert all(curve == sorted(curve, reverse=True) for curve in curves)
    assert set(results["at"]) == {"8", "12"}
    assert set(results["trivial"]) == {"most params", "most flops"}
    [path] = (tmp_path / "results").glob("search_methods_here_*.json")
    assert json.loads(path.read_text())["curves"] == results["curves"]
    assert path.with_suffix(".png").stat().st_size > 10_000


def test_largest_child_has_the_most_parameters_of_all():
    space = BertSpace(2, 8, 50, 8, candidates=("mha2", "ffn", "conv3"))
    child = search_methods.largest(space, 8)["most params"]
    sizes = {
        (a, b): sum(p.numel() for p in space.freeze({"layer_1": a, "layer_2": b}).parameters())
        for a in ("mha2", "ffn", "conv3")
        for b in ("mha2", "ffn", "conv3")
    }
    assert sizes[child["layer_1"], child["layer_2"]] == max(sizes.values())


def test_interval_is_that_of_the_paired_t_test():
    a, b = torch.rand(7).tolist(), torch.rand(7).tolist()
    found = search_methods.paired(a, b)
    low, high = scipy.stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found["interval"] == pytest.approx([low, high])
    assert found["wins"] == sum(x < y for x, y in zip(a, b, strict=True))
