"""A child's configuration: its defaults, its file, and its errors."""

import pytest

from nni_magic.tasks.language.hugging_face import MagicBertConfig


def test_layers_are_the_operators_and_embeddings_as_wide_as_hidden_states():
    config = MagicBertConfig(operators=("mha2", "ffn", "ffn"), hidden_size=8)
    assert (config.num_hidden_layers, config.embedding_size) == (3, 8)


def test_a_file_keeps_everything(tmp_path):
    config = MagicBertConfig(
        operators=["mha2x8", "conv3"], vocab_size=50, hidden_size=16, embedding_size=4,
        max_position_embeddings=9, hidden_dropout_prob=0.2, classifier_dropout=0.0, num_labels=3,
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    assert MagicBertConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


@pytest.mark.parametrize(("settings", "message"), [
    ({"operators": []}, r"operators is \[\]; accepted are the names of one operator or more"),
    ({"vocab_size": 0}, "vocab_size is 0; accepted are whole numbers of at least 1"),
    ({"hidden_size": 8, "embedding_size": 9},
     "embedding_size is 9; accepted are whole numbers from 1 to 8"),
    ({"max_position_embeddings": 0}, "max_position_embeddings is 0; accepted are whole numbers"),
    ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob is 1.0; accepted are finite numbers"),
    ({"classifier_dropout": -0.1}, "classifier_dropout is -0.1; accepted are finite numbers"),
])  # fmt: skip
def test_a_setting_that_is_not_accepted_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        MagicBertConfig(**settings)
