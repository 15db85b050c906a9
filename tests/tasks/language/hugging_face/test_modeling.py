"""The body: the child's hidden states, its initialisation, its errors."""

import hugging
import pytest
import torch

from nni_magic.tasks.language.hugging_face import MagicBertConfig, MagicBertModel, from_child


def configuration(**settings):
    sizes = {"hidden_size": 16, "embedding_size": 8, "vocab_size": 300,
             "max_position_embeddings": 12, "operators": list(hugging.CANDIDATES)}  # fmt: skip
    return MagicBertConfig(**{**sizes, **settings})


def test_hidden_states_are_those_of_the_child():
    child = hugging.child()
    model = from_child(child, hugging.SAMPLE).bert
    ids, mask = hugging.batch()
    states = [child.stem(ids)]
    for layer in child.layers:
        states.append(layer(states[-1], mask))
    found = model(ids, mask, output_hidden_states=True)
    for one, other in zip(found.hidden_states, states, strict=True):
        assert torch.equal(one, other)
    assert found.last_hidden_state is found.hidden_states[-1]
    assert model(ids, mask).hidden_states is None
    assert torch.equal(model(ids, mask, return_dict=False)[0], states[-1])


def test_a_new_model_begins_as_a_new_child_does():
    torch.manual_seed(0)
    wide = {"hidden_size": 64, "embedding_size": 32, "vocab_size": 2000}
    model = MagicBertModel(configuration(**wide))
    space = hugging.space(hidden=64, embedding_size=32, vocab_size=2000)
    assert model.stem.token.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.stem.project.weight.std().item() == pytest.approx(0.02, rel=0.1)
    for name, layer, choice in zip(hugging.CANDIDATES, model.layers, space.layers, strict=True):
        theirs = choice.operator[name].state_dict()
        assert theirs.keys() == layer.operator.state_dict().keys()
        for key, value in layer.operator.named_parameters():
            if value.ndim > 1:
                assert value.std().item() == pytest.approx(theirs[key].std().item(), rel=0.15)
    assert all(not p.any() for name, p in model.named_parameters() if name.endswith("bias"))


def test_longer_texts_and_unknown_operators_are_refused():
    with pytest.raises(ValueError, match="candidate is 'lstm'; accepted are mha"):
        MagicBertModel(configuration(operators=["lstm"]))
    with pytest.raises(ValueError, match="token_ids has 13 columns; accepted are at most"):
        MagicBertModel(configuration())(torch.ones(1, 13, dtype=torch.long))


def test_activation_checkpointing_changes_no_gradient():
    ids, mask = hugging.batch()
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = MagicBertModel(configuration(hidden_dropout_prob=0.0)).train()
        if checkpointing:
            model.activation_checkpointing_enable()
        model(ids, mask).last_hidden_state.square().sum().backward()
        gradients.append(model.stem.token.weight.grad)
    torch.testing.assert_close(*gradients)
