"""Folders of a model and its tokenizer."""

import re

import hugging
import pytest

from nni_magic.tasks.language.hugging_face.reading import read_model_folder

FILES = ("config.json", "model.safetensors", "tokenizer.json")


@pytest.fixture
def folder(tmp_path):
    return hugging.written(tmp_path / "model")


def read(folder):
    return read_model_folder("model", folder, "accepted are others")


def test_model_and_tokenizer_are_read_together(folder):
    config, tokenizer, weights = read(folder)
    assert config.vocab_size == len(tokenizer)
    assert weights == [folder / "model.safetensors"]


@pytest.mark.parametrize("name", FILES)
def test_file_that_is_missing_is_named(name, folder):
    (folder / name).unlink()
    message = f"model is '{folder}', without {name}; accepted are others"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        read(folder)


@pytest.mark.parametrize("name", FILES)
def test_file_that_was_cut_is_told(name, folder):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    message = rf"model is '{folder}', which cannot be read \(.*\); accepted are others"
    with pytest.raises(ValueError, match=message):
        read(folder)
