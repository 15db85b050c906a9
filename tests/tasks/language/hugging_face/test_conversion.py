"""A child's model computes what the child does, padded and of any length."""

import hugging
import pytest
import torch
from spaces import ConvSpace, supernet

from nni_magic.tasks.language.hugging_face import from_child
from nni_magic.tasks.language.tokenization import special_ids


@pytest.mark.parametrize("length", [1, 2, 7, hugging.LENGTH])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("options", [{}, {"embedding_size": 16}], ids=["factorised", "wide"])
def test_outputs_are_the_childs(length, padded, options):
    child = hugging.child(**options)
    model = from_child(child, hugging.SAMPLE)
    ids, mask = hugging.batch(length, padded)
    torch.testing.assert_close(model(ids, mask).logits, child(ids, mask), rtol=0, atol=1e-5)
    torch.testing.assert_close(model(ids).logits, child(ids), rtol=0, atol=1e-5)


def test_a_child_frozen_out_of_a_supernet_is_converted_with_the_paths_weights():
    net = supernet(hugging.space()).eval()
    child = net.freeze(hugging.SAMPLE)
    model = from_child(child, hugging.SAMPLE)
    ids, mask = hugging.batch()
    assert torch.equal(model(ids, mask).logits, child(ids, mask))
    with torch.no_grad():
        child.stem.token.weight.zero_()
    assert model.bert.stem.token.weight.any()


def test_configuration_is_the_childs_and_no_random_number_is_drawn():
    child = hugging.child()
    state = torch.get_rng_state()
    config = from_child(child, hugging.SAMPLE, special_ids(hugging.tokenizer())).config
    assert torch.equal(torch.get_rng_state(), state)
    assert config.operators == list(hugging.CANDIDATES)
    assert (config.hidden_size, config.embedding_size, config.vocab_size) == (16, 8, 281)
    assert (config.max_position_embeddings, config.hidden_dropout_prob) == (12, 0.1)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (1, 0, 2)


def test_a_child_of_another_space_is_refused():
    with pytest.raises(TypeError, match="child is a ConvSpace; accepted are children of BertSpace"):
        from_child(ConvSpace(), {})
