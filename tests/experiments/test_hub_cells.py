"""What is tried on NNI's hub notices what is wrong."""

import pytest
import torch
from nni.nas.hub import pytorch as hub
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import nn

from experiments.hub_cells import COLUMNS, SPACES, STOCK, WrongValueError
from nni_magic.scoring.scorer import Scorer
from nni_magic.search import ProgressiveShrinking
from nni_magic.strategies import MagicA

torch.set_num_threads(1)


class Small(ModelSpace):
    """``(batch, 3, 32, 32)`` to ``(batch, 10)``."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(
            *(LayerChoice([nn.Conv2d(3, 3, k) for k in (1, 3, 5)], label=f"b{n}") for n in range(4))
        )
        self.head = nn.Linear(3, 10)

    def forward(self, x):
        return self.head(self.blocks(x).relu().mean((2, 3)))


@pytest.mark.parametrize("column", [STOCK, "spos", "magic_t", "evaluate", "evolve", "shrink"])
def test_what_works_is_silent(column):
    COLUMNS[column](Small)


def test_spaces_are_those_of_the_hub():
    public = [thing for thing in vars(hub).values() if isinstance(thing, type)]
    spaces = {thing.__name__ for thing in public if issubclass(thing, ModelSpace)}
    assert {name.partition(",")[0] for name in SPACES} == spaces - {"NDS"}


def test_score_of_another_child_is_noticed(monkeypatch):
    reduce = Scorer.reduce
    monkeypatch.setattr(Scorer, "reduce", lambda *args: [1.01 * v for v in reduce(*args)])
    with pytest.raises(
        WrongValueError, match=r"the score is [\d.]+, the stand-alone child's [\d.]+"
    ):
        COLUMNS["evaluate"](Small)
    with pytest.raises(WrongValueError, match="the score is"):
        COLUMNS["evolve"](Small)


def test_child_with_other_weights_is_noticed(monkeypatch):
    def random_weights(scorer, sample):
        return Small().freeze(sample)

    monkeypatch.setattr(Scorer, "child", random_weights)
    with pytest.raises(WrongValueError, match="the score is"):
        COLUMNS["evaluate"](Small)


def test_missing_alignment_is_noticed(monkeypatch):
    monkeypatch.setattr(MagicA, "make_terms", lambda self: ())
    with pytest.raises(WrongValueError, match="no alignment loss was logged"):
        COLUMNS["magic_a"](Small)


def test_space_that_is_not_shrunk_is_noticed(monkeypatch):
    from experiments import hub_cells

    class Nothing(ProgressiveShrinking):
        def shrink(self, module, epochs):
            pass

    monkeypatch.setattr(hub_cells, "ProgressiveShrinking", Nothing)
    with pytest.raises(WrongValueError, match="more than one child is left"):
        COLUMNS["shrink"](Small)
