"""A child's folder becomes one of Hugging Face, and is read back."""

import json
import sys

import hugging
import pytest
import torch
from nni.nas.space import model_context
from spaces import ConvSpace
from transformers import BertConfig, BertModel, pipeline

import nni_magic
from nni_magic.export import export_child
from nni_magic.tasks.language.hugging_face import (
    MagicBertForElectra,
    read_folder,
    read_source,
    write_folder,
)


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    return hugging.exported(tmp_path_factory.mktemp("children"))


@pytest.fixture(scope="module")
def folder(child):
    return write_folder(child)


def test_folder_holds_all_that_is_needed(child, folder):
    assert folder == child / "hugging_face"
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "child.json", "config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    assert "| seed | 3 |" in (folder / "README.md").read_text()
    assert json.loads((folder / "child.json").read_text())["score"] == 2.5


def test_masks_are_filled_with_what_the_child_finds_likely(folder):
    found = pipeline("fill-mask", model=str(folder), top_k=3)("the cat <mask> on the mat")
    read = nni_magic.load(folder.parent)
    batch = read.preprocess("the cat <mask> on the mat")
    [place] = (batch["token_ids"][0] == 4).nonzero()
    likely = read.model(**batch)[0, place].softmax(-1).topk(3)
    assert [each["token"] for each in found] == likely.indices[0].tolist()
    assert [each["score"] for each in found] == pytest.approx(likely.values[0].tolist())


def test_load_gives_model_tokenizer_and_record(folder):
    loaded = nni_magic.load(folder)
    ids, mask = hugging.batch()
    assert torch.equal(loaded.model(ids, mask).logits, hugging.child()(ids, mask))
    assert not loaded.model.training
    assert loaded.preprocess("the cat")["input_ids"] == [0, 263, 271, 2]
    assert loaded.record["sample"] == hugging.SAMPLE


def test_a_folder_is_written_again_and_nothing_else_is_replaced(child, folder, tmp_path):
    assert write_folder(child) == folder
    assert write_folder(child, tmp_path / "new" / "model").is_dir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    (tmp_path / "file").write_text("mine")
    for name in ("mine", "file"):
        with pytest.raises(ValueError, match=f"target is '.*{name}', which is there and holds"):
            write_folder(child, tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_a_child_of_images_and_no_child_are_refused(tmp_path):
    sample = {f"block_{n}": "conv3" for n in range(1, 5)}
    with model_context(sample):
        images = ConvSpace()
    folder = export_child(
        images, sample, 0.5, tmp_path, space=ConvSpace(), metric="val_loss", provenance={},
        args=[torch.ones(2, 1, 8, 8)], formats=(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="a ConvSpace; accepted are folders of children of Bert"):
        write_folder(folder)
    with pytest.raises(FileNotFoundError, match=r"folder is '.*', without child.json; accepted"):
        write_folder(tmp_path)


def test_a_model_of_another_kind_is_refused(tmp_path):
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    hugging.written(tmp_path)  # with a tokenizer
    BertModel(BertConfig(**tiny, intermediate_size=8, vocab_size=9)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="which holds a 'bert'; accepted is 'magic_bert'"):
        read_folder(tmp_path)


def test_what_is_for_training_alone_is_refused(tmp_path):
    config = read_source(hugging.written(tmp_path)).config
    MagicBertForElectra(config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="holds a MagicBertForElectra; accepted are Magic"):
        read_folder(tmp_path)


def test_without_transformers_the_extra_is_named(folder, monkeypatch):
    for name in [name for name in sys.modules if "hugging_face" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = r"needs transformers: pip install nni-magic\[huggingface\]"
    with pytest.raises(ModuleNotFoundError, match=message):
        nni_magic.load(folder)
