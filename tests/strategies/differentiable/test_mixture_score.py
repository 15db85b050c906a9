"""The score of a mixture in the midst of its training."""

import pytest
import torch
from mixtures import Losses, make
from spaces import ConvSpace
from torch.nn import functional as F
from training import classification, train

torch.set_num_threads(1)


class Scores(Losses):
    """Scores before one step, and computes the same by hand."""

    def __init__(self, strategy):
        super().__init__()
        self.strategy = strategy

    def on_train_batch_end(self, trainer, module, *args):
        if trainer.global_step != 3:
            return
        before = {name: value.clone() for name, value in module.state_dict().items()}
        state = torch.get_rng_state()
        self.score = self.strategy._scorer_in_training.score()
        assert torch.equal(torch.get_rng_state(), state)
        after = module.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        self.expected = self.by_hand(self.strategy.mixture, trainer)

    @staticmethod
    @torch.no_grad()
    def by_hand(mixture, trainer):
        # Without BatchNorm and dropout nothing but the weights and the data tells the loss.
        losses, rows = 0.0, 0
        for n, (x, y) in enumerate(trainer.val_dataloaders):
            if n < 2:
                losses += float(F.cross_entropy(mixture(x), y, reduction="sum"))
                rows += len(y)
        return losses / rows


class Plain(ConvSpace):
    def __init__(self):
        super().__init__(1, dropout=0.0)
        for name in ("conv1", "conv3", "drop"):
            self.blocks[0][name] = torch.nn.Conv2d(4, 4, 3, padding=1)


@pytest.mark.parametrize("bilevel", [True, False])
def test_score_is_the_validation_loss_of_the_mixture_and_leaves_no_trace(bilevel):
    strategy = make("darts_pt", bilevel=bilevel)
    watch = Scores(strategy)
    train(strategy, Plain(), classification(watch))
    assert watch.score == pytest.approx(watch.expected, rel=1e-5)
