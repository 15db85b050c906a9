"""The evaluator of images: losses, schedule, optimizer, and that it learns and resumes."""

import math
from itertools import islice

import pytest
import torch
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace
from torch import nn
from training import QUIET, Stop, Watch

from nni_magic.search import ChildEvaluator
from nni_magic.strategies import MagicAT
from nni_magic.tasks.vision.classification import (
    ImageClassification,
    image_evaluator,
    image_search_evaluator,
    warmup_then_cosine,
)
from nni_magic.tasks.vision.images import prepare
from search_spaces import ProxylessNASSpace
from search_spaces.proxylessnas import Stage

CLASSES = 3
IMAGES = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 1, 0])


@pytest.fixture(scope="module")
def data():
    return prepare("digits")


def space():
    """Small, with BatchNorm."""
    return ProxylessNASSpace(
        (Stage(8, 2, 2), Stage(8, 2, 1)), resolution=8, n_classes=10, in_channels=1,
        stem_channels=8, stem_stride=1, first_channels=8, head_channels=16,
        candidates=("mb1_3x3", "mb3_3x3", "zero"),
    )  # fmt: skip


def model(n_classes=CLASSES):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, n_classes)
    )


def module_with(net=None, **settings):
    module = ImageClassification(**{"n_classes": CLASSES, "total_steps": 10, **settings})
    module.set_model(net or model())
    module.logged = {}
    module.log = lambda name, value, **kwargs: module.logged.update(
        {name: (value.item(), kwargs["batch_size"])}
    )
    return module


@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 0.25), (3, 1.0), (4, 1.0), (7, 0.5), (5, (1 + math.cos(math.pi / 6)) / 2), (10, 0.0),
     (99, 0.0)],
)  # fmt: skip
def test_schedule_values(step, expected):
    assert warmup_then_cosine(step, 4, 10) == pytest.approx(expected)


def test_learning_rate_follows_every_optimizer_step():
    configuration = module_with(total_steps=4, learning_rate=0.4).configure_optimizers()
    optimizer, schedule = configuration["optimizer"], configuration["lr_scheduler"]
    assert schedule["interval"] == "step"
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule["scheduler"].step()
    eighth = math.sqrt(2) / 2  # of a turn
    wanted = [0.4, 0.2 * (1 + eighth), 0.2, 0.2 * (1 - eighth), 0.0]
    assert rates == pytest.approx(wanted, abs=1e-9)


def test_optimizer_is_sgd_and_norms_and_biases_do_not_decay():
    module = module_with(weight_decay=0.3, momentum=0.8)
    optimizer = module.configure_optimizers()["optimizer"]
    assert type(optimizer) is torch.optim.SGD
    assert (optimizer.defaults["momentum"], optimizer.defaults["nesterov"]) == (0.8, True)
    decayed, others = optimizer.param_groups
    net = module.model
    assert {id(p) for p in decayed["params"]} == {id(net[0].weight), id(net[3].weight)}
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    assert len(others["params"]) == 4


def by_hand(logits, smoothing):
    """Cross entropy with a part of the target spread over all classes."""
    target = torch.full((5, CLASSES), smoothing / CLASSES, dtype=torch.float64)
    target[range(5), LABELS] += 1 - smoothing
    probabilities = logits.double().exp() / logits.double().exp().sum(1, keepdim=True)
    return -(target * probabilities.log()).sum(1).mean().item()


def test_training_smooths_labels_and_validation_does_not():
    module = module_with(label_smoothing=0.3).eval()
    logits = module.model(IMAGES).detach()
    trained = module.training_step((IMAGES, LABELS), 0).item()
    validated = module.validation_step((IMAGES, LABELS), 0).item()
    assert trained == pytest.approx(by_hand(logits, 0.3), rel=1e-5)
    assert validated == pytest.approx(by_hand(logits, 0.0), rel=1e-5)
    hits = (logits.argmax(1) == LABELS).float().mean().item()
    assert module.logged == {
        "train_loss": (trained, 5), "val_loss": (validated, 5), "val_acc": (pytest.approx(hits), 5),
    }  # fmt: skip


def test_channels_last_changes_the_order_of_weights_and_no_result():
    plain, last = module_with(), module_with(channels_last=True)
    assert last.model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert last.model[0](IMAGES).is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(plain(IMAGES), last(IMAGES), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 0}, "total_steps is 0; accepted are whole numbers of at least 1"),
        ({"warmup_steps": 11}, "warmup_steps is 11; accepted are 0 to total_steps, which is 10"),
        ({"momentum": 1}, "momentum is 1; accepted are finite numbers above 0 and below 1"),
        (
            {"label_smoothing": 1},
            "label_smoothing is 1; accepted are finite numbers of at least 0 and b",
        ),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        module_with(**settings)


@pytest.mark.parametrize("step", ["training_step", "validation_step"])
def test_model_of_another_number_of_classes_is_named(step):
    module = module_with(model(7))
    with pytest.raises(ValueError, match="the model has 7 classes, but the data have 3"):
        getattr(module, step)((IMAGES, LABELS), 0)


def test_training_learns_digits(data):
    torch.manual_seed(0)
    trainer = {**QUIET, "limit_val_batches": 1}
    run = image_evaluator(
        data, total_steps=40, batch_size=64, learning_rate=0.1, trainer_kwargs=trainer
    )
    run.evaluate(model(10))
    metrics = run.trainer.callback_metrics
    assert set(metrics) == {"train_loss", "val_loss", "val_acc"}
    assert metrics["val_acc"] > 0.7


def test_children_are_scored_on_held_out_images_with_statistics_of_training_images(data):
    torch.manual_seed(0)
    net = space()
    evaluator = image_search_evaluator(data, batch_size=32, trainer_kwargs={"devices": 1})
    child = dict.fromkeys(net.simplify(), "mb3_3x3")
    assert "zero" in net.simplify()["block_2"].values
    [loss] = ChildEvaluator(net, evaluator, n_batches=2)([child])

    alone = net.freeze(child)
    for norm in (m for m in alone.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.reset_running_stats()
        norm.momentum = None  # plain averages
    torch.manual_seed(0)
    with torch.no_grad():
        for images, _ in islice(evaluator.train_dataloaders, 4):
            alone.train()(images)
        held_out, labels = data.validation.__getitems__(range(64))
        expected = nn.functional.cross_entropy(alone.eval()(held_out), labels).item()
    assert loss == pytest.approx(expected, rel=1e-4)


def test_stopped_run_resumes_with_the_same_images(data, tmp_path):
    def fit(watch, **fit_kwargs):
        torch.manual_seed(1)
        trainer = {**QUIET, "max_steps": -1, "max_epochs": 2, "limit_train_batches": 4,
                   "limit_val_batches": 1, "callbacks": [watch]}  # fmt: skip
        run = image_evaluator(
            data, total_steps=8, batch_size=16, learning_rate=0.05, trainer_kwargs=trainer
        )
        run.fit_kwargs = fit_kwargs
        strategy = MagicAT(
            seed=1, validation_children=2, validation_batches=1, align_every=2, warmup_epochs=0,
            anchor_candidates=2, anchor_interval=3,
        )  # fmt: skip
        strategy(RawFormatModelSpace.from_model(space(), run), SequentialExecutionEngine())

    whole, stopped, resumed = Watch(), Watch(6, tmp_path / "x.ckpt"), Watch()
    fit(whole)
    with pytest.raises(Stop):
        fit(stopped)
    fit(resumed, ckpt_path=str(tmp_path / "x.ckpt"), weights_only=True)
    assert stopped.steps == whole.steps[:6]
    assert resumed.steps == whole.steps[6:]


@pytest.mark.parametrize("label", [-100, 10])
def test_label_outside_of_the_classes_is_named(label):
    module = ImageClassification(n_classes=10, total_steps=1)
    batch = torch.zeros(2, 1, 8, 8), torch.tensor([0, label])
    with pytest.raises(ValueError, match=f"labels hold {label}; accepted are 0 to 9"):
        module.on_before_batch_transfer(batch, 0)
