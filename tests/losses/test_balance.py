"""When alignment takes over a training, and that it is told once."""

import math

import pytest
import torch

from nni_magic.losses.balance import Balance


def told(epochs, weight=0.5):
    """What is said at the end of each epoch, a list of pairs of loss and term."""
    balance, said = Balance(weight), []
    for epoch in epochs:
        for loss, term in epoch:
            balance.add(torch.tensor(loss), None if term is None else torch.tensor(term))
        said.append(balance.end_epoch())
    return said


WARM = [(2.0, None), (1.0, None)]


def test_nothing_is_said_of_a_training_that_goes_well():
    assert told([WARM, [(1.5, 3.0)] * 2, [(1.0, 2.0)] * 2]) == [None, None, None]


def test_term_of_many_times_the_loss_is_told_once():
    bad = [(1.0, 30.0), (1.2, 30.0)]
    message = "times the weight it was 15, beside a prediction loss of 1.1"
    assert told([WARM, bad, bad]) == [None, message, None]
    assert told([bad]) == [message]
    assert told([WARM, [(1.0, 19.0)]]) == [None, None]
    assert told([WARM, [(1.0, 19.0)]], weight=1.0)[1] is not None


def test_one_outlier_is_not_an_epoch():
    assert told([WARM, [(1.0, 30.0), (1.0, 1.0), (1.0, 1.0)]]) == [None, None]


def test_loss_above_that_of_the_last_epoch_before_is_told():
    rose = "the prediction loss rose to 1.7, from 1.5 when alignment began"
    assert told([[(1.0, None)], WARM, [(1.6, 1.0)], [(1.7, 1.0)]]) == [None, None, None, rose]


def test_loss_above_that_of_the_first_epoch_is_told_without_a_warm_start():
    rose = "the prediction loss rose to 1.2, from 1 when alignment began"
    assert told([[(1.0, 1.0)], [(1.05, 1.0)], [(1.2, 1.0)]]) == [None, None, rose]


def test_loss_below_zero_may_fall():
    assert told([[(-1.0, 0.1)], [(-2.0, 0.1)], [(-1.05, 0.1)]]) == [None, None, None]
    assert told([[(-1.0, 0.1)], [(-0.8, 0.1)]])[1] is not None


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_no_number_is_told(wrong):
    assert told([WARM, [(1.0, wrong)]])[1] is not None
    assert told([WARM, [(wrong, 1.0)]])[1] is not None


NOT_FINITE = [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (math.nan, None)]


@pytest.mark.parametrize("wrong", NOT_FINITE)
def test_steps_that_are_not_finite_are_left_out(wrong):
    assert told([WARM, [(1.0, 1.0), wrong, (1.2, 1.0)]]) == [None, None]
    rose = "the prediction loss rose to 1.7, from 1.5 when alignment began"
    assert told([[*WARM, (math.nan, None)], [wrong, (1.7, 1.0)]]) == [None, rose]


def test_epoch_of_which_nothing_is_finite_is_no_start():
    assert told([[(math.nan, None)], [(1.0, 1.0)], [(1.05, 1.0)]]) == [None, None, None]


def test_epoch_without_steps_says_nothing():
    assert told([[], WARM, []]) == [None, None, None]


def test_it_goes_on_within_an_epoch():
    epochs = [WARM, [(1.0, 5.0), (1.0, 45.0)], [(9.0, 1.0)]]
    expected, balance, said = told(epochs), Balance(0.5), []
    for epoch in epochs:
        for loss, term in epoch:
            state = balance.state_dict()
            balance = Balance(0.5)
            balance.load_state_dict(state)
            balance.add(torch.tensor(loss), None if term is None else torch.tensor(term))
        said.append(balance.end_epoch())
    assert said == expected and said[1] is not None


def test_no_graph_of_a_step_is_kept():
    balance, weight = Balance(0.5), torch.ones((), requires_grad=True)
    balance.add(2 * weight, 3 * weight)
    balance.add(weight, None)
    assert balance._sums.tolist() == [3.0, 3.0, 2.0, 1.0] and not balance._sums.requires_grad
