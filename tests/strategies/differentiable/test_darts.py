"""DARTS: where it begins, and that its step is NNI's."""

import torch
from mixtures import make, regression
from nni.nas.execution import SequentialExecutionEngine as Engine
from nni.nas.oneshot.pytorch.strategy import DARTS
from nni.nas.space import RawFormatModelSpace
from spaces import FlatSpace

from nni_magic.strategies.differentiable.architecture import Architecture


def test_begins_near_zero_as_the_seed_says():
    def begun(seed):
        strategy = make("darts", seed=seed)
        strategy.mutate_model(FlatSpace())
        return torch.stack([each.detach() for each in strategy.architecture.parameters])

    first, again, other = begun(1), begun(1), begun(2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 0 < first.abs().max() < 0.01


def test_step_is_that_of_nnis_own_darts():
    torch.manual_seed(2)
    space, theirs = FlatSpace(), FlatSpace()
    theirs.load_state_dict(space.state_dict())
    ours, nnis = make("darts", arc_learning_rate=0.3), DARTS(arc_learning_rate=0.3)
    for strategy, model in ((ours, space), (nnis, theirs)):
        evaluator = regression(max_steps=-1, max_epochs=3, limit_val_batches=0)
        strategy.initialize(RawFormatModelSpace.from_model(model, evaluator), Engine())
    begun = {label: each.detach().clone() for label, each in ours.architecture.by_label.items()}
    own = Architecture(theirs, ours.read)
    with torch.no_grad():
        for label, value in begun.items():
            own.by_label[label].copy_(value)
    ours.run()
    nnis.run()
    for label, each in ours.architecture.by_label.items():
        torch.testing.assert_close(each, own.by_label[label])
        assert (each - begun[label]).abs().max() > 0.5
    expected = theirs.state_dict()
    for name, value in space.state_dict().items():
        torch.testing.assert_close(value, expected[name])
