"""The alignment term has what the settings say."""

import pytest

from nni_magic.losses.alignment import Alignment
from nni_magic.losses.targets import Target
from nni_magic.strategies.aligned import alignment
from nni_magic.strategies.settings import AlignmentSettings


class Nothing(Target):
    ready = False

    def renew(self):
        """Changes nothing."""

    def states(self, replay):
        raise NotImplementedError


@pytest.mark.parametrize("gradient", [False, True])
def test_term_takes_every_setting(gradient):
    settings = AlignmentSettings(
        alignment_weight=0.25, align_every=3, aligned_layers=[1, "head"], mask_argument="pad",
        warmup_epochs=7,
    )  # fmt: skip
    term = alignment(settings, target := Nothing(), gradient=gradient)
    assert isinstance(term, Alignment)
    assert (term.target, term.weight, term.chosen.align_every) == (target, 0.25, 3)
    assert (term.chosen.wanted, term.mask_argument) == ([1, "head"], "pad")
    assert (term.warm_start.given, term.gradient) == (7, gradient)


def test_target_goes_without_gradient_unless_asked_for():
    term = alignment(AlignmentSettings(), Nothing())
    assert term.gradient is False
    assert term.layers is None  # before a fit begins
