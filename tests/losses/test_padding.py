"""Padding is left out of the alignment term: how the mask is found in the model's call."""

import pytest
import torch
from alignments import Run, numpy_loss
from spaces import FlatSpace, set_path, supernet
from torch import nn
from training import Watch, dict_evaluator, make, train

from search_spaces import BertSpace


class Masked(FlatSpace):
    """Takes a mask; ``(batch, seq, 4)``."""

    def forward(self, x, attention_mask=None, pad=None):
        return super().forward(x)


class Sequences(FlatSpace):
    """Takes any number of inputs by position, none of which is a mask."""

    def forward(self, *inputs):
        return super().forward(sum(inputs))


TOKENS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])
A, B = {"block_1": 0, "block_2": 0}, {"block_1": 1, "block_2": 2}


def masked_run(space=Masked, **kwargs):
    torch.manual_seed(0)
    return Run(supernet(space(n_blocks=2)), ["blocks.0", "blocks.1"], target=A, **kwargs)


def by_hand(net, mask, *args):
    found = []
    for sample in (A, B):
        set_path(net, sample)
        first = net.blocks[0](*args)
        found.append({"p": first.detach(), "q": net.blocks[1](torch.tanh(first)).detach()})
    return pytest.approx(numpy_loss(*found, mask), rel=1e-5)


def test_mask_by_keyword_and_by_position():
    run = masked_run()
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, attention_mask=MASK, child=B).item() == expected
    assert run.term(TOKENS, MASK, child=B).item() == expected
    assert run.term(attention_mask=MASK, x=TOKENS, child=B).item() == expected


def test_mask_not_given_counts_every_position():
    run = masked_run()
    expected = by_hand(run.net, None, TOKENS)
    assert run.term(TOKENS, child=B).item() == expected
    assert run.term(TOKENS, None, child=B).item() == expected
    assert run.term(TOKENS, attention_mask=None, child=B).item() == expected


def test_mask_of_another_name():
    run = masked_run(mask_argument="pad")
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, None, MASK, child=B).item() == expected
    assert run.term(TOKENS, torch.zeros(9, 9), pad=MASK, child=B).item() == expected


def test_mask_argument_none_counts_every_position():
    run = masked_run(mask_argument=None)
    assert run.term(TOKENS, MASK, child=B).item() == by_hand(run.net, None, TOKENS)


def test_mask_of_a_model_that_takes_none():
    run = masked_run(FlatSpace)
    assert run.term(TOKENS, child=B).item() == by_hand(run.net, None, TOKENS)


class AnyNames(FlatSpace):
    """Takes what it does not name, a mask perhaps."""

    def forward(self, x, **others):
        return super().forward(x)


def test_mask_of_a_name_that_only_the_call_knows():
    run = masked_run(AnyNames, mask_argument="pad")
    expected = by_hand(run.net, MASK, TOKENS)
    assert run.term(TOKENS, pad=MASK, child=B).item() == expected


@pytest.mark.parametrize(
    ("space", "name", "taken"),
    [
        (Masked, "atention_mask", r"\['x', 'attention_mask', 'pad'\]"),
        (FlatSpace, "pad", r"\['x'\]"),
        (Sequences, "inputs", r"\[\]"),
    ],
)
def test_mask_of_a_name_that_the_model_does_not_have_is_refused(space, name, taken):
    message = f"mask_argument is '{name}'; accepted are .* {taken} of {space.__name__}'s f.* None"
    with pytest.raises(ValueError, match=message):
        masked_run(space, mask_argument=name)


def test_mask_is_not_taken_from_inputs_of_any_number():
    run = masked_run(Sequences)
    expected = by_hand(run.net, None, TOKENS + MASK[..., None])
    assert run.term(TOKENS, MASK[..., None], child=B).item() == expected


class Pooled(BertSpace):
    """Has a layer behind which positions are gone."""

    def __init__(self):
        super().__init__(4, 8, 50, 12, candidates=("ffn", "conv3"))
        self.pooled = nn.Identity()

    def forward(self, token_ids, attention_mask=None):
        self.pooled(self.stem(token_ids).mean(1))
        return super().forward(token_ids, attention_mask)


def test_layer_that_the_mask_does_not_fit_is_refused_at_the_start():
    watch = Watch()
    strategy = make("magic_a", aligned_layers=["pooled"], warmup_epochs=1)
    with pytest.raises(ValueError, match=r"the mask has shape .* state of layer 'pooled' is \("):
        train(strategy, Pooled(), dict_evaluator(watch))
    assert watch.steps == []
