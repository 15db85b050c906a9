"""What is tried on NNI's hub notices what is wrong."""

import pytest
import torch
from nni.nas.hub import pytorch as hub
from nni.nas.nn.pytorch import ModelSpace

from experiments.hub_cells import COLUMNS, SPACES, WrongValueError
from nni_magic.scoring.scorer import Scorer
from nni_magic.strategies import MagicA

torch.set_num_threads(1)
small = SPACES["NasBench201"]


def test_spaces_are_those_of_the_hub():
    public = {name for name, thing in vars(hub).items() if isinstance(thing, type)}
    spaces = {name for name in public if issubclass(getattr(hub, name), ModelSpace)}
    assert set(SPACES) == spaces - {"NDS"}


def test_score_of_another_child_is_noticed(monkeypatch):
    reduce = Scorer.reduce
    monkeypatch.setattr(Scorer, "reduce", lambda *args: [1.01 * v for v in reduce(*args)])
    with pytest.raises(
        WrongValueError, match=r"the score is [\d.]+, the stand-alone child's [\d.]+"
    ):
        COLUMNS["evaluate"](small)
    with pytest.raises(WrongValueError, match="the score is"):
        COLUMNS["evolve"](small)


def test_child_with_other_weights_is_noticed(monkeypatch):
    def random_weights(scorer, sample):
        return small().freeze(sample)

    monkeypatch.setattr(Scorer, "child", random_weights)
    with pytest.raises(WrongValueError, match="the score is"):
        COLUMNS["evaluate"](small)


def test_missing_alignment_is_noticed(monkeypatch):
    monkeypatch.setattr(MagicA, "make_terms", lambda self: ())
    with pytest.raises(WrongValueError, match="no alignment loss was logged"):
        COLUMNS["magic_a"](small)


def test_space_that_is_not_shrunk_is_noticed(monkeypatch):
    from experiments import hub_cells

    class Nothing:
        def __init__(self, **settings):
            pass

        def begin(self, module):
            pass

        def shrink(self, module, epochs):
            pass

    monkeypatch.setattr(hub_cells, "ProgressiveShrinking", Nothing)
    with pytest.raises(WrongValueError, match="more than one child is left"):
        COLUMNS["shrink"](small)
