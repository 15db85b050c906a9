"""Two processes train one supernet with every other method: all ranks take the same children."""

import pytest
import torch
from ranks import launch
from torch.utils._pytree import tree_map_only
from training import OTHERS

pytestmark = pytest.mark.slow
EPOCHS, BATCHES = 2, 3

SCRIPT = """
import sys
from pathlib import Path

import nni_bootstrap
import torch

torch.set_num_threads(1)

import pytorch_lightning as pl
from nni.nas.evaluator.pytorch import Classification, DataLoader
from pytorch_lightning.utilities import rank_zero_only

from spaces import ConvSpace
from training import OTHERS, QUIET, images, make, train

RANK = rank_zero_only.rank


class Record(pl.Callback):
    def __init__(self):
        self.turns = []

    def on_train_batch_end(self, trainer, module, *args):
        self.turns.append([turn.child for turn in module.turns])


result = {}
for name in OTHERS:
    torch.manual_seed(5)
    evaluator = Classification(
        num_classes=10, learning_rate=0.01, max_epochs=2, callbacks=[record := Record()],
        train_dataloaders=DataLoader(images(48), batch_size=8, shuffle=True),
        val_dataloaders=DataLoader(images(20), batch_size=4),
        devices=2, strategy="ddp_find_unused_parameters_true", **QUIET,
    )
    strategy = make(name, seed=3 + RANK)
    train(strategy, ConvSpace(), evaluator, seed=RANK)
    module = strategy.oneshot_module
    result[name] = {
        "seed": module.seed, "turns": record.turns, "panel": module.validation.panel,
        "best": module.best_children(), "sampler": module.sampler.state_dict(),
        "weights": strategy.supernet.state_dict(),
    }
torch.save(result, Path(sys.argv[1]) / f"rank_{RANK}.pt")
"""


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What both ranks recorded."""
    return launch(SCRIPT, tmp_path_factory.mktemp("ddp_of_others"))


def plain(state):
    return tree_map_only(torch.Tensor, torch.Tensor.tolist, state)


@pytest.mark.parametrize("name", OTHERS)
def test_ranks_train_the_same_children_to_the_same_weights(ranks, name):
    first, second = (rank[name] for rank in ranks)
    assert first["seed"] == second["seed"] == 3
    assert len(first["turns"]) == EPOCHS * BATCHES
    assert first["turns"] == second["turns"]
    assert len({str(turns) for turns in first["turns"]}) > 1
    assert first["panel"] == second["panel"] and first["best"] == second["best"]
    assert plain(first["sampler"]) == plain(second["sampler"])
    learned = [key for key in first["weights"] if "running_" not in key]  # BatchNorm's, by design
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in learned)
