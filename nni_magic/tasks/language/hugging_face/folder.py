"""A child's folder as a folder of Hugging Face, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from transformers import PreTrainedModel

from search_spaces import BertSpace

from ....support.files import read_json, replacing_folder, write_json
from ...exported import load
from ..preprocessing import TextPreprocessing
from ..tokenization import special_ids, vocabulary_digest
from .configuration import MagicBertConfig
from .conversion import from_child
from .model_card import model_card, trained_card
from .registration import AUTO_CLASSES
from .source import Source, read_source
from .tokenizer import wrapped_tokenizer

__all__ = ["read_folder", "write_folder", "write_trained"]


def write_folder(child: str | Path, target: str | Path | None = None) -> Path:
    """Write an exported child for ``from_pretrained``: configuration, weights, tokenizer and card.

    Parameters
    ----------
    child
        A folder ``<rank>_<digest>`` of an exported child of :class:`search_spaces.BertSpace`.
    target
        Where to write; by default a folder ``hugging_face`` inside. One that was written before is
        replaced.

    Returns
    -------
    Path
        The target, which is complete or not there.

    Raises
    ------
    FileNotFoundError
        If ``child`` is no such folder.
    ValueError
        If it is a child of another space, or the target is something else.
    """
    child = Path(child)
    target = child / "hugging_face" if target is None else Path(target)
    loaded = load(child)
    if not isinstance(loaded.model, BertSpace) or not isinstance(
        loaded.preprocess, TextPreprocessing
    ):
        raise ValueError(
            f"child is {str(child)!r}, a {type(loaded.model).__name__}; accepted are folders of "
            "children of BertSpace with their tokenizer"
        )
    _check_target(target)
    tokenizer = wrapped_tokenizer(loaded.preprocess.tokenizer, loaded.preprocess.max_length)
    special = special_ids(loaded.preprocess.tokenizer)
    model = from_child(loaded.model, loaded.record["sample"], special)
    model.config.vocab_digest = vocabulary_digest(tokenizer.get_vocab())
    card = model_card(
        loaded.record, max_length=loaded.preprocess.max_length, mask_token=tokenizer.mask_token
    )
    with replacing_folder(target) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        (new / "README.md").write_text(card, encoding="utf-8")
        write_json(new / "child.json", dict(loaded.record))
    return target


def read_folder(folder: str | Path) -> tuple[PreTrainedModel, Any]:
    """Read the model that a folder was saved from, and its tokenizer.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~.source.read_source`; or if the folder holds another kind of model.
    """
    source = read_source(folder, "folder")
    kinds = {kind.__name__: kind for kind in AUTO_CLASSES.values()}
    [name] = source.config.architectures or ["none"]
    if name not in kinds:
        raise ValueError(
            f"folder is {str(folder)!r}, which holds a {name}; accepted are {', '.join(kinds)}"
        )
    return kinds[name].from_pretrained(folder), source.tokenizer


def write_trained(
    model: PreTrainedModel, source: Source, target: Path, training: Mapping[str, Any]
) -> None:
    """Write a model that was trained, with the tokenizer and the record of the child, and a card.

    Parameters
    ----------
    model
        The model.
    source
        What the training began with.
    target
        The folder.
    training
        Settings and results of the training, for the card.
    """
    autos = {kind: auto.__name__ for auto, kind in AUTO_CLASSES.items()}
    card = trained_card(model.config, autos[type(model)], model.num_parameters(), training)
    model.save_pretrained(target)
    source.tokenizer.save_pretrained(target)
    (target / "README.md").write_text(card, encoding="utf-8")
    if (record := read_json(source.folder / "child.json")) is not None:
        write_json(target / "child.json", record)


def _check_target(target: Path) -> None:
    """Refuse to replace what was not written here."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    config = read_json(target / "config.json") if target.is_dir() else None
    if config is None or config.get("model_type") != MagicBertConfig.model_type:
        raise ValueError(
            f"target is {str(target)!r}, which is there and holds something else; accepted are new "
            "and empty folders, and those that were written here before"
        )
