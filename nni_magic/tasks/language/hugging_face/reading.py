"""Folders of a model and its tokenizer, read before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoTokenizer

__all__ = ["ModelFolder", "read_model_folder"]

WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")


class ModelFolder(NamedTuple):
    """Configuration and tokenizer of ``transformers``, and the files of the weights."""

    config: Any
    tokenizer: Any
    weights: Sequence[Path]


def read_model_folder(name: str, folder: Path, accepted: str) -> ModelFolder:
    """Read a folder; nothing is looked for elsewhere.

    Parameters
    ----------
    name
        What the folder is, for messages.
    folder
        The folder.
    accepted
        What is accepted, for messages.

    Raises
    ------
    FileNotFoundError
        If the folder has no configuration, no weights, or no tokenizer of the ``tokenizers``
        library.
    ValueError
        If one of them cannot be read.
    """
    weights = [path for pattern in WEIGHTS for path in sorted(folder.glob(pattern))]
    needed = {each: (folder / each).is_file() for each in ("config.json", "tokenizer.json")}
    for file, there in {**needed, "model.safetensors": bool(weights)}.items():
        if not there:
            raise FileNotFoundError(f"{name} is {str(folder)!r}, without {file}; {accepted}")
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        for path in weights:
            if path.suffix == ".safetensors":  # whether it is whole; no weight is read
                safe_open(path, "pt")
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(
            f"{name} is {str(folder)!r}, which cannot be read ({error}); {accepted}"
        ) from error
    return ModelFolder(config, tokenizer, weights)
