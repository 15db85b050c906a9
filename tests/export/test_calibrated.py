"""What is exported of a supernet with BatchNorm gives the score that the record states."""

import json

import onnxruntime
import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader
from nni.nas.hub.pytorch import ProxylessNAS
from nni.nas.space import model_context
from scores import images, lightning, population, trained
from spaces import ConvSpace
from torch.nn.functional import cross_entropy

from nni_magic.export import export_children
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.conversion import to_supernet
from search_spaces import ProxylessNASSpace


def ours():
    return ProxylessNASSpace.preset("tiny", resolution=8, dropout=0.2)


def hub():
    return ProxylessNAS(10, width_mult=0.25, dropout_rate=0.2)


def onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    return lambda x: torch.from_numpy(session.run(None, {given.name: x.numpy()})[0])


def built_anew(space, folder):
    with model_context(json.loads((folder / "child.json").read_text())["sample"]):
        child = space().eval()
    child.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return child


@pytest.mark.parametrize(
    ("space", "data", "formats"),
    [
        (ConvSpace, {}, ["program"]),
        (ours, {}, []),
        pytest.param(ours, {}, ["program", "onnx"], marks=pytest.mark.slow),
        (hub, {"size": 32, "channels": 3}, []),
        pytest.param(hub, {"size": 32, "channels": 3}, ["program", "onnx"], marks=pytest.mark.slow),
    ],
)
def test_exported_children_give_their_recorded_scores(space, data, formats, tmp_path):
    net = trained(space, to_supernet)
    evaluator = lightning(data=images(**data), train=DataLoader(images(32, **data), batch_size=16))
    evaluate = ChildEvaluator(net, evaluator, calibration_batches=2)
    [sample] = population(net, 1)[:1]
    [score] = evaluate([sample])
    [folder] = export_children(
        net, [(sample, score)], tmp_path, child=evaluate.child, metric="val_loss", provenance={},
        args=(images(2, **data).tensors[0],), formats=formats,
    )  # fmt: skip
    models = [built_anew(space, folder)]
    if "program" in formats:
        models.append(torch.export.load(folder / "child.pt2").module())
    if "onnx" in formats:
        models.append(onnx(folder / "child.onnx"))
    recorded = json.loads((folder / "child.json").read_text())["score"]
    for model in models:
        with torch.no_grad():
            losses = [
                cross_entropy(model(x), y, reduction="sum").item()
                for x, y in evaluator.val_dataloaders
            ]
        assert sum(losses) / 20 == pytest.approx(recorded, rel=1e-4)


def test_batchnorm_without_statistics_of_the_children_is_refused(tmp_path):
    net = trained(ConvSpace)
    with pytest.raises(ValueError, match=r"ConvSpace has BatchNorm.*pass child=evaluate.child"):
        export_children(
            net, [(population(net, 1)[0], 1.0)], tmp_path, metric="val_loss", provenance={},
            args=(images(2).tensors[0],),
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
