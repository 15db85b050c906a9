"""Children of images as torchvision makes its models."""

import json

import hugging
import pytest
import torch
from images import exported

from nni_magic.tasks.vision.factory import child_model


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("children"))


def images():
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_child_comes_with_its_weights_in_training_mode(written):
    child, folder = written
    model = child_model(folder)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(model.eval()(images()), child(images()))


def test_other_classes_have_new_weights_on_the_same_body(written):
    child, folder = written
    torch.manual_seed(5)
    model = child_model(str(folder), num_classes=3).eval()
    assert model(images()).shape == (3, 3)
    ours, theirs = model.state_dict(), child.state_dict()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed == {"head.4.weight", "head.4.bias"}
    same = child_model(folder, num_classes=10).eval()
    assert torch.equal(same(images()), child(images()))


def test_without_weights_all_are_new(written):
    child, folder = written
    torch.manual_seed(5)
    model = child_model(folder, weights=None, num_classes=4)
    assert model.eval()(images()).shape == (3, 4)
    assert not torch.equal(model.stem[0][0].weight, child.stem[0][0].weight)


def test_what_is_not_accepted_is_named(written, tmp_path):
    _, folder = written
    with pytest.raises(ValueError, match="weights is 'IMAGENET1K'; accepted are 'DEFAULT', None"):
        child_model(folder, weights="IMAGENET1K")
    with pytest.raises(ValueError, match="num_classes is 0; accepted are whole numbers"):
        child_model(folder, num_classes=0)
    text = hugging.exported(tmp_path)
    with pytest.raises(ValueError, match="BertSpace has no argument for the number of classes"):
        child_model(text, num_classes=2)
    assert json.loads((text / "child.json").read_text())["space"]["class"].endswith("BertSpace")
