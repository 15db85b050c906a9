"""The folder of a model that a training begins with, and models made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from transformers import PreTrainedModel, set_seed

from ..tokenization import vocabulary_digest
from .configuration import MagicBertConfig
from .electra import MagicBertForElectra
from .heads import MagicBertForMaskedLM
from .modeling import MagicBertModel
from .reading import read_model_folder

__all__ = ["Source", "read_source", "to_pretrain"]


@dataclass(frozen=True)
class Source:
    """A folder that was checked.

    Parameters
    ----------
    folder
        The folder.
    config
        Sizes and operators of its model.
    tokenizer
        The model's.
    """

    folder: Path
    config: MagicBertConfig
    tokenizer: Any


def read_source(folder: str | Path, name: str = "model") -> Source:
    """Read a folder's configuration and tokenizer.

    Parameters
    ----------
    folder
        The folder.
    name
        What it is, for messages.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~.reading.read_model_folder`; or if it holds another kind of model, or a tokenizer
        of another vocabulary than the model's.
    """
    folder = Path(folder)
    config, tokenizer, _ = read_model_folder(
        name, folder, "accepted are folders that nni-magic export has written"
    )
    if not isinstance(config, MagicBertConfig):
        raise ValueError(
            f"{name} is {str(folder)!r}, which holds a {config.model_type!r}; accepted is "
            f"{MagicBertConfig.model_type!r}"
        )
    if len(tokenizer) != config.vocab_size:
        raise ValueError(
            f"tokenizer of {str(folder)!r} has {len(tokenizer)} tokens; accepted are those of its "
            f"model, {config.vocab_size}"
        )
    if config.vocab_digest not in (None, vocabulary_digest(tokenizer.get_vocab())):
        raise ValueError(
            f"tokenizer of {str(folder)!r} has as many tokens as its model, but others; accepted "
            "is the one that the model was trained with"
        )
    return Source(folder, config, tokenizer)


def to_pretrain(
    source: Source, objective: str, seed: int, *, inherited: bool = False
) -> PreTrainedModel:
    """Make the model of a pre-training.

    Parameters
    ----------
    source
        Which child it is.
    objective
        ``mlm`` or ``electra``.
    seed
        Of the new weights, and of the random generators from here on.
    inherited
        Take the weights of the folder, but for the heads that it does not have.
    """
    set_seed(seed)
    kind = {"mlm": MagicBertForMaskedLM, "electra": MagicBertForElectra}[objective]
    if objective == "mlm" and inherited:
        return kind.from_pretrained(source.folder)
    settings = {**source.config.to_dict(), "architectures": None}
    model = kind(MagicBertConfig(**settings))
    if inherited:
        body = MagicBertModel.from_pretrained(source.folder)
        model.discriminator.bert.load_state_dict(body.state_dict())
    return model
