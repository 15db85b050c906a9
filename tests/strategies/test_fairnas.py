"""FairNAS: a step against the same step by hand, and what is refused."""

from collections import Counter

import pytest
from regressions import X, Y, assert_same_weights, fresh, run
from spaces import NestedSpace, set_path
from torch import nn
from training import Watch, make

from nni_magic.search import ProgressiveShrinking


class Turns(Watch):
    """Remembers all children of every step."""

    def on_train_batch_end(self, trainer, module, outputs, *args):
        super().on_train_batch_end(trainer, module, outputs, *args)
        self.turns = [*getattr(self, "turns", []), [turn.child for turn in module.turns]]


def test_step_sums_the_gradients_of_children_that_hold_every_candidate_once():
    watch = Turns()
    space = run(make("fairnas"), watch)
    net, optimizer = fresh()
    assert len(watch.turns) == 4
    for start, children in zip(range(0, 16, 4), watch.turns, strict=True):
        for label in children[0]:
            assert Counter(child[label] for child in children) == {0: 1, 1: 1, 2: 1}
        optimizer.zero_grad()
        for child in children:  # one backward pass each, one update
            set_path(net, child)
            nn.functional.mse_loss(net(X[start : start + 4]), Y[start : start + 4]).backward()
        optimizer.step()
    assert_same_weights(space, net)


def test_all_candidates_of_all_blocks_have_a_gradient_in_every_step():
    class Gradients(Watch):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            assert all(p.grad is not None for p in module.model.parameters())

    run(make("fairnas"), Gradients())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"filter": bool}, r"^filter is .*; accepted is None, as FairNAS trains every candidate"),
        (
            {"shrinking": ProgressiveShrinking(n_drop=1)},
            "^shrinking is .*; accepted is None, as FairNAS needs blocks of one size",
        ),
    ],
)
def test_filter_and_shrinking_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        run(make("fairnas", **settings))


def test_conditional_space_is_refused_before_it_is_changed():
    with pytest.raises(ValueError, match="the space has choices inside of others; accepted are"):
        run(make("fairnas"), None, NestedSpace)
