"""Projects that are not ours under the strategies that train a mixture: trained, or refused."""

import math

import pytest
import torch
from foreign import data, modules
from foreign.plain import Seeded, Watch, evaluator, new_space
from foreign.rows import ROWS, Row
from training import train

from nni_magic.strategies.registry import METHODS

torch.set_num_threads(1)

BY_HAND = "automatic_optimization of .* is False; accepted is True"
COMBINED = "data are a CombinedLoader; accepted are loaders as they are"
SEVERAL = "validation data are 2 loaders, in a .*; accepted are one, as many as there are for"
REFUSED = {
    "by_hand": BY_HAND, "two_optimizers": BY_HAND, "holds_data": "dataloader",
    "widths": r"kernel_size of 'flat' is chosen of \[\(1, 1\), .*; accepted in a mixture are whole",
}  # fmt: skip
BILEVEL = {
    "list_of_loaders": SEVERAL, "dict_held_out": SEVERAL,
    "named_loaders": COMBINED, "joined_loaders": COMBINED, "shortest_loader": COMBINED,
    "data_module": "on_after_batch_transfer is of Numbers, which Lightning gives the training ba",
    "dict_of_loaders": "training_step of SemiSupervised fails on a batch of the validation data",
}  # fmt: skip
GATES = {
    name: "accepted by Proxyless are a LayerChoice, and an InputChoice of one input"
    for name in ("deep", "cells", "wired", "widths")
}
OF_METHODS = {
    "gaea": REFUSED | BILEVEL, "drop_nas": REFUSED, "proxyless_nas": REFUSED | BILEVEL | GATES,
}  # fmt: skip


def swap(row, name, watch):
    """Swap a strategy in, as the user does."""
    made = evaluator(row, Seeded(), watch)
    own = {k: v for k, v in row.settings.items() if k != "validation_children"}
    strategy = METHODS[name].load()(seed=0, metric=row.metric, mode=row.mode, **own)
    return train(strategy, new_space(row), made), made


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("name", OF_METHODS)
def test_mixture_trains_and_gives_a_child_or_is_refused_before_the_first_step(row, name):
    watch = Watch()
    if message := OF_METHODS[name].get(str(row)):
        with pytest.raises(ValueError, match=message):
            swap(row, name, watch)
        assert watch.losses == []
        return
    strategy, made = swap(row, name, watch)
    losses = [loss for loss in watch.losses if not math.isnan(loss)]  # of batches that are skipped
    assert len(watch.losses) > 0 and len(losses) >= len(watch.losses) // 2
    if made.module.__class__.validation_step is not modules.OnlyTrains.validation_step:
        [model] = strategy.list_models()
        assert math.isfinite(model.metric)


def test_several_loaders_train_where_both_data_have_the_same():
    def both():
        one = data.loaders()
        held_out = one["val_dataloaders"]
        return {"train_dataloaders": [one["train_dataloaders"]] * 2,
                "val_dataloaders": [held_out] * 2}  # fmt: skip

    class Pair(modules.Plain):
        def training_step(self, batch, batch_idx):
            first, second = batch
            return self.loss(first) + self.loss(second)

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log("val_loss", self.loss(batch))

    watch, metric = Watch(), "val_loss/dataloader_idx_1"
    swap(Row("pair", "", module=Pair, data=both, metric=metric), "gaea", watch)
    assert len(watch.losses) > 0


def test_a_single_held_out_loader_in_a_list_is_the_loader():
    def listed():
        one = data.loaders()
        return {**one, "val_dataloaders": [one["val_dataloaders"]]}

    watches = Watch(), Watch()
    swap(Row("listed", "", data=listed), "gaea", watches[0])
    swap(Row("alone", ""), "gaea", watches[1])
    assert watches[0].losses == watches[1].losses
