"""The tokenizer of a supernet's training as one of ``transformers``."""

from __future__ import annotations

import nni_bootstrap  # noqa: F401
from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import BertProcessing, RobertaProcessing
from transformers import PreTrainedTokenizerFast

from ..tokenization import special_ids

__all__ = ["wrapped_tokenizer"]


def wrapped_tokenizer(tokenizer: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    """Wrap a tokenizer, so that texts come as the rows that the supernet was trained on.

    A text is ``<s> text </s>``, and a pair ``<s> one </s> </s> other </s>`` as RoBERTa's; with
    BERT's special tokens ``[CLS] one [SEP] other [SEP]``. A tokenizer that says otherwise keeps its
    own form.

    Parameters
    ----------
    tokenizer
        With the special tokens that masked-language modelling needs; it stays as it is.
    max_length
        Longest sequence that the model takes, in tokens.
    """
    ids = special_ids(tokenizer)
    start, end, pad, mask = map(tokenizer.id_to_token, (ids.start, ids.end, ids.pad, ids.mask))
    own = Tokenizer.from_str(tokenizer.to_str())
    if own.post_processor is None:
        kind = RobertaProcessing if start == "<s>" else BertProcessing
        more = {"add_prefix_space": False} if start == "<s>" else {}
        own.post_processor = kind((end, ids.end), (start, ids.start), **more)
    unknown = next((name for name in ("<unk>", "[UNK]") if own.token_to_id(name)), None)
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        model_max_length=max_length,
        model_input_names=["input_ids", "attention_mask"],
        bos_token=start, cls_token=start, eos_token=end, sep_token=end, pad_token=pad,
        unk_token=unknown,
        # As RoBERTa's it takes the space before it: no text has a space alone there.
        mask_token=AddedToken(mask, lstrip=start == "<s>", special=True),
    )  # fmt: skip
