"""Every method trains on the tasks that come along, by its name alone, or is refused by name."""

import pytest
from reading import domain_of, settings_of

from nni_magic.programs import train
from nni_magic.strategies.registry import METHODS

SMALL = (
    "--preset tiny --epoch-steps 2 --batch-size 8 --warmup-steps 1 --validation-batches 1 "
    "--search-children 2 --population 2 --threads 1"
)
MORE = {"darts_pt": "--tune-epochs 1", "prenas": "--scored-children 20"}
EPOCHS = {"darts_pt": 9}  # an epoch a block, and one before
REFUSED = {
    ("proxyless", "fairnas"): "filter is .*; accepted is None, as FairNAS trains every candidate",
    ("bert", "pada"): "accepted are outputs with a row for each, by .*, or data_importance as fal",
    ("bert", "pc_darts"): "is a Linear; accepted with partial channels are convolutions",
    ("proxyless", "pc_darts"): "gives 16 channels of 8; accepted with partial channels are operat",
    ("proxyless", "darts_pt"): "filter is .*; accepted is None, as DartsPT chooses block by block",
}


def quick(name):
    """The others are in the contract suite, with evaluators of its own, and are slow here."""
    marks = () if METHODS[name].differentiable or name == "pada" else pytest.mark.slow
    return pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", map(quick, METHODS))
@pytest.mark.parametrize("task", ["bert", "proxyless"])
def test_method_trains_and_finds_a_child(task, name, corpus, trial, tmp_path):
    epochs = EPOCHS.get(name, 1)
    words = f"--strategy {name} {SMALL} {MORE.get(name, '')} --epochs {epochs} "
    words += f"--output {tmp_path / 'out'}"
    if task == "bert":
        words += f" --corpus {corpus} --cache {corpus / 'cache'}"
    chosen = settings_of("train", task, words)
    if message := REFUSED.get((task, name)):
        with pytest.raises(ValueError, match=message):
            train.run(domain_of(chosen), chosen, trial)
        return
    results = train.run(domain_of(chosen), chosen, trial)
    assert results["steps"] == 2 * epochs
    assert results["best_child"]["sample"]
