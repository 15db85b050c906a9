"""One timed run without a strategy: a plain PyTorch loop, or Lightning alone.

What anyone would write by hand who knows which child every step trains: blocks that call the layer
whose name they were given. Weights, batches, children and the evaluator's training step, optimizer
and schedule are those of the strategies' runs, so that the losses are theirs, too.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import LayerChoice
from torch import nn

from experiments.benchmarks.timed_training import Run, Stopwatch, draw_children, quiet
from experiments.benchmarks.turns import HandOver
from experiments.benchmarks.workloads import WORKLOADS, Workload

__all__ = ["PlainChoice", "plain_supernet", "train_plainly"]


class PlainChoice(nn.Module):
    """Calls the layer whose name was assigned to ``chosen``.

    Parameters
    ----------
    layers
        By their names.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.chosen = next(iter(layers))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the chosen layer."""
        return self.layers[self.chosen](*args, **kwargs)


def plain_supernet(space: nn.Module) -> dict[str, PlainChoice]:
    """Replace all choices of a layer in a space, in place; gives the new blocks by their labels."""
    blocks: dict[str, PlainChoice] = {}
    for name, block in list(space.named_modules()):
        if isinstance(block, LayerChoice):
            plain = PlainChoice({str(each): block[each] for each in block.names})
            parent, _, last = name.rpartition(".")
            setattr(space.get_submodule(parent), last, plain)
            blocks[block.label] = plain
    return blocks


class GivenChildren(pl.Callback):
    """Sets the path of every step's child.

    Parameters
    ----------
    blocks
        Of :func:`plain_supernet`.
    children
        One a step.
    """

    def __init__(self, blocks: Mapping[str, PlainChoice], children: Sequence[Sample]) -> None:
        self.blocks = blocks
        self.children = iter(children)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        pl_module.child = next(self.children)
        for label, choice in pl_module.child.items():
            self.blocks[label].chosen = str(choice)


def train_plainly(
    workload_name: str, side: str, seed: int, settings: argparse.Namespace, hand_over: HandOver
) -> Run:
    """Train the children that SPOS draws, and time the steps, in a fresh process.

    Parameters
    ----------
    workload_name
        Of ``WORKLOADS``.
    side
        ``"loop"`` or ``"lightning"``.
    seed
        Of weights, data and children.
    settings, hand_over
        See :class:`experiments.benchmarks.timed_training.Stopwatch`.
    """
    quiet()
    torch.set_num_threads(settings.threads)
    workload = WORKLOADS[workload_name](settings)
    children = draw_children(workload, "spos", seed, settings)
    pl.seed_everything(seed, verbose=False)
    with torch.device(settings.device):
        space = workload.make_space()
    path = GivenChildren(plain_supernet(space), children)
    watch = Stopwatch(settings, hand_over)
    n_steps = settings.warmup + settings.steps
    if side == "lightning":
        evaluator: Any = workload.make_evaluator(seed, n_steps, [watch, path])
        evaluator.module.set_model(space)
        evaluator.trainer.fit(
            evaluator.module, evaluator.train_dataloaders, evaluator.val_dataloaders
        )
    else:
        _loop(workload, space, path, watch, seed, n_steps)
    return watch.run


def _loop(
    workload: Workload, space: nn.Module, path: GivenChildren, watch: Stopwatch, seed: int,
    n_steps: int,
) -> None:  # fmt: skip
    evaluator = workload.make_evaluator(seed, n_steps, [])
    module: Any = evaluator.module
    module.set_model(space.to(watch.settings.device))
    module.log = _say_nothing
    optimizer, schedule = _optimizer(module.configure_optimizers())
    module.train()
    for index, batch in enumerate(itertools.islice(_epochs(evaluator.train_dataloaders), n_steps)):
        watch.on_train_batch_start()
        path.on_train_batch_start(None, module)
        on_device = pl.LightningModule.transfer_batch_to_device(
            module, batch, torch.device(watch.settings.device), 0
        )
        optimizer.zero_grad()
        loss = module.training_step(on_device, index)
        loss.backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
        watch.on_train_batch_end(None, module, {"loss": loss.detach()})


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """In place of Lightning's log, which a loop does not have."""


def _optimizer(configured: Any) -> tuple[torch.optim.Optimizer, Any]:
    if isinstance(configured, torch.optim.Optimizer):
        return configured, None
    return configured["optimizer"], configured["lr_scheduler"]["scheduler"]


def _epochs(loader: Any) -> Iterator[Any]:
    while True:
        # As Lightning, which does not ask whether there is one more: a sampler draws then, too, and
        # the next epoch would have another order.
        yield from itertools.islice(loader, len(loader))
