"""The model card: where a child comes from and how it is used."""

import pytest
from huggingface_hub import ModelCard

from nni_magic.tasks.language.hugging_face import MagicBertConfig
from nni_magic.tasks.language.hugging_face.model_card import model_card, trained_card

RECORD = {
    "digest": "abc", "sample": {"layer_1": "ffn", "layer_2": "ffn", "layer_3": "conv3"},
    "metric": "test_loss", "score": 2.51239, "params": 12345, "flops": 1000000,
    "provenance": {"seed": 7, "settings": {"strategy": "magic_at"}},
}  # fmt: skip


def card(**more):
    return model_card({**RECORD, **more}, max_length=64, mask_token="<mask>")


def test_card_tells_search_score_costs_and_seed():
    text = card()
    for row in ("| test loss | 2.5124 |", "| parameters | 12,345 |", "2 x ffn, conv3",
                "| search strategy | magic_at |",
                "| FLOPs of one sequence of 64 tokens, as multiply-adds | 1,000,000 |",
                "| seed | 7 |", '"seed": 7'):  # fmt: skip
        assert row in text
    data = ModelCard(text).data
    assert (data.library_name, data.pipeline_tag) == ("transformers", "fill-mask")


@pytest.mark.parametrize(("auto", "tag"), [
    ("AutoModelForSequenceClassification", "text-classification"),
    ("AutoModelForPreTraining", None),
])  # fmt: skip
def test_card_of_a_trained_model_tells_its_task_and_its_training(auto, tag):
    config = MagicBertConfig(operators=["ffn", "ffn", "mha2"], hidden_size=8, vocab_size=50)
    text = trained_card(config, auto, 1234, {"score": 0.5})
    for part in ("of 1,234 parameters", "2 x ffn, mha2", f"import {auto}, AutoTok", '"score": 0.5'):
        assert part in text
    assert ModelCard(text).data.pipeline_tag == tag


@pytest.mark.parametrize(("more", "row"), [
    ({"flops": None}, "multiply-adds | not counted |"),
    ({"provenance": {}}, "| search strategy | not recorded |\n| seed | not recorded |"),
])  # fmt: skip
def test_what_is_not_known_is_said(more, row):
    assert row in card(**more)
