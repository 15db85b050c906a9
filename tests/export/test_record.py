"""``child.json`` says how a child is built anew, or that it does not."""

import images
import pytest
import torch
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from spaces import ConvSpace, TupleSpace
from torch import nn

from nni_magic.export import record
from nni_magic.export.record import build_recorded, read_record, recorded_space, write_record
from search_spaces import ProxylessNASSpace

CONV = {f"block_{n}": "conv3" for n in range(1, 5)}
BUILT = {"digest": "abc", "rebuild_problem": None}


class OfObjects(ModelSpace):
    """Its argument is none that JSON can hold."""

    def __init__(self, activation=None):
        super().__init__()
        self.operator = LayerChoice([nn.Linear(2, 2), nn.Identity()], label="block_1")
        self.activation = activation

    def forward(self, x):
        return self.operator(x)


def made_by(space):
    return record._made_by(space)


def test_arguments_are_recorded_as_they_were_given():
    found = made_by(ConvSpace(4, dropout=0.25))
    assert found.pop("class").endswith("spaces:ConvSpace")
    assert found == {"args": [], "kwargs": {"n_blocks": 4, "dropout": 0.25}}
    space = ProxylessNASSpace(**{**images.SIZES, "candidates": ("mb3_3x3", "mb6_5x5")})
    found = made_by(space)
    assert found["class"] == "search_spaces.proxylessnas:ProxylessNASSpace"
    assert found["kwargs"].items() >= images.SIZES.items()


def test_arguments_that_json_cannot_hold_are_not_recorded():
    assert made_by(OfObjects(nn.ReLU())) is None
    assert made_by(OfObjects({1: "relu"})) is None  # it would come back as text
    assert made_by(OfObjects({"one": [1, (2, 3)]}))["kwargs"] == {
        "activation": {"one": [1, [2, 3]]}
    }

    class Local(OfObjects):
        pass

    assert made_by(Local()) is None


def test_a_child_is_built_of_its_record(tmp_path):
    child, folder = images.exported(tmp_path)
    found = read_record(folder)
    built = build_recorded(found).eval()
    built.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    batch = torch.randn(2, 1, 8, 8)
    assert torch.equal(built(batch), child(batch))
    assert build_recorded(found, n_classes=3)(batch).shape == (2, 3)


def test_choices_that_json_changes_are_the_spaces_own():
    space = TupleSpace()
    sample = {label: choice.values[0] for label, choice in space.simplify().items()}
    write = {**BUILT, "space": made_by(space),
             "sample": {label: list(value) if isinstance(value, tuple) else value
                        for label, value in sample.items()}}  # fmt: skip
    assert any(isinstance(value, list) for value in write["sample"].values())
    assert isinstance(build_recorded(write), TupleSpace)


@pytest.mark.parametrize(("more", "message"), [
    ({"rebuild_problem": "it has other weights"},
     "child abc cannot be built anew: it has other weights; its child.pt2 runs as it is"),
    ({"space": None}, "child.json of child abc does not say how its space was made; accepted are"),
    ({"space": {"class": "nowhere:Space"}}, "space is 'nowhere:Space', which cannot be imported"),
    ({"space": {"class": "os:system"}}, "space is 'os:system'; accepted are subclasses of NNI's"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        recorded_space({**BUILT, **more})


def test_records_are_written_and_read(tmp_path):
    import numpy as np

    known = {"sample": CONV, "digest": "abc"}
    write_record(tmp_path, {**known, "score": np.float64(0.5), "where": tmp_path})
    assert read_record(tmp_path) == {**known, "score": 0.5, "where": str(tmp_path)}
    write_record(tmp_path, {"digest": "abc"})
    with pytest.raises(ValueError, match=r"child.json' is damaged: it lacks 'sample'"):
        read_record(tmp_path)
    (tmp_path / "child.json").write_text("{")
    with pytest.raises(ValueError, match=r"child.json' is damaged, or no JSON at all"):
        read_record(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"folder is '.*', without child.json; accepted"):
        read_record(tmp_path / "other")
