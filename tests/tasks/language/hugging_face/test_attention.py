"""Queries, keys and values are found in models of every make."""

import hugging
import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
)

from nni_magic.supernet.hidden_states import hooked
from nni_magic.tasks.language.hugging_face.attention import attention_maps, last_attention, widths

SMALL = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 12, "pad_token_id": 0}  # fmt: skip
DISTIL = {"vocab_size": 20, "dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 12}
MODELS = [
    (BertModel, BertConfig(**SMALL)), (RobertaModel, RobertaConfig(**SMALL)),
    (DistilBertModel, DistilBertConfig(**DISTIL)),
    (DebertaV2Model, DebertaV2Config(**SMALL)),
    (ModernBertModel, ModernBertConfig(**SMALL, bos_token_id=1, eos_token_id=2, cls_token_id=1,
                                       sep_token_id=2)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "config"), MODELS, ids=lambda each: getattr(each, "__name__", ""))
def test_maps_of_every_layer_are_found_in_order(kind, config):
    model = kind(config).eval()
    maps = attention_maps(model)
    assert len(maps) == 2
    assert widths(maps) == [8] * (6 if len(maps[0]) == 3 else 2)
    outputs = {}
    names = {name: module for layer in maps for name, module in layer.items()}
    with hooked(names, outputs, stop=False), torch.no_grad():
        model(torch.ones(1, 5, dtype=torch.long))
    found = last_attention(maps, outputs)
    assert [tuple(each.shape) for each in found] == [(1, 5, 8)] * 3
    own = [outputs[name] for name in maps[1]]
    expected = own if len(own) == 3 else own[0].unflatten(-1, (3, 8)).unbind(-2)
    assert all(one.equal(other) for one, other in zip(found, expected, strict=True))


def test_scores_of_a_child_s_attention_are_those_of_the_queries_and_keys_found():
    child = hugging.child()
    maps, outputs = attention_maps(child), {}
    assert [list(layer) for layer in maps] == [["layers.0.operator.qkv"]]
    ids, mask = hugging.batch()
    with hooked(maps[0], outputs, stop=False):
        child(ids, attention_mask=mask)
    query, key, _ = last_attention(maps, outputs)
    operator = child.layers[0].operator
    states = child.stem(ids)
    weight, bias = operator.qkv.weight.chunk(3), operator.qkv.bias.chunk(3)
    torch.testing.assert_close(query, states @ weight[0].T + bias[0])
    torch.testing.assert_close(key, states @ weight[1].T + bias[1])


def test_last_layer_is_the_last_that_was_run_with_all_its_maps():
    maps = [{"a": None}, {"q": None, "k": None, "v": None}, {"c": None}]
    a, q = torch.rand(1, 2, 6), torch.rand(1, 2, 2)
    assert last_attention(maps, {}) == ()
    assert last_attention(maps, {"a": a, "q": q, "k": q})[0].equal(a[..., :2])
    assert last_attention(maps, {"a": a, "q": q, "k": q, "v": q})[0] is q
