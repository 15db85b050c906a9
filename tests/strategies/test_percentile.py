"""The anchor at a percentile: when it is elected, from which scores, and that a run resumes."""

import pytest
import torch
from scipy.stats import percentileofscore
from spaces import ConvSpace
from training import Watch, anchor_of, bert, classification, dict_evaluator, make, train

from nni_magic.search import ChildEvaluator


class Elections(Watch):
    """Remembers the anchor at every step, and what was scored for it with which weights."""

    def __init__(self):
        super().__init__()
        self.anchors, self.scored = [], []

    def on_train_start(self, trainer, module):
        score = module.leaderboard.score

        def noted(sample):
            self.scored.append((trainer.global_step, sample, score(sample)))
            return self.scored[-1][-1]

        anchor_of(module).score = noted

    def on_train_batch_end(self, trainer, module, *args):
        super().on_train_batch_end(trainer, module, *args)
        self.anchors.append(anchor_of(module).sample)


def run(space=ConvSpace, evaluator=classification, epochs=3, **settings):
    watch = Elections()
    torch.manual_seed(11)
    train(make("percentile_anchor", **settings), space(), evaluator(watch, epochs=epochs))
    return watch


def test_elections_are_at_the_end_of_the_warm_start_and_of_every_epoch():
    watch = run(warmup_epochs=1, anchor_candidates=6)
    steps = [step for step, _, _ in watch.scored]
    assert steps == [6] * 6 + [12] * 7  # the anchor's own score comes along
    assert watch.anchors[:6] == [None] * 6
    for i in range(6, 18, 6):
        assert watch.anchors[i] is not None
        assert watch.anchors[i : i + 6] == [watch.anchors[i]] * 6


def test_anchor_is_at_the_percentile_or_stays_near_it(percentile=30, tolerance=20):
    watch = run(warmup_epochs=0, percentile=percentile, tolerance=tolerance, anchor_candidates=10)
    anchor = None
    for epoch in range(3):
        found = [(c, score) for step, c, score in watch.scored if step == 6 * epoch]
        if anchor is not None:
            own, *found = found
            assert own[0] == anchor
            worse = percentileofscore([s for _, s in found], own[1], kind="strict")
            if abs(worse - percentile) <= tolerance:
                assert watch.anchors[6 * epoch] == anchor
                continue
        ranked = sorted(found, key=lambda pair: pair[1])
        anchor = watch.anchors[6 * epoch]
        assert anchor == ranked[min(percentile // 10, 9)][0]
    children = [[c for step, c, _ in watch.scored if step == 6 * e][-10:] for e in range(3)]
    assert children[0] != children[1]  # drawn anew


def test_a_fast_scorer_gives_the_same_anchors():
    def score_children(module, children):
        return ChildEvaluator.in_training(module.scorer)(children)

    settings = {"warmup_epochs": 1, "anchor_candidates": 8, "percentile": 50}
    slow = run(bert, dict_evaluator, **settings)
    fast = run(bert, dict_evaluator, score_children=score_children, **settings)
    assert len(slow.scored) == 8 + 9 and fast.scored == []
    assert fast.anchors == slow.anchors
    assert fast.steps == slow.steps


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"percentile": -1}, "percentile is -1; accepted are numbers from 0 to 100"),
        ({"percentile": 101}, "percentile is 101; accepted are numbers from 0 to 100"),
        ({"tolerance": float("nan")}, "tolerance is nan; accepted are numbers from 0 to 100"),
        ({"anchor_candidates": 0}, "anchor_candidates is 0; accepted are whole numbers"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        make("percentile_anchor", **setting)
