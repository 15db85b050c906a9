"""Exported children read back: the model with its weights, and how its inputs are made."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from torch import nn

from ..export import record as child_record
from ..supernet.resume import isolated_randomness
from ..support.errors import check_choice
from ..support.files import read_json, read_record

__all__ = ["LoadedChild", "load", "read_preprocessing"]

PREPROCESSING = {
    "images": f"{__package__}.vision.preprocessing:ImagePreprocessing",
    "text": f"{__package__}.language.preprocessing:TextPreprocessing",
}
"""Where the classes are, by the kind in ``preprocessing.json``."""


@dataclass(frozen=True)
class LoadedChild:
    """What :func:`load` gives.

    Parameters
    ----------
    model
        The child with its weights, in evaluation mode.
    preprocess
        Makes the model's input of texts or images; ``None`` if the folder does not say how.
    record
        What ``child.json`` says: sample, score, costs, provenance; empty if it is not there.
    """

    model: nn.Module
    preprocess: Callable[..., Any] | None
    record: Mapping[str, Any]


def load(folder: str | Path) -> LoadedChild:
    """Load an exported child, or a folder of Hugging Face that one was written to.

    Parameters
    ----------
    folder
        A folder ``<rank>_<digest>`` of an export, or one with ``config.json``, whose model and
        tokenizer are then those of ``transformers``.

    Raises
    ------
    FileNotFoundError
        If it is neither.
    ValueError
        If the child cannot be built anew.
    ModuleNotFoundError
        If an extra is needed that is not installed.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        hugging_face = importlib.import_module(f"{__package__}.language.hugging_face")
        model, tokenizer = hugging_face.read_folder(folder)
        return LoadedChild(model, tokenizer, read_json(folder / "child.json") or {})
    record = child_record.read_record(folder)
    with isolated_randomness():
        model = child_record.build_recorded(record).eval()
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    return LoadedChild(model, read_preprocessing(folder), record)


def read_preprocessing(folder: Path) -> Any:
    """Read how inputs are made; ``None`` if the folder does not say it.

    Raises
    ------
    ValueError
        If they are made in a way that is not known.
    """
    settings = read_record(folder / "preprocessing.json", kind=str)
    if settings is None:
        return None
    kind = settings.pop("kind")
    check_choice("kind of preprocessing", kind, PREPROCESSING)
    where, _, name = PREPROCESSING[kind].partition(":")
    return getattr(importlib.import_module(where), name).read(folder, **settings)
