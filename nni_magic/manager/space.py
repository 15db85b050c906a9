"""The children of a supernet as a search space for any of NNI's tuners.

``nni-magic search-space`` prints it. In an experiment's YAML, ``searchSpaceFile:
search_space.json``; the trial's parameters are then a sample, which a trial scores with
:class:`nni_magic.search.ChildEvaluator` on the same checkpoint. Candidates that progressive
shrinking has deleted are left out. Choices are as JSON knows them, a tuple as a list, and whatever
is given the sample finds the space's own (:func:`nni_magic.children.json_samples.in_space`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..children.json_samples import json_form
from ..supernet.checkpoint import CHECKPOINT_KEY

__all__ = ["search_space"]


def search_space(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """NNI's search space of the children of a supernet.

    Parameters
    ----------
    checkpoint
        From :func:`nni_magic.supernet.checkpoint.read_checkpoint`.

    Returns
    -------
    dict
        Label to ``{"_type": "choice", "_value": [...]}``.

    Examples
    --------
    >>> search_space({"nni_magic": {"sampler": {"candidates": {"kernel": [(3, 3), (5, 5)]}}}})
    {'kernel': {'_type': 'choice', '_value': [[3, 3], [5, 5]]}}
    """
    candidates = checkpoint[CHECKPOINT_KEY]["sampler"]["candidates"]
    return {
        label: {"_type": "choice", "_value": json_form(choices)}
        for label, choices in candidates.items()
    }
