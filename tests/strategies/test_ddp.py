"""Two processes train one supernet: gloo on the CPU, ranks started by Lightning itself."""

import pytest
import torch
from ranks import launch
from spaces import ConvSpace

from nni_magic.samplers import GradualSampler, UniformSampler

EPOCHS, BATCHES, IMAGES = 2, 3, 48
RUNS = ("magic_t", "magic_at", "drawn", "shrunk", "twins")

# Rank 1 runs the whole script too. Its strategies have seeds of their own, which must not count.
SCRIPT = """
import sys
from pathlib import Path

import nni_bootstrap
import torch

torch.set_num_threads(1)

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Classification, DataLoader
from pytorch_lightning.utilities import rank_zero_only
from torch.utils.data import TensorDataset

from nni_magic.search import ProgressiveShrinking
from spaces import ConvSpace
from training import QUIET, anchor_of, images, make, train

ALIGNED = {{"warmup_epochs": 0, "anchor_interval": 1, "anchor_candidates": 3}}
RANK = rank_zero_only.rank


class Record(pl.Callback):
    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        anchor = anchor_of(module) if "AT" in module.method else None
        self.steps.append({{
            "child": module.child,
            "turns": [turn.child for turn in module.turns],
            "rows": [row_of[float(image.sum())] for image in batch[0]],
            "anchor": anchor and (anchor.sample, anchor.last_score, anchor.replacements),
        }})


def evaluator(record, distributed, **more):
    return Classification(
        num_classes=10, learning_rate=0.01, max_epochs={epochs}, callbacks=[record],
        train_dataloaders=DataLoader(data, batch_size=8, shuffle=True),
        val_dataloaders=DataLoader(images(20), batch_size=4),
        devices=2, strategy=distributed, **QUIET, **more,
    )


data = images({images})
row_of = {{float(image.sum()): row for row, (image, _) in enumerate(data)}}
assert len(row_of) == {images}
try:
    train(make("magic_t"), ConvSpace(), evaluator(Record(), "ddp"))
    refusal = "trained"
except ValueError as error:
    refusal = str(error)

unused = "ddp_find_unused_parameters_true"
try:
    train(make("spos"), ConvSpace(), evaluator(Record(), unused, sync_batchnorm=True))
    synchronised = "trained"
except ValueError as error:
    synchronised = str(error)

shrinking = ProgressiveShrinking(n_drop=6, evaluations=12)
result = {{"refusal": refusal, "synchronised": synchronised, "rank": RANK}}
for run, strategy in {{
    "magic_t": make("magic_t", seed=3 + RANK),
    "magic_at": make("magic_at", seed=3 + RANK, **ALIGNED),
    "drawn": make("magic_at", seed=None, **ALIGNED),
    "shrunk": make("magic_at", seed=3 + RANK, shrinking=shrinking, **ALIGNED),
    "twins": make("twins", seed=3 + RANK),
}}.items():
    record = Record()
    torch.manual_seed(5)
    own_seed = strategy.seed
    train(strategy, ConvSpace(), evaluator(record, unused), seed=RANK)
    module = strategy.oneshot_module
    result[run] = {{
        "own_seed": own_seed,
        "seed": module.seed,
        "steps": record.steps,
        "panel": module.validation.panel,
        "best": module.best_children(),
        "exported": module.export(),
        "weights": strategy.supernet.state_dict(),
    }}
result["history"] = shrinking.history
torch.save(result, Path(sys.argv[1]) / f"rank_{{RANK}}.pt")
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks recorded."""
    script = SCRIPT.format(epochs=EPOCHS, images=IMAGES)
    return launch(script, tmp_path_factory.mktemp("ddp"))


every_run = pytest.mark.parametrize("run", RUNS)


def of_steps(rank, run, name):
    return [step[name] for step in rank[run]["steps"]]


def test_two_processes_have_trained(ranks):
    assert [rank["rank"] for rank in ranks] == [0, 1]
    for run in RUNS:
        assert [len(rank[run]["steps"]) for rank in ranks] == [EPOCHS * BATCHES] * 2


@every_run
def test_seed_of_the_first_rank_wins(ranks, run):
    first, second = (rank[run] for rank in ranks)
    assert first["own_seed"] != second["own_seed"]
    assert first["seed"] == second["seed"] == first["own_seed"]
    assert first["panel"] == second["panel"]


@every_run
def test_ranks_take_the_same_children(ranks, run):
    first, second = (of_steps(rank, run, "child") for rank in ranks)
    assert first == second
    assert len({str(child) for child in first}) > 1


def test_children_are_those_of_the_first_ranks_seed(ranks):
    def walk(seed):
        sampler = GradualSampler(ConvSpace(), seed=seed)
        return [sampler.next() for _ in range(EPOCHS * BATCHES)]

    for rank in ranks:
        assert of_steps(rank, "magic_t", "child") == walk(3)
        assert of_steps(rank, "magic_t", "child") != walk(4)


def test_ranks_take_the_same_children_in_every_turn(ranks):
    sampler = UniformSampler(ConvSpace(), seed=3)
    expected = [[sampler.next(), sampler.next()] for _ in range(EPOCHS * BATCHES)]
    for rank in ranks:
        assert of_steps(rank, "twins", "turns") == expected
    assert all(len(turns) == 1 for turns in of_steps(ranks[0], "magic_at", "turns"))


@pytest.mark.parametrize("run", ["magic_at", "drawn", "shrunk"])
def test_ranks_have_the_same_anchor_and_scores(ranks, run):
    first, second = (of_steps(rank, run, "anchor") for rank in ranks)
    assert first == second
    assert all(sample is not None for sample, _, _ in first)
    assert len({score for _, score, _ in first}) > 1


@every_run
def test_ranks_know_the_same_best_children(ranks, run):
    first, second = (rank[run] for rank in ranks)
    assert first["best"] == second["best"]
    assert first["exported"] == second["exported"] == first["best"][0][0]
    assert len(first["best"]) >= (1 if run == "shrunk" else 3)


@every_run
def test_ranks_end_with_the_same_weights(ranks, run):
    first, second = (rank[run]["weights"] for rank in ranks)
    assert first.keys() == second.keys()
    learned = [name for name in first if "running_" not in name]  # BatchNorm's own, by design
    assert len(learned) > 20
    assert all(torch.equal(first[name], second[name]) for name in learned)


def test_ranks_shrink_the_space_alike_to_one_child(ranks):
    first, second = (rank["history"] for rank in ranks)
    assert first == second
    assert [len(record["dropped"]) for record in first] == [6, 6]
    left = ranks[0]["shrunk"]["exported"]
    dropped = [pair for record in first for pair in record["dropped"]]
    assert set(dropped).isdisjoint(left.items())


def test_runs_end_with_different_weights(ranks):
    weights = [ranks[0][run]["weights"]["head.weight"] for run in RUNS]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@every_run
def test_every_rank_trains_on_its_own_share_of_the_data(ranks, run):
    for epoch in range(EPOCHS):
        part = slice(epoch * BATCHES, (epoch + 1) * BATCHES)
        batches = [of_steps(rank, run, "rows")[part] for rank in ranks]
        shares = [{row for batch in share for row in batch} for share in batches]
        assert shares[0].isdisjoint(shares[1])
        assert shares[0] | shares[1] == set(range(IMAGES))


@every_run
def test_epochs_shuffle_the_data_anew(ranks, run):
    rows = of_steps(ranks[0], run, "rows")
    assert rows[:BATCHES] != rows[BATCHES:]


def test_ddp_without_unused_parameters_is_refused(ranks):
    for rank in ranks:
        assert rank["refusal"].endswith("pass strategy='ddp_find_unused_parameters_true'")


def test_sync_batchnorm_goes_as_far_as_torch_lets_it_without_a_gpu(ranks):
    """The rest is in ``test_batchnorm``, in one process, where it needs no GPU."""
    for rank in ranks:
        assert rank["synchronised"].startswith("SyncBatchNorm layers only work with GPU modules")
