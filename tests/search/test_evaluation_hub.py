"""All spaces of NNI's hub: a child is the one that its score is of."""

import numpy as np
import pytest
import torch
from hub import HUB, REFUSED, VARIABLE_CELLS
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from scores import images, trained
from spaces import set_path, supernet
from torch import nn
from torch.nn.functional import cross_entropy
from training import QUIET

from nni_magic.children.samples import candidates, random_sample
from nni_magic.search import ChildEvaluator, Evolution
from nni_magic.strategies import SPOS

FAST = ("MobileNetV3Space", "NasBench201", "AutoFormer", "DARTS")
SPACES = [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in HUB]
DATA = images(16, size=32, channels=3)


def evaluator(**settings):
    return Classification(
        num_classes=10,
        train_dataloaders=DataLoader(DATA, batch_size=8),
        val_dataloaders=DataLoader(DATA, batch_size=8),
        **{**QUIET, "max_epochs": 1, **settings},
    )


def loss_of(model):
    """Of a model in plain torch, over all batches."""
    model.eval()
    with torch.no_grad():
        losses = [cross_entropy(model(x), y).item() for x, y in DataLoader(DATA, batch_size=8)]
    return float(np.mean(losses))


def loss_on_path(net, sample):
    """Of the path, with BatchNorm statistics averaged over the training batches by torch."""
    set_path(net, sample)
    net.eval()
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    batches, sums = list(DataLoader(DATA, batch_size=8)), {}

    def note(norm, inputs):
        x = inputs[0].detach()
        n, kept = sums.get(norm, (0, torch.zeros(2, x.shape[1])))
        taken = torch.stack([x.mean((0, 2, 3)), x.var((0, 2, 3))])
        sums[norm] = n + 1, kept + taken

    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    for norm in norms:
        norm.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with torch.no_grad():
        for x, _ in batches:
            net(x)
    for hook in hooks:
        hook.remove()
    for norm, (n, total) in sums.items():
        width = total.shape[1]
        norm.running_mean[:width], norm.running_var[:width] = total / n
    loss = loss_of(net)
    net.load_state_dict(before)
    return loss


def compare(make, n=2):
    net = trained(make)
    evaluate = ChildEvaluator(net, evaluator(), metric="val_loss")
    samples = [random_sample(candidates(net), np.random.default_rng(seed)) for seed in range(n)]
    for score, sample in zip(evaluate(samples), samples, strict=True):
        assert score == pytest.approx(loss_on_path(net, sample), rel=1e-5)
        assert loss_of(evaluate.child(sample)) == pytest.approx(score, rel=1e-5)


@pytest.mark.parametrize("space", SPACES)
def test_child_of_every_space_has_its_score(space):
    compare(HUB[space])


@pytest.mark.slow
@pytest.mark.parametrize("space", VARIABLE_CELLS)
def test_child_of_variable_cells_has_its_score(space):
    compare(VARIABLE_CELLS[space], 3)


@pytest.mark.parametrize("space", REFUSED)
def test_space_that_nni_makes_no_supernet_of_is_refused_by_nni(space):
    with pytest.raises(TypeError, match="NasBench101Cell` has dangling mutables"):
        supernet(REFUSED[space]())


@pytest.mark.parametrize("space", [
    "AutoFormer", *(pytest.param(name, marks=pytest.mark.slow) for name in ("DARTS", "ENAS")),
])  # fmt: skip
@pytest.mark.parametrize("make", [
    lambda: SPOS(seed=0, validation_children=2, metric="val_loss"),
    lambda: Evolution(generations=1, population=3, metric="val_loss", seed=0),
], ids=["spos", "evolution"])  # fmt: skip
def test_listed_models_have_their_scores(make, space):
    strategy, whole = make(), HUB[space]()
    net = whole if isinstance(strategy, SPOS) else supernet(whole)
    strategy(RawFormatModelSpace.from_model(net, evaluator()), SequentialExecutionEngine())
    models = list(strategy.list_models(limit=2))
    assert len(models) == 2
    for model in models:
        assert loss_of(model.executable_model()) == pytest.approx(model.metric, rel=1e-5)
