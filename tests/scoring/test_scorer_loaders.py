"""Children scored and calibrated on several loaders, beside Lightning's own validation of them."""

import copy
from itertools import islice

import pytest
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from pytorch_lightning.utilities import CombinedLoader
from spaces import ChainSpace, ConvSpace
from torch import nn
from torch.utils.data import TensorDataset
from torchmetrics.classification import MulticlassAccuracy
from training import QUIET, make, train

from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator
from nni_magic.supernet.connection import as_supernet
from nni_magic.supernet.resume import isolated_randomness, seed_generators

torch.set_num_threads(1)
MODES = ("min_size", "max_size", "max_size_cycle", "sequential")


def data(n, seed):
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 10)


def loaders(shuffle=False):
    return {
        "a": DataLoader(data(20, 1), 8, shuffle=shuffle),
        "b": DataLoader(data(38, 2), 8, shuffle=shuffle),
    }  # fmt: skip


def pairs(batch):
    """Images and labels in a batch of one loader, or in batches of several."""
    if isinstance(batch, dict):
        batch = list(batch.values())
    if not isinstance(batch[0], torch.Tensor):
        kept = [one for one in batch if one is not None]
        return [torch.cat(tensors) for tensors in zip(*kept, strict=True)]
    return batch


class Guest(LightningModule):
    """Learns from any group of loaders, and logs what Lightning names by the loader."""

    def __init__(self):
        super().__init__()
        self.shared = MulticlassAccuracy(10, average="micro")
        self.own = nn.ModuleList(MulticlassAccuracy(10, average="micro") for _ in range(2))

    def training_step(self, batch, batch_idx):
        images, labels = pairs(batch)
        return nn.functional.cross_entropy(self.model(images), labels)

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        images, labels = pairs(batch)
        logits = self.model(images)
        loss = nn.functional.cross_entropy(logits, labels)
        self.shared.update(logits, labels)
        self.own[dataloader_idx].update(logits, labels)
        self.log("val_loss", loss, batch_size=len(labels))
        self.log("shared", self.shared, on_epoch=True)
        self.log("own", self.own[dataloader_idx], on_epoch=True)
        name = f"named_{dataloader_idx}"
        self.log(name, loss, batch_size=len(labels), add_dataloader_idx=False)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


def validated(child, validation):
    """What Lightning alone gives for a stand-alone child."""
    module = Guest()
    module.set_model(child)
    found = Trainer(**QUIET).validate(module, validation, verbose=False)
    return {name: value for part in found for name, value in part.items()}


def trained(validation, name="spos", **settings):
    trainer = Trainer(max_epochs=2, num_sanity_val_steps=0, **QUIET)
    data = {"train_dataloaders": loaders(True), "val_dataloaders": validation}
    lightning = Lightning(Guest(), trainer, **data)
    strategy = make(name, **{"validation_batches": 100, **settings})
    return train(strategy, ConvSpace(), lightning).oneshot_module, lightning


@pytest.mark.parametrize(
    "metric",
    ["val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1", "shared/dataloader_idx_0",
     "shared/dataloader_idx_1", "own/dataloader_idx_0", "own/dataloader_idx_1", "named_1"],
)  # fmt: skip
def test_score_of_one_loader_is_what_lightning_logs_under_its_name(metric):
    module, guest = trained(list(loaders().values()), metric=metric, mode="min")
    sample = module.sampler.next()
    child = module.scorer.child(sample)
    expected = validated(child, list(loaders().values()))[metric]
    assert module.scorer(sample) == pytest.approx(expected, rel=1e-6)
    supernet = module.training_module.model
    evaluate = ChildEvaluator(
        supernet, guest, metric=metric, mode="min", n_batches=100, calibration_batches=1
    )
    assert evaluate([sample]) == pytest.approx([expected], rel=1e-6)


@pytest.mark.parametrize("name", ["spos", "magic_at"])
@pytest.mark.parametrize("metric", [None, "val_loss", "shared", "own"])
def test_score_without_a_loader_is_of_all_their_rows(name, metric):
    module, _ = trained(list(loaders().values()), name, metric=metric, mode="min")
    sample = module.sampler.next()
    child = module.scorer.child(sample)
    together = DataLoader(data(20, 1) + data(38, 2), 58)
    expected = validated(child, together)[metric or "val_loss"]
    assert module.scorer(sample) == pytest.approx(expected, rel=1e-6)


def test_score_of_a_loader_that_is_not_there_names_those_that_are():
    with pytest.raises(ValueError, match=r"accepted are .*'val_loss/dataloader_idx_0'"):
        trained(list(loaders().values()), metric="val_loss/dataloader_idx_7")


@pytest.mark.parametrize("name", ["spos", "magic_at"])
@pytest.mark.parametrize("mode", MODES)
def test_score_of_combined_loaders_is_that_of_lightnings_validation(mode, name):
    module, guest = trained(CombinedLoader(loaders(), mode), name)
    samples = [module.sampler.next() for _ in range(3)]
    alone = CombinedLoader(loaders(), mode)
    found = [validated(module.scorer.child(sample), alone) for sample in samples]
    if mode == "sequential":
        expected = [
            (20 * one["val_loss/dataloader_idx_0"] + 38 * one["val_loss/dataloader_idx_1"]) / 58
            for one in found
        ]
    else:
        expected = [one["val_loss"] for one in found]
    assert [module.scorer(sample) for sample in samples] == pytest.approx(expected, rel=1e-6)
    supernet = module.training_module.model
    evaluate = ChildEvaluator(supernet, guest, n_batches=100, calibration_batches=1)
    assert evaluate(samples) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_children_of_a_chain_share_their_beginnings_on_several_loaders(mode):
    supernet = as_supernet(ChainSpace())
    guest = Lightning(
        Guest(), Trainer(**QUIET), train_dataloaders=loaders(),
        val_dataloaders=CombinedLoader(loaders(), mode),
    )  # fmt: skip
    metric = "val_loss/dataloader_idx_1" if mode == "sequential" else None
    evaluate = ChildEvaluator(supernet, guest, metric=metric, mode="min", n_batches=100)
    sampler = UniformSampler(supernet, seed=0)
    samples = [sampler.next() for _ in range(4)]
    alone = CombinedLoader(loaders(), mode)
    expected = [
        validated(evaluate.child(sample), alone)[metric or "val_loss"] for sample in samples
    ]
    assert evaluate(samples) == pytest.approx(expected, rel=1e-5)
    assert evaluate.calls == evaluate.needed_calls(samples) > 0


def test_batches_of_a_score_are_the_first_of_each_loader():
    module, _ = trained(list(loaders().values()), validation_batches=2)
    held = module.scorer.held_out()
    assert [one[1:] for one in held] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    together = trained(CombinedLoader(loaders(), "max_size"), validation_batches=2)[0]
    assert [one[1:] for one in together.scorer.held_out()] == [(0, None), (1, None)]


def test_statistics_are_taken_on_what_a_training_step_is_given():
    module, _ = trained(list(loaders().values()), calibration_batches=3)
    sample = module.sampler.next()
    child = module.scorer.child(sample)
    alone = copy.deepcopy(child).train()
    for part in alone.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the plain average
            part.reset_running_stats()
        if isinstance(part, nn.Dropout):
            part.eval()
    with isolated_randomness(), torch.no_grad():
        seed_generators(0)
        for batch, *_ in islice(CombinedLoader(loaders(True), "max_size_cycle"), 3):
            alone(pairs(batch)[0])
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(child.get_buffer(name), buffer)


def test_loader_that_is_read_once_is_refused():
    once = iter([tuple(data(8, 1).tensors)])
    with pytest.raises(ValueError, match="a loader is a list_iterator, which gives its batches"):
        trained(once)
