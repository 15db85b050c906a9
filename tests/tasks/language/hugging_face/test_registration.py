"""The models are known to ``transformers`` by their configuration."""

import hugging
import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from nni_magic.tasks.language.hugging_face import MagicBertConfig, from_child
from nni_magic.tasks.language.hugging_face.registration import AUTO_CLASSES, register


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    from_child(hugging.child(), hugging.SAMPLE).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("auto", AUTO_CLASSES, ids=lambda auto: auto.__name__)
def test_every_kind_of_model_is_loaded_with_the_childs_body(auto, folder):
    model = auto.from_pretrained(folder)
    assert type(model) is AUTO_CLASSES[auto]
    body = model if auto.__name__ == "AutoModel" else model.bert
    for name, value in hugging.child().state_dict().items():
        if not name.startswith("mlm_head"):
            assert torch.equal(body.state_dict()[name], value)


def test_weights_are_safetensors_and_come_back_as_they_are(folder):
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    ids, mask = hugging.batch()
    loaded = AutoModelForMaskedLM.from_pretrained(folder)
    assert torch.equal(loaded(ids, mask).logits, hugging.child()(ids, mask))


def test_once_more_changes_nothing(folder):
    register()
    assert type(AutoConfig.from_pretrained(folder)) is MagicBertConfig
