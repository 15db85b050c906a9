"""What a sampler may ask is what a training answers."""

import inspect

from nni_magic.samplers.probe import Probe
from nni_magic.strategies.probing import BatchProbe


def test_training_answers_all_that_a_sampler_may_ask():
    asked = {name for name in vars(Probe) if not name.startswith("_")} | {"__call__"}
    properties = {"progress", "epoch"}
    assert asked == {*properties, "__call__", "reward", "saliency", "gradient", "dimensions"}
    for name in asked - properties:
        theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (Probe, BatchProbe))
        assert theirs == ours
    assert all(isinstance(getattr(BatchProbe, name), property) for name in properties)
