"""A teacher: any model of ``transformers`` in a folder, frozen and in evaluation mode."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
)

from ....supernet.hidden_states import States, hooked
from ....supernet.resume import isolated_randomness
from ....support.files import file_digest
from .attention import attention_maps, last_attention
from .reading import read_model_folder

__all__ = ["TeacherFolder", "TeacherModel"]

ACCEPTED = "accepted are folders that save_pretrained has written, of a model and its tokenizer"
PADDING = 128
"""Vocabularies of models are often filled up to a multiple of this."""


class TeacherFolder:
    """A folder that was checked; nothing is looked for elsewhere.

    Parameters
    ----------
    folder
        The folder.

    Attributes
    ----------
    config, tokenizer
        Of ``transformers``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~.reading.read_model_folder`; or if the tokenizer is of another vocabulary.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config, self.tokenizer, self._weights = read_model_folder("teacher", folder, ACCEPTED)
        self._check_tokenizer()

    def _check_tokenizer(self) -> None:
        size, own = len(self.tokenizer), self.config.vocab_size
        pads = [getattr(each, "pad_token_id", None) for each in (self.config, self.tokenizer)]
        if not size <= own < size + PADDING or (None not in pads and pads[0] != pads[1]):
            raise ValueError(
                f"teacher is {str(self.folder)!r}, whose tokenizer has {size} tokens and pads with "
                f"{pads[1]}; accepted is that of its model, which has {own} and pads with {pads[0]}"
            )

    @property
    def digest(self) -> str:
        """SHA-256 of the weights and the configuration."""
        digests = [file_digest(path) for path in (self.folder / "config.json", *self._weights)]
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def masked_model(self) -> nn.Module | None:
        """Load the model with its head for masked tokens; ``None`` if it has no such head."""
        if type(self.config) not in MODEL_FOR_MASKED_LM_MAPPING:
            return None
        model, missing = self._load(AutoModelForMaskedLM)
        return None if missing else model

    def body(self) -> nn.Module:
        """Load the model without a head."""
        return self._whole(AutoModel)

    def classifier(self) -> nn.Module:
        """Load the model with its head for classes of texts, or for ratings."""
        return self._whole(AutoModelForSequenceClassification)

    def _whole(self, kind: Any) -> nn.Module:
        model, missing = self._load(kind)
        if missing:
            raise ValueError(
                f"teacher is {str(self.folder)!r}, which lacks weights of a "
                f"{type(model).__name__}, such as {missing[0]}; accepted are folders that have all"
            )
        return model

    def _load(self, kind: Any) -> tuple[nn.Module, list[str]]:
        """The frozen model, and names of the weights that the folder does not have."""
        with isolated_randomness():
            model, told = kind.from_pretrained(
                self.folder, local_files_only=True, output_loading_info=True
            )
        unused = () if kind is AutoModelForSequenceClassification else ("pooler.",)
        missing = [name for name in sorted(told["missing_keys"])
                   if not any(part in name for part in unused)]  # fmt: skip
        return model.eval().requires_grad_(False), missing


class Taught(NamedTuple):
    """What a teacher makes of its own tokens.

    Parameters
    ----------
    hidden
        Embeddings and hidden states of all layers, ``(batch, seq, width)``.
    attention
        Queries, keys and values of its last layer.
    logits
        ``(batch, seq, vocabulary)``, of a model with a head.
    """

    hidden: Sequence[Tensor]
    attention: Sequence[Tensor]
    logits: Tensor | None


class TeacherModel:
    """Runs a teacher; it is no part of what is trained and saved.

    Parameters
    ----------
    model
        Frozen, with a head for masked tokens or without one.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.maps = attention_maps(model)
        self.n_layers: int = model.config.num_hidden_layers
        self.width: int = model.config.hidden_size

    @property
    def max_length(self) -> int:
        """The longest text that it takes, in tokens, special ones included."""
        length: int = self._model.config.max_position_embeddings
        for name, module in self._model.named_modules():
            if name.endswith("position_embeddings"):  # RoBERTa's begin behind that of padding
                begin = getattr(module, "padding_idx", None)
                return length if begin is None else length - begin - 1
        return length

    @torch.no_grad()
    def __call__(self, ids: Tensor, mask: Tensor) -> Taught:
        """Run it on ``(batch, seq)`` ids with a mask, nonzero where real."""
        if self._model.device != ids.device:
            self._model.to(ids.device)
        outputs: States = {}
        layers = self.maps[-1] if self.maps else {}
        with hooked(layers, outputs, stop=False):
            found = self._model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        attention = last_attention(self.maps, outputs)
        return Taught(found.hidden_states, attention, getattr(found, "logits", None))
