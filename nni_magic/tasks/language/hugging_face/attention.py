"""Queries, keys and values of a model: the linear maps that give them, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import nni_bootstrap  # noqa: F401
from torch import Tensor, nn

__all__ = ["AttentionMaps", "attention_maps", "last_attention", "widths"]

APART = (
    ("query", "key", "value"), ("query_proj", "key_proj", "value_proj"),
    ("q_lin", "k_lin", "v_lin"), ("q_proj", "k_proj", "v_proj"),
)  # fmt: skip
"""Names of three maps beside each other: BERT's, RoBERTa's and ELECTRA's; DeBERTa's; DistilBERT's;
those of many others."""

TOGETHER = ("qkv", "Wqkv")
"""Names of one map for all three: of this package's children; of ModernBERT."""

AttentionMaps = list[dict[str, nn.Module]]
"""For every layer with attention its three maps by name, or the one map for all three."""


def attention_maps(model: nn.Module) -> AttentionMaps:
    """Find the maps of all layers with attention, in the order of the layers."""
    modules, found = dict(model.named_modules()), []
    for name, module in modules.items():
        parent, dot, last = name.rpartition(".")
        if last in TOGETHER:
            found.append({name: module})
        for names in APART:
            paths = [f"{parent}{dot}{each}" for each in names]
            if last == names[0] and all(path in modules for path in paths):
                found.append({path: modules[path] for path in paths})
    return found


def widths(maps: AttentionMaps) -> list[int]:
    """Widths of queries, keys and values in all layers."""
    return [
        cast(nn.Linear, module).out_features // (3 if len(layer) == 1 else 1)
        for layer in maps
        for module in layer.values()
    ]


def last_attention(maps: AttentionMaps, outputs: Mapping[str, Any]) -> Sequence[Tensor]:
    """Queries, keys and values of the last layer that was run, each ``(batch, seq, width)``.

    Parameters
    ----------
    maps
        Of the model.
    outputs
        Of those maps that were run, by their names.

    Returns
    -------
    sequence of Tensor
        Empty if none was run.
    """
    for layer in reversed(maps):
        if all(name in outputs for name in layer):
            several = [outputs[name] for name in layer]
            return several if len(several) == 3 else several[0].chunk(3, dim=-1)
    return ()
