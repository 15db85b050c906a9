"""Few-shot NAS in training, and what is made of its supernet afterwards."""

import pytest
import torch
from nni.nas.space import model_context
from regressions import Headed, X, Y, fresh, run
from spaces import ConvSpace, set_path
from torch import nn
from training import Watch, classification, make, train

from nni_magic.export import export_children
from nni_magic.search import ChildEvaluator, Evolution, ProgressiveShrinking
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.supernet.parted import PartedSupernet


def trained(**settings):
    torch.manual_seed(11)
    strategy = make("few_shot", **settings)
    train(strategy, ConvSpace(), classification(watch := Watch()))
    return strategy, watch


def test_weights_are_those_of_parts_trained_by_hand():
    strategy, watch = make("few_shot"), Watch()
    run(strategy, watch, Headed, max_epochs=4)
    sampler = strategy.oneshot_module.sampler
    label, groups = sampler.split
    net, optimizer = fresh(Headed)
    parts = {}
    for n, (child, _) in enumerate(watch.steps):
        if n == 8:  # half of 16 steps
            state = {name: value.clone() for name, value in net.state_dict().items()}
            for g, _ in enumerate(groups):
                own, own_optimizer = fresh(Headed)
                own.load_state_dict(state)
                parts[g] = own, own_optimizer
        if n >= 8:
            [g] = [g for g, group in enumerate(groups) if child[label] in group]
            assert g == n % 2
            net, optimizer = parts[g]
        set_path(net, child)
        optimizer.zero_grad()
        rows = slice(4 * (n % 4), 4 * (n % 4) + 4)
        nn.functional.mse_loss(net(X[rows]), Y[rows]).backward()
        optimizer.step()
    for g, part in enumerate(strategy.supernet.parts):
        for a, b in zip(part.parameters(), parts[g][0].parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_optimizer_begins_anew_at_the_split():
    class Sizes(Watch):
        found = []

        def on_before_optimizer_step(self, trainer, module, optimizer):
            self.found.append(len(optimizer.state))

    torch.manual_seed(11)
    train(make("few_shot"), ConvSpace(), classification(Sizes(), epochs=2))
    assert [n for n, size in enumerate(Sizes.found) if size == 0] == [0, 6]  # of 12 steps


@pytest.mark.parametrize("by", ["gradients", "lid"])
def test_measured_groups_partition_a_block(by):
    strategy, watch = trained(by=by, split_children=1)
    sampler = strategy.oneshot_module.sampler
    label, groups = sampler.split
    assert sorted(choice for group in groups for choice in group) == sorted(
        sampler.candidates[label]
    )
    assert [len(group) for group in groups] == [2, 2]
    for t, (child, _) in enumerate(watch.steps[9:]):
        assert child[label] in groups[t % 2]
    again, same = trained(by=by, split_children=1)
    assert again.oneshot_module.sampler.split == sampler.split
    assert same.steps == watch.steps


def test_child_is_scored_searched_and_exported_by_the_part_that_holds_it(tmp_path):
    strategy, _ = trained(by="gradients", split_children=1)
    supernet = strategy.supernet
    assert isinstance(supernet, PartedSupernet)
    evaluate = ChildEvaluator(supernet, classification(Watch()), n_batches=2)
    ranked = Evolution(seed=0, generations=2, population=6).search(supernet, evaluate)
    assert {supernet.part_of(child.sample) for child in ranked} == {0, 1}
    for part, whole in enumerate(supernet.parts):
        alone = ChildEvaluator(whole, classification(Watch()), n_batches=2)
        own = [child for child in ranked if supernet.part_of(child.sample) == part]
        assert alone([child.sample for child in own]) == [child.score for child in own]
    other = next(child for child in ranked if supernet.part_of(child.sample) == 1)
    wrong = ChildEvaluator(supernet.parts[0], classification(Watch()), n_batches=2)
    assert wrong([other.sample]) != [other.score]
    x = torch.randn(2, 1, 8, 8)
    [path] = export_children(
        supernet,
        [other],
        tmp_path,
        child=evaluate.child,
        args=(x,),
        formats=(),
        metric="val_loss",
        provenance={},
    )
    with model_context(other.sample):
        child = ConvSpace()
    child.load_state_dict(torch.load(path / "weights.pt", weights_only=True))
    inherited = evaluate.child(other.sample).eval()
    torch.testing.assert_close(child.eval()(x), inherited(x))


def test_checkpoint_holds_the_parts(tmp_path):
    strategy, _ = trained()
    path = tmp_path / "supernet.ckpt"
    strategy.oneshot_module.trainer.save_checkpoint(path)
    again = load_supernet(path, ConvSpace())
    for (name, a), b in zip(
        strategy.supernet.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    children = [scored.sample for scored in strategy.oneshot_module.best_children()]
    scores = [
        ChildEvaluator(net, classification(Watch()), n_batches=2)(children)
        for net in (strategy.supernet, again)
    ]
    assert scores[0] == scores[1]


def test_shrinking_is_refused():
    with pytest.raises(ValueError, match=r"^shrinking is .*; accepted is None, as the parts of"):
        make("few_shot", shrinking=ProgressiveShrinking(n_drop=1))


def test_too_many_parts_are_refused_before_training():
    with pytest.raises(ValueError, match=r"parts is 5, and the numbers of candidates are .*'bl"):
        train(make("few_shot", parts=5), ConvSpace(), classification(watch := Watch()))
    assert watch.steps == []
