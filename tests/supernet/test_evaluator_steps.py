"""Steps are called with what they take, and with a batch of their own."""

import torch

from nni_magic.supernet.evaluator_steps import call_step


class Steps:
    def alone(self, batch):
        return batch, None, None

    def numbered(self, batch, number):
        return batch, number, None

    def any(self, *args):
        return args

    def of_loader(self, batch, batch_idx, dataloader_idx):
        return batch, batch_idx, dataloader_idx

    def writing(self, batch):
        batch["x"].mul_(3)
        batch.pop("y")


def test_a_step_is_given_what_it_takes():
    steps = Steps()
    assert call_step(steps.alone, 7, 2) == (7, None, None)
    assert call_step(steps.numbered, 7, 2) == (7, 2, None)
    assert call_step(steps.any, 7, 2) == (7, 2)
    assert call_step(steps.of_loader, 7, 2, 1) == (7, 2, 1)


def test_a_step_that_writes_into_its_batch_changes_nothing():
    batch = {"x": torch.ones(2), "y": torch.zeros(2)}
    call_step(Steps().writing, batch, 0)
    assert batch.keys() == {"x", "y"}
    assert torch.equal(batch["x"], torch.ones(2))
