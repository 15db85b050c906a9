"""What a sampler may ask is what a training answers."""

import inspect

from nni_magic.samplers.probe import Probe
from nni_magic.strategies.probing import BatchProbe


def test_training_answers_all_that_a_sampler_may_ask():
    asked = {name for name in vars(Probe) if not name.startswith("_")} | {"__call__"}
    assert asked == {"progress", "saliency", "__call__"}
    for name in asked - {"progress"}:
        theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (Probe, BatchProbe))
        assert theirs == ours
    assert isinstance(BatchProbe.progress, property)
