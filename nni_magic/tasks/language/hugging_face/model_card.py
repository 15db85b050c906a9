"""Model cards: what a child is, what it costs, where it comes from, and how it was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import nni_bootstrap  # noqa: F401
from huggingface_hub import ModelCardData

__all__ = ["model_card", "trained_card"]

_TAGS = ["nni-magic", "neural-architecture-search"]
_TASKS = {
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForQuestionAnswering": "question-answering",
}
"""Pipelines of ``transformers`` by the class that loads a model, where there is one."""

_TEXT = """\
---
{data}
---

# Child {digest}

A BERT-like language model that nni-magic found by neural architecture search. Its {n_layers}
layers are, first to last: {layers}.

| | |
|---|---|
| {metric} | {score:.4f} |
| parameters | {params:,} |
| FLOPs of one sequence of {length} tokens, as multiply-adds | {flops} |
| search strategy | {strategy} |
| seed | {seed} |

## Use

```python
import nni_magic.tasks.language.hugging_face  # pip install nni-magic[huggingface]
from transformers import pipeline

pipeline("fill-mask", model="path/to/this/folder")("A text with a {mask} in it.")
```

`AutoModelForMaskedLM`, `AutoModelForSequenceClassification`, `AutoModelForQuestionAnswering`,
`AutoModelForPreTraining` (replaced tokens) and `AutoModel` load it, for texts of up to {length}
tokens.

## Provenance

What is known of its search and training, as in `child.json`:

```json
{provenance}
```
"""


_TRAINED = """\
---
{data}
---

# A child of {n_layers} layers

A BERT-like language model of {params:,} parameters, whose layers nni-magic found by neural
architecture search. They are, first to last: {layers}.

## Use

```python
import nni_magic.tasks.language.hugging_face  # pip install nni-magic[huggingface]
from transformers import {auto}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")
model = {auto}.from_pretrained("path/to/this/folder")
```

It takes texts of up to {length} tokens.

## Training

```json
{training}
```

What is known of the search is in `child.json`, if that is there.
"""


def model_card(record: Mapping[str, Any], *, max_length: int, mask_token: str) -> str:
    """Write ``README.md``.

    Parameters
    ----------
    record
        What ``child.json`` says.
    max_length
        Longest sequence, in tokens.
    mask_token
        What stands for a token to predict.
    """
    provenance, flops = record["provenance"], record["flops"]
    data = ModelCardData(
        library_name="transformers", pipeline_tag="fill-mask", tags=_TAGS
    )  # fmt: skip
    return _TEXT.format(
        data=data.to_yaml(),
        digest=record["digest"],
        n_layers=len(record["sample"]),
        layers=_layers(record["sample"].values()),
        metric=record["metric"].replace("_", " "),
        score=record["score"],
        params=record["params"],
        flops="not counted" if flops is None else f"{flops:,}",
        strategy=provenance.get("settings", {}).get("strategy", "not recorded"),
        seed=provenance.get("seed", "not recorded"),
        length=max_length,
        mask=mask_token,
        provenance=json.dumps(provenance, indent=2),
    )


def trained_card(config: Any, auto: str, params: int, training: Mapping[str, Any]) -> str:
    """Write ``README.md`` of a child that was trained further.

    Parameters
    ----------
    config
        The model's configuration.
    auto
        Name of the class of ``transformers`` that loads it.
    params
        Number of its parameters.
    training
        Settings and results.
    """
    data = ModelCardData(library_name="transformers", pipeline_tag=_TASKS.get(auto), tags=_TAGS)
    return _TRAINED.format(
        data=data.to_yaml(), n_layers=config.num_hidden_layers, layers=_layers(config.operators),
        params=params, auto=auto, length=config.max_position_embeddings,
        training=json.dumps(training, indent=2),
    )  # fmt: skip


def _layers(names: Any) -> str:
    """Operators in short: equal neighbours are counted.

    >>> _layers(["ffn", "ffn", "conv3"])
    '2 x ffn, conv3'
    """
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    return ", ".join(f"{n} x {name}" if n > 1 else name for name, n in runs)
