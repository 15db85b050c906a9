"""The tokenizer of a supernet's training as one of ``transformers``."""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ..preprocessing import framed
from ..tokenization import special_ids

__all__ = ["wrapped_tokenizer"]


def wrapped_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer, so that texts come as the rows that the supernet was trained on.

    Special tokens stand around texts as
    :func:`~nni_magic.tasks.language.preprocessing.framed` puts them.

    Parameters
    ----------
    tokenizer
        With the special tokens that masked-language modelling needs; it stays as it is.
    max_length
        Longest sequence that the model takes, in tokens.
    """
    ids = special_ids(tokenizer)
    start, end, pad, mask = map(tokenizer.id_to_token, (ids.start, ids.end, ids.pad, ids.mask))
    own = framed(tokenizer)
    unknown = next((name for name in ("<unk>", "[UNK]") if own.token_to_id(name)), None)
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        bos_token=start, cls_token=start, eos_token=end, sep_token=end, pad_token=pad,
        unk_token=unknown, mask_token=mask,
    )  # fmt: skip
