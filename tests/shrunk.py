"""Strategies that shrink a small space while they train."""

import functools

import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, Trainer
from scores import Images, images
from spaces import ConvSpace
from training import (
    ALIGNING,
    QUIET,
    Watch,
    make,
    train,
)

from nni_magic.search import ProgressiveShrinking

STEPS, EPOCHS = 3, 3  # two blocks of four candidates need 6 deletions


def lightning(watch, epochs=EPOCHS, module=None, shuffle=True, **trainer):
    callbacks = [watch, *trainer.pop("callbacks", [])]
    return Lightning(
        module or Images(),
        Trainer(max_epochs=epochs, callbacks=callbacks, **{**QUIET, **trainer}),
        train_dataloaders=DataLoader(images(24), batch_size=8, shuffle=shuffle),
        val_dataloaders=DataLoader(images(12), batch_size=6),
    )


def run(name, watch=None, checkpoint=None, *, space=lambda: ConvSpace(2), evaluator=lightning,
        n_drop=2, evaluations=6, settings=None, **trainer):  # fmt: skip
    watch = watch or Watch()
    torch.manual_seed(11)
    shrinking = ProgressiveShrinking(n_drop=n_drop, evaluations=evaluations)
    short = {"align_every": 1} if name in ALIGNING else {}  # the space has two blocks
    strategy = make(name, shrinking=shrinking, **short, **(settings or {}))
    train(strategy, space(), evaluator(watch, **trainer), checkpoint)
    return strategy, watch, shrinking


@functools.cache
def whole_run(name, epochs=EPOCHS):
    return run(name, epochs=epochs)
