"""A method of two turns a step, to test what no method of the package does yet."""

from torch import nn

from nni_magic.losses.term import LossTerm
from nni_magic.samplers import UniformSampler
from nni_magic.strategies.base import SupernetStrategy
from nni_magic.supernet.step import Turn


class TwinSampler(UniformSampler):
    """Two uniform children a step; the second one's loss counts half."""

    def turns(self, probe):
        return [Turn(self.next()), Turn(self.next(), weight=0.5)]


class Agreement(LossTerm):
    """How far the second child's outputs are from the first one's, which stand still."""

    name = "agreement"
    weight = 0.3

    def __call__(self, step, turn):
        if len(step.calls) < 2:
            return None
        teacher, student = (calls[0].output for calls in step.calls)
        return nn.functional.mse_loss(student.float(), teacher.float().detach())


class Twins(SupernetStrategy):
    """Trains both on the sum of their losses."""

    def make_sampler(self, space):
        return TwinSampler(space, seed=self.seed, filter=self.filter)

    def make_terms(self):
        return [Agreement()]


class TwinsByTurn(Twins):
    """Goes back through one turn after the other."""

    turn_by_turn = True
