"""Rankings by size and by scores before training."""

import numpy as np
import pytest

from experiments.studies.gathered import Child
from experiments.studies.ranking.trivial import trivial_scores, zero_cost_by_seed
from nni_magic.analysis.ranking import rank

SAMPLES = [{"a": "conv", "b": "skip"}, {"a": "conv", "b": "conv"}, {"a": "skip", "b": "skip"}]


def children(*snip):
    """Three children, with their scores of every seed, or none."""
    return [
        Child(n, sample, params=10 * n, flops=5 - n,
              zero_cost={"snip": dict(zip("01", own, strict=False))} if own else {})
        for n, (sample, own) in enumerate(zip(SAMPLES, snip, strict=True))
    ]  # fmt: skip


def test_sizes_rank_in_both_directions_and_depth_where_blocks_are_left_out():
    found = trivial_scores(children([], [], []), ["skip"])
    assert {name: scores.tolist() for name, scores in found.items()} == {
        "fewest params": [0, 10, 20], "most params": [0, -10, -20],
        "fewest flops": [5, 4, 3], "most flops": [-5, -4, -3],
        "fewest blocks": [1, 2, 0], "most blocks": [-1, -2, 0],
    }  # fmt: skip
    assert not any("blocks" in name for name in trivial_scores(children([], [], []), []))


def test_largest_zero_cost_score_ranks_first():
    of_seeds = children([4.0, 2.0], [0.0, 2.0], [3.0, 1.0])
    found = trivial_scores(of_seeds, [])
    assert zero_cost_by_seed(of_seeds)["snip"].tolist() == [[4.0, 0.0, 3.0], [2.0, 2.0, 1.0]]
    assert found["most snip"].tolist() == [-3.0, -1.0, -2.0]
    assert "fewest snip" not in found
    ranked = rank([0.1, 0.5, 0.3], found["most snip"], top_k=[1])
    assert ranked.kendall_tau == 1
    assert -1 <= ranked.tau_interval[0] <= ranked.tau_interval[1] <= 1


@pytest.mark.parametrize("snip", [([3.0], [], [2.0]), ([2.0], [2.0], [2.0])])
def test_scores_that_some_lack_or_all_share_are_no_ranking(snip):
    found = trivial_scores(children(*snip), [])
    assert not any("snip" in name for name in found)
    assert all(np.isfinite(scores).all() for scores in found.values())


def test_size_that_all_children_have_is_no_ranking():
    children = [Child(i, {"a": "x"}, params=7, flops=flops) for i, flops in enumerate((3, 2))]
    assert set(trivial_scores(children, ["zero"])) == {"fewest flops", "most flops"}
