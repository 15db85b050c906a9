"""From a child of the BERT space to a model of ``transformers`` with the same weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nni_bootstrap  # noqa: F401
from torch import nn

from search_spaces import BertSpace

from ....supernet.resume import isolated_randomness
from ..tokenization import SpecialIds
from .configuration import MagicBertConfig
from .heads import MagicBertForMaskedLM

__all__ = ["from_child"]


def from_child(
    child: nn.Module, sample: Mapping[str, Any], special: SpecialIds | None = None
) -> MagicBertForMaskedLM:
    """Make a model of a child, with copies of its weights.

    Parameters
    ----------
    child
        A stand-alone child of :class:`search_spaces.BertSpace`, frozen or built anew.
    sample
        Which child it is: operators by the labels ``layer_1`` to ``layer_N``.
    special
        Ids of the special tokens, for the configuration.

    Returns
    -------
    MagicBertForMaskedLM
        In evaluation mode; the random generators stay as they are.

    Raises
    ------
    TypeError
        If the child is of another space.
    """
    if not isinstance(child, BertSpace):
        raise TypeError(f"child is a {type(child).__name__}; accepted are children of BertSpace")
    ids = {} if special is None else {
        "pad_token_id": special.pad, "bos_token_id": special.start, "eos_token_id": special.end,
    }  # fmt: skip
    with isolated_randomness():
        model = MagicBertForMaskedLM(_configuration(child, sample, ids))
    model.load_state_dict(
        {name if name.startswith("mlm_head.") else f"bert.{name}": value
         for name, value in child.state_dict().items()}
    )  # fmt: skip
    return model.eval()


def _configuration(
    child: BertSpace, sample: Mapping[str, Any], ids: Mapping[str, int]
) -> MagicBertConfig:
    stem = child.stem
    return MagicBertConfig(
        operators=[str(sample[f"layer_{n}"]) for n in range(1, len(child.layers) + 1)],
        vocab_size=stem.token.num_embeddings,
        hidden_size=stem.hidden,
        embedding_size=stem.token.embedding_dim,
        max_position_embeddings=stem.position.num_embeddings,
        hidden_dropout_prob=stem.dropout.p,
        **ids,
    )
