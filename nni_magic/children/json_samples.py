"""Samples that went through JSON, as ``child.json``, a tuner's parameters or a YAML file hold them.

JSON knows neither tuples nor whole-numbered keys, writes ``1.0`` as ``1`` where JavaScript does it,
and knows no classes. So a choice that comes from there is often not equal to the space's own, and
NNI would refuse it. Wherever a sample enters, :func:`in_space` gives it the space's own choices.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nni.mutable import Sample

from ..support.errors import among
from .samples import Candidates, check_sample, plain

__all__ = ["in_space", "json_form"]


def json_form(value: Any) -> Any:
    """Give what is read back once a choice or a sample was written as JSON.

    Values that JSON does not know are written in their printed form.

    Examples
    --------
    >>> json_form({"kernel": (3, 5), "act": {0: None}})
    {'kernel': [3, 5], 'act': {'0': None}}
    """
    return json.loads(json.dumps(value, default=plain))


def in_space(sample: Sample, candidates: Candidates) -> Sample:
    """Give a sample the space's own choices in place of equal ones.

    Choices are equal if Python or JSON says so: a list is equal to the tuple of the same values,
    1 to 1.0, and a number of numpy to Python's.

    Parameters
    ----------
    sample
        A sample of the space, as it was drawn or as JSON gives it back; it is not changed.
    candidates
        What each label may take.

    Returns
    -------
    dict
        A new sample, with the labels in the same order.

    Raises
    ------
    TypeError
        If the sample is no dict.
    ValueError
        As :func:`~nni_magic.children.samples.check_sample`.

    Examples
    --------
    >>> in_space({"kernel": [3, 5]}, {"kernel": [(3, 3), (3, 5)]})
    {'kernel': (3, 5)}
    >>> in_space({"kernel": [5, 5]}, {"kernel": [(3, 3), (3, 5)]})
    Traceback (most recent call last):
    ValueError: the sample's 'kernel' is [5, 5]; accepted are [(3, 3), (3, 5)]
    """
    if not isinstance(sample, Mapping):
        raise TypeError(f"the sample is {sample!r}; accepted are dicts of a choice for every label")
    own = {label: _own(choice, candidates.get(label, ())) for label, choice in sample.items()}
    check_sample(own, candidates)
    return own


def _own(choice: Any, choices: Sequence[Any]) -> Any:
    """Give the one of a space's choices that a choice is equal to; itself if it is to none."""
    if among(choice, choices):
        return choices[choices.index(choice)]
    form = json_form(choice)
    return next((known for known in choices if json_form(known) == form), choice)
