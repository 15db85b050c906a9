"""Teachers of text made on the fly: of another width, depth and vocabulary than children."""

import torch
from hugging import LENGTH, tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
)

from nni_magic.tasks.language.hugging_face import wrapped_tokenizer

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "a", "dog", "m",
          "##at", "##an", "r", "and", ".", *"0123456789", "##a", "##n"]  # fmt: skip
KINDS = {"masked": BertForMaskedLM, "body": BertModel, "classifier": BertForSequenceClassification}


def pieces():
    """A WordPiece tokenizer in BERT's manner."""
    vocabulary = {name: number for number, name in enumerate(PIECES)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def written(folder, kind="masked", *, alike=False, seed=0, **options):
    """Write a teacher; with ``alike`` it has the children's tokenizer."""
    own = wrapped_tokenizer(tokenizer(), LENGTH) if alike else pieces()
    torch.manual_seed(seed)
    model = KINDS[kind](BertConfig(**{
        "vocab_size": len(own), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 32, "max_position_embeddings": 64, "pad_token_id": own.pad_token_id,
        **options,
    }))  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder
