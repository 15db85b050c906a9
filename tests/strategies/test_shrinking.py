"""What a strategy asks of a shrinking, and what a user's own may do."""

import inspect

import pytest
import torch
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.search import ProgressiveShrinking
from nni_magic.strategies.shrinking import Shrinking, refuse_shrinking

HOOKS = ["begin", "shrink", "state_dict", "load_state_dict"]


class FirstCandidates:
    """Deletes one candidate of the first block after every epoch, and nothing else."""

    def __init__(self):
        self.events, self.dropped = [], 0

    def begin(self, module):
        self.events.append(("begin", module.trainer.global_step))

    def shrink(self, module, epochs):
        self.events.append(("shrink", epochs))
        self.dropped += 1
        module.restrict({"block_1": module.sampler.candidates["block_1"][1:]}, [])

    def state_dict(self):
        return {"dropped": self.dropped}

    def load_state_dict(self, state):
        self.dropped = state["dropped"]
        self.events.append("loaded")


def run(shrinking, watch=None, checkpoint=None, name="magic_t"):
    torch.manual_seed(11)
    strategy = make(name, shrinking=shrinking)
    train(strategy, ConvSpace(), classification(watch or Watch()), checkpoint)
    return strategy.oneshot_module


def test_own_shrinking_is_asked_before_the_first_step_and_after_every_epoch():
    module = run(shrinking := FirstCandidates(), watch := Watch())
    assert shrinking.events == [("begin", 0), ("shrink", 1), ("shrink", 2), ("shrink", 3)]
    assert module.sampler.candidates["block_1"] == ["drop"]
    for epoch in range(3):
        left = ConvSpace.CANDIDATES[epoch:]
        assert all(c["block_1"] in left for c, _ in watch.steps[6 * epoch : 6 * epoch + 6])


def test_own_shrinking_goes_on_where_it_was_stopped(tmp_path):
    whole = Watch()
    run(FirstCandidates(), whole)
    run(FirstCandidates(), before := Watch(8, path := tmp_path / "stopped.ckpt"))
    run(resumed := FirstCandidates(), after := Watch(), path)
    assert before.steps + after.steps == whole.steps
    assert resumed.events == ["loaded", ("begin", 8), ("shrink", 2), ("shrink", 3)]
    assert resumed.dropped == 3


def test_deleted_child_is_not_trained_on_and_its_turns_are_forgotten():
    class Latest(FirstCandidates):
        def shrink(self, module, epochs):
            child = module.child
            left = [c for c in module.sampler.candidates["block_2"] if c != child["block_2"]]
            module.restrict({"block_2": left or [child["block_2"]]}, [])
            self.events.append((module.turns, module.child, module.child_step))

    run(shrinking := Latest())
    assert shrinking.events[1:] == [([], None, -1)] * 3


@pytest.mark.parametrize("hook", HOOKS)
def test_progressive_shrinking_has_what_the_seam_asks_for(hook):
    asked = inspect.signature(getattr(Shrinking, hook)).parameters
    assert list(inspect.signature(getattr(ProgressiveShrinking, hook)).parameters) == list(asked)


def test_shrinking_is_refused_with_the_reason():
    refuse_shrinking(None, "of a reason")
    with pytest.raises(ValueError, match=r"^shrinking is <.*; accepted is None, as of a"):
        refuse_shrinking(FirstCandidates(), "of a reason")
