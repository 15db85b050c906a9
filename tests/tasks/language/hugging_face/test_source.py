"""Folders that a training begins with."""

import json

import hugging
import pytest
import torch

from nni_magic.tasks.language.hugging_face import (
    MagicBertForMaskedLM,
    read_folder,
    read_source,
    to_pretrain,
    write_folder,
)
from nni_magic.tasks.language.tokenization import train_tokenizer


@pytest.fixture
def folder(tmp_path):
    return write_folder(hugging.exported(tmp_path / "children"), tmp_path / "model")


def test_folder_without_a_file_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="model is 'nowhere', without config"):
        read_source("nowhere")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"without tokenizer\.json; accepted are"):
        read_source(folder)


def changed(folder, **settings):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_another_kind_of_model_is_refused(folder):
    changed(folder, model_type="bert")
    with pytest.raises(ValueError, match="holds a 'bert'; accepted is 'magic_bert'"):
        read_source(folder)


def test_tokenizer_of_another_model_is_refused(folder):
    changed(folder, vocab_size=50)
    with pytest.raises(ValueError, match=r"tokenizer of '.*' has \d+ tokens; accepted are .*, 50"):
        read_source(folder)


def test_tokenizer_of_another_model_of_the_same_size_is_refused(folder):
    texts = [f"cat {n} purrs" for n in range(300)] * 2
    size = hugging.tokenizer().get_vocab_size()
    train_tokenizer(texts, size).save(str(folder / "tokenizer.json"))
    message = r"tokenizer of '.*' has as many tokens as its model, but others; accepted is the one"
    with pytest.raises(ValueError, match=message):
        read_source(folder)
    with pytest.raises(ValueError, match=message):
        read_folder(folder)
    changed(folder, vocab_digest=None)  # of a folder of which it is not known
    assert read_source(folder)


def test_vocabulary_that_has_grown_is_the_model_s(folder):
    source = read_source(folder)
    source.tokenizer.add_tokens(["purr"])
    model = to_pretrain(source, "mlm", 0)
    assert model.config.vocab_digest == source.config.vocab_digest is not None
    model.resize_token_embeddings(len(source.tokenizer), mean_resizing=False)
    for each in (model, source.tokenizer):
        each.save_pretrained(folder)
    assert read_source(folder).config.vocab_size == len(source.tokenizer)


@pytest.mark.parametrize("objective", ["mlm", "electra"])
def test_weights_are_new_or_inherited(objective, folder):
    source = read_source(folder)
    theirs = MagicBertForMaskedLM.from_pretrained(folder).bert.state_dict()

    def body(seed, inherited):
        model = to_pretrain(source, objective, seed, inherited=inherited)
        return getattr(model, "discriminator", model).bert.state_dict()

    name = "layers.0.operator.qkv.weight"
    assert torch.equal(body(0, True)[name], theirs[name])
    assert torch.equal(body(0, False)[name], body(0, False)[name])
    assert not torch.equal(body(0, False)[name], theirs[name])
    assert not torch.equal(body(0, False)[name], body(1, False)[name])
