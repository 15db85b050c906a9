"""The settings that a result depends on: written into its file, and checked when it is read.

A result file has them under ``made_with``. A study thus never takes a result of another plan for
its own, though both were given the same folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nni_magic.files import read_json

# isort: split
from nni.mutable import Sample

from experiments.studies.plan import Plan

__all__ = ["child_settings", "read_result", "supernet_settings"]


def child_settings(plan: Plan, sample: Sample) -> dict[str, Any]:
    """What the ground truth of a child depends on, besides the seed."""
    return {**_shared(plan), "children": {"steps": plan.children.steps}, "sample": sample}


def supernet_settings(plan: Plan, name: str) -> dict[str, Any]:
    """What supernets and their scores depend on, besides the seed."""
    supernets = dataclasses.asdict(plan.supernets[name])
    trained = ("strategy", "options", "steps", "learning_rate", "decay")
    return {
        **_shared(plan),
        "children": {"seed": plan.children.seed},
        "epoch_steps": plan.epoch_steps,
        "supernets": {key: supernets[key] for key in trained},
    }


def _shared(plan: Plan) -> dict[str, Any]:
    whole = dataclasses.asdict(plan)
    return {key: whole[key] for key in ("domain", "options", "space", "training", "score_rows")}


def read_result(path: Path, made_with: Mapping[str, Any]) -> Any:
    """Read the file of a result; ``None`` if it is not there.

    Parameters
    ----------
    path
        The file.
    made_with
        The settings that it must have been made with.

    Raises
    ------
    ValueError
        If it does not record its settings, or records others.
    """
    if (found := read_json(path)) is None:
        return None
    if "made_with" not in found:
        raise ValueError(f"{str(path)!r} does not record the settings that it was made with")
    theirs, ours = _flat(found["made_with"]), _flat(json.loads(json.dumps(made_with)))
    for name in ours | theirs:
        if theirs.get(name) != ours.get(name):
            raise ValueError(
                f"{str(path)!r} was made with other settings: {name} is {theirs.get(name)!r} "
                f"there, and {ours.get(name)!r} here"
            )
    return found


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested settings one name each.

    >>> _flat({"space": {"hidden": 8, "n_layers": 4}, "domain": "bert"})
    {'space.hidden': 8, 'space.n_layers': 4, 'domain': 'bert'}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        whole = prefix + name
        flat |= _flat(value, f"{whole}.") if isinstance(value, Mapping) else {whole: value}
    return flat
