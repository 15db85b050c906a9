"""The settings of a plan that a result depends on; see :mod:`nni_magic.support.made_with`.

So a study never takes a result of another plan for its own, even in the same folder.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from nni.mutable import Sample

from experiments.studies.plan import Plan

__all__ = ["child_settings", "supernet_settings", "zero_cost_settings"]


def child_settings(plan: Plan, sample: Sample) -> dict[str, Any]:
    """What the ground truth of a child depends on, besides the seed."""
    return {**_shared(plan), "children": {"steps": plan.children.steps}, "sample": sample}


def zero_cost_settings(plan: Plan) -> dict[str, Any]:
    """What the scores of all children before their training depend on, besides the seed."""
    return {**_shared(plan), "children": {"seed": plan.children.seed}}


def supernet_settings(plan: Plan, name: str) -> dict[str, Any]:
    """What supernets and their scores depend on, besides the seed."""
    supernets = dataclasses.asdict(plan.supernets[name])
    trained = ("strategy", "options", "steps", "learning_rate", "decay")
    return {
        **zero_cost_settings(plan),
        "epoch_steps": plan.epoch_steps,
        "supernets": {key: supernets[key] for key in trained},
    }


def _shared(plan: Plan) -> dict[str, Any]:
    whole = dataclasses.asdict(plan)
    return {key: whole[key] for key in ("domain", "options", "space", "training", "score_rows")}
