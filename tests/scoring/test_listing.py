"""Children as a strategy lists them: frozen, with their score, and statistics of their own."""

import pytest
from nni.nas.evaluator.pytorch import Classification
from nni.nas.space import RawFormatModelSpace
from spaces import ConvSpace, supernet
from training import QUIET, bert

from nni_magic.scoring.listing import listed
from nni_magic.support.compat import freeze

CHILD = {"block_1": "conv3", "block_2": "drop", "block_3": "skip", "block_4": "conv1"}


def space_of(net):
    return RawFormatModelSpace.from_model(net, Classification(num_classes=10, **QUIET))


def test_child_is_made_when_it_is_asked_for():
    net, asked = supernet(ConvSpace()), []

    def child(sample):
        asked.append(sample)
        return freeze(net, sample)

    model = listed(space_of(net), CHILD, 0.5, child)
    assert (model.metric, model.sample, asked) == (0.5, CHILD, [])
    assert model.status.frozen()
    made = model.executable_model()
    assert asked == [CHILD]
    assert made.blocks[0][0].kernel_size == (3, 3)


@pytest.mark.parametrize(
    ("space", "sample"), [(ConvSpace, CHILD), (bert, dict.fromkeys(bert().simplify(), "ffn"))]
)
def test_space_is_not_changed_by_its_children(space, sample):
    whole = space_of(supernet(space()))
    first = listed(whole, sample, 1.0, lambda sample: None)
    second = listed(whole, sample, 2.0, lambda sample: None)
    assert (first.metric, second.metric, whole.metric) == (1.0, 2.0, None)
    assert not whole.status.frozen()
