"""Samples that were written as JSON and read again, in all places where they enter."""

import json

import nni
import numpy as np
import pytest
from nni.nas.nn.pytorch import ModelSpace
from scores import images, lightning, trained
from spaces import MixedSpace, TupleSpace
from torch import nn
from training import Watch, anchor_of, classification, make, train

from nni_magic.analysis.interference import gradient_similarity
from nni_magic.children.json_samples import in_space, json_form
from nni_magic.children.samples import candidates, digest, random_sample
from nni_magic.search import ChildEvaluator, LatencyTable, Population
from nni_magic.search.latency import StepLatency

SAMPLE = {"kernel": (3, 3), "block_1": 0, "block_2": 1, "block_3": 0}
SPACE = candidates(TupleSpace())


def through_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("space", [TupleSpace, MixedSpace])
def test_samples_come_back_from_json_as_the_spaces_own(space):
    choices, rng = candidates(space()), np.random.default_rng(0)
    for _ in range(30):
        sample = random_sample(choices, rng)
        back = in_space(through_json(sample), choices)
        assert back == sample and list(back) == list(sample)
        assert all(type(back[label]) is type(sample[label]) for label in sample)
        assert digest(back) == digest(sample) == digest(through_json(sample))
        space().validate(back)


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ((3, (1, "x")), [3, [1, "x"]]),
        ({1: (2,), "two": None}, {"1": [2], "two": None}),
        (1.0, 1),  # JavaScript writes it so
        (2, 2.0),
        (True, np.bool_(True)),
        (0.5, np.float64(0.5)),
        ([0, 2], (0, 2)),
        (nn.ReLU, repr(nn.ReLU)),
        (None, None),
    ],
)
def test_a_choice_is_replaced_by_the_spaces_own(own, given):
    back = in_space({"a": given}, {"a": ["other", own]})["a"]
    assert back is own


def test_the_given_sample_stays_as_it_is():
    given = through_json(SAMPLE)
    in_space(given, SPACE)
    assert given == through_json(SAMPLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": [5, 5]}, r"'kernel' is \[5, 5\]; accepted are \[\(1, 1\), \(1, 3\), \(3, 3\)"),
        ({"kernel": "(3, 3)"}, r"'kernel' is '\(3, 3\)'; accepted are"),
        ({"block_1": "0"}, "'block_1' is '0'; accepted are"),
        ({"more": 1}, r"it has unknown labels \['more'\]"),
    ],
)
def test_what_the_space_does_not_know_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        in_space({**through_json(SAMPLE), **change}, SPACE)


def test_a_sample_that_is_no_dict_is_refused():
    with pytest.raises(TypeError, match=r"the sample is \[1, 2\]; accepted are dicts of a choice"):
        in_space([1, 2], SPACE)


def test_json_form_is_what_json_gives_back():
    assert json_form(SAMPLE) == through_json(SAMPLE)
    assert json_form([np.int64(3), nn.ReLU]) == [3, repr(nn.ReLU)]


# Where samples enter


def evaluator():
    return lightning(data=images())


def test_scores_and_children_of_a_sample_from_json_are_those_of_its_own():
    evaluate = ChildEvaluator(trained(TupleSpace), evaluator())
    [own] = evaluate([SAMPLE])
    again = ChildEvaluator(trained(TupleSpace), evaluator())
    assert again([through_json(SAMPLE)]) == [own]
    x = images().tensors[0]
    given = through_json(SAMPLE)
    assert evaluate.child(given)(x).equal(evaluate.child(SAMPLE)(x))
    assert evaluate.needed_calls([given]) == evaluate.needed_calls([SAMPLE])


def test_a_population_of_json_goes_on_as_its_own():
    def told(through):
        first = Population(TupleSpace(), seed=1, size=3, start=[through(SAMPLE)])
        children = first.ask()
        first.tell(through(children), range(3))
        second = Population(TupleSpace(), seed=1, size=3)
        second.load_state_dict(through(first.state_dict()))
        return second.best(), second.ask()

    assert told(through_json) == told(lambda value: value)
    assert type(told(through_json)[0][0].sample["kernel"]) is tuple


def test_an_anchor_from_json_is_the_spaces_own():
    strategy = make(
        "magic_a", anchor=through_json(SAMPLE), warmup_epochs=0, aligned_layers=["blocks.0"]
    )
    train(strategy, TupleSpace(), classification(Watch()))
    assert anchor_of(strategy.oneshot_module).sample == SAMPLE


def test_gradients_of_children_from_json_are_those_of_their_own():
    children = [SAMPLE, {**SAMPLE, "block_3": 1}]

    def similarity(given):
        net, [batch] = trained(TupleSpace), [images().tensors]
        return gradient_similarity(net, evaluator(), [batch], "block_1", given)

    assert (similarity(through_json(children)) == similarity(children)).all()


def test_a_latency_table_of_json_prices_samples_of_both_kinds():
    table = LatencyTable([StepLatency({"kernel": SPACE["kernel"]}, [1.0, 2.0, 4.0])], {})
    for each in (table, LatencyTable.from_json(through_json(table.to_json()))):
        each.check_covers({"kernel": SPACE["kernel"]})
        assert [each({"kernel": kernel}) for kernel in ((1, 3), [3, 3])] == [2.0, 4.0]
        assert each.extremes() == (1.0, 4.0)
        with pytest.raises(ValueError, match=r"does not know this child: .*'kernel' is \[5, 5\]"):
            each({"kernel": [5, 5]})


class ClassSpace(ModelSpace):
    """A choice among classes, which JSON writes as text."""

    def __init__(self):
        super().__init__()
        kind = nni.choice("kind", [nn.ReLU, nn.Tanh])
        self.add_mutable(kind)


def test_classes_as_choices_survive_json():
    choices = candidates(ClassSpace())
    assert in_space(json_form({"kind": nn.Tanh}), choices) == {"kind": nn.Tanh}
