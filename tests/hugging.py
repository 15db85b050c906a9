"""A small child of text: its weights, its tokenizer, and the folder that an export writes."""

from functools import cache

import torch
from nni.nas.space import model_context
from tokenizers import Tokenizer

from nni_magic.export import export_child
from nni_magic.tasks.language.preprocessing import TextPreprocessing
from nni_magic.tasks.language.tokenization import train_tokenizer
from search_spaces import BertSpace

CANDIDATES = ("mha2", "ffn24", "conv3", "sepconv5")
SAMPLE = {f"layer_{n}": name for n, name in enumerate(CANDIDATES, start=1)}
LENGTH = 12
TEXTS = ["the cat sat on the mat", "a dog ran", "the dog sat on the cat and the mat"]
PROVENANCE = {"seed": 3, "settings": {"strategy": "magic_at"}, "versions": {"nni": "3.0"}}


@cache
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXTS * 3, vocab_size=300)


def space(**options):
    sizes = {"n_layers": 4, "hidden": 16, "embedding_size": 8, "max_length": LENGTH}
    return BertSpace(**{**sizes, "vocab_size": tokenizer().get_vocab_size(), "dropout": 0.1,
                        "candidates": CANDIDATES, **options})  # fmt: skip


def child(**options):
    """A child with weights that are not the initial ones, in evaluation mode."""
    torch.manual_seed(0)
    with model_context(SAMPLE):
        made = space(**options).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.requires_grad_(False)


def exported(folder, **options):
    """Write the child's folder, by default without programs."""
    inputs = {"token_ids": torch.ones(2, LENGTH, dtype=torch.long),
              "attention_mask": torch.ones(2, LENGTH, dtype=torch.long)}  # fmt: skip
    options = {"kwargs": inputs, "formats": (), "metric": "test_loss", "provenance": PROVENANCE,
               "beside": TextPreprocessing(tokenizer(), LENGTH).write, **options}  # fmt: skip
    return export_child(child(), SAMPLE, 2.5, folder, space=space(), **options)


def written(folder, length=48):
    """Write a model that takes longer texts, with new weights."""
    from nni_magic.tasks.language.hugging_face import (
        MagicBertConfig,
        MagicBertForMaskedLM,
        wrapped_tokenizer,
    )

    torch.manual_seed(0)
    model = MagicBertForMaskedLM(MagicBertConfig(
        operators=CANDIDATES, vocab_size=tokenizer().get_vocab_size(), hidden_size=16,
        embedding_size=8, max_position_embeddings=length,
    ))  # fmt: skip
    model.save_pretrained(folder)
    wrapped_tokenizer(tokenizer(), length).save_pretrained(folder)
    return folder


def batch(length=LENGTH, padded=True):
    """Ids and a mask, ``(3, length)``, two rows of which have padding."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(5, tokenizer().get_vocab_size(), (3, length), generator=generator)
    ends = torch.tensor([[length], [max(1, length // 2)], [1]])
    mask = torch.arange(length) < ends if padded else torch.ones(3, length, dtype=torch.bool)
    return ids, mask.long()


def write_tasks(folder):
    """Write RTE and MRPC with four rows each, and give the folder."""
    pairs = [("the cat", "a dog"), ("the cat", "a cat"), ("one", "two"), ("one", "one")]
    for name, header, line in (
        ("RTE", "index\tsentence1\tsentence2\tlabel", "{n}\t{a}\t{b}\t{word}entailment"),
        ("MRPC", "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "{q}\t1\t2\t{a}\t{b}"),
    ):
        (folder / name).mkdir(parents=True)
        rows = [line.format(n=n, a=a, b=b, q=n % 2, word=("not_", "")[n % 2])
                for n, (a, b) in enumerate(pairs)]  # fmt: skip
        for part in ("train", "dev"):
            (folder / f"{name}/{part}.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder
