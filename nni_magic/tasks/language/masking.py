"""Masking for masked-language modelling, and the data sets it is applied to.

Training rows are masked anew at every step by the evaluator; held-out rows are masked once, so
that validation losses can be compared.

References
----------
.. [Devlin2019] J. Devlin et al. BERT: Pre-training of Deep Bidirectional Transformers for
   Language Understanding. NAACL 2019.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...support.errors import check_number
from .tokenization import SpecialIds

__all__ = ["MaskedDataset", "TokenDataset", "mask_tokens"]

_MASK_ROWS = 4096  # held-out rows masked at once, to bound memory


def mask_tokens(
    token_ids: Tensor,
    maskable: Tensor,
    *,
    vocab_size: int,
    mask_id: int,
    special_ids: Sequence[int],
    probability: float = 0.15,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose positions to predict and corrupt them [Devlin2019]_.

    Each maskable position is selected with ``probability``, on its own. Of the selected ones
    80 % become the mask token, 10 % a random ordinary token, 10 % stay.

    Parameters
    ----------
    token_ids
        ``(batch, seq)``, int64.
    maskable
        ``(batch, seq)``, bool: False for special tokens and padding.
    vocab_size
        Ids are 0 to ``vocab_size - 1``.
    mask_id
        Id of the mask token.
    special_ids
        Ids that a random replacement never takes.
    probability
        Share of positions to predict, in (0, 1].
    generator
        Where the draws come from; torch's global one by default.

    Returns
    -------
    inputs : torch.Tensor
        ``(batch, seq)``, int64: the corrupted ids.
    selected : torch.Tensor
        ``(batch, seq)``, bool: the positions to predict.
    """
    check_number("probability", probability, above=0, at_most=1)
    device = token_ids.device
    draw = torch.rand(token_ids.shape, generator=generator, device=device)
    # One uniform draw decides both questions: below 0.8p mask, to 0.9p keep, to p replace.
    selected = maskable & (draw < probability)
    masked = selected & (draw < 0.8 * probability)
    replaced = selected & (draw >= 0.9 * probability)
    n_ordinary = vocab_size - len(special_ids)
    random = torch.randint(n_ordinary, token_ids.shape, generator=generator, device=device)
    for special in sorted(special_ids):  # the n-th ordinary id: step over each special one
        random += random >= special
    inputs = torch.where(replaced, random, token_ids.masked_fill(masked, mask_id))
    return inputs, selected


class TokenDataset(Dataset):
    """Rows of a token file, memory-mapped; item ``i`` is ``(max_length,)`` int64.

    Pickles as its path alone, so worker processes and trials open the file themselves.

    Parameters
    ----------
    path
        An ``.npy`` file of shape ``(rows, max_length)``.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """See the class."""
        self.path = Path(path)

    @cached_property
    def rows(self) -> np.ndarray:
        """The ids, ``(rows, max_length)``, uint16 or uint32, read-only."""
        return np.load(self.path, mmap_mode="r")

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        """Return one row."""
        return torch.from_numpy(self.rows[index].astype(np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is read or computed from the file."""
        cached = {"rows", "masks"}
        return {name: value for name, value in self.__dict__.items() if name not in cached}


class MaskedDataset(TokenDataset):
    """Rows with masks that never change; items are ``(inputs, targets, selected)``.

    Each is ``(max_length,)``: corrupted ids, true ids (int64), positions to predict (bool).

    Parameters
    ----------
    path
        An ``.npy`` file of shape ``(rows, max_length)``.
    special
        The tokenizer's special ids.
    vocab_size
        The tokenizer's size.
    seed
        Decides the masks, together with the file.
    probability
        Share of positions to predict.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        special: SpecialIds,
        vocab_size: int,
        *,
        seed: int = 0,
        probability: float = 0.15,
    ) -> None:
        """See the class."""
        super().__init__(path)
        self.special = special
        self.vocab_size = vocab_size
        self.seed = seed
        self.probability = probability

    @cached_property
    def masks(self) -> tuple[np.ndarray, np.ndarray]:
        """Corrupted ids (the file's type) and selected positions (bool), both the file's shape."""
        generator = torch.Generator().manual_seed(self.seed)
        inputs, selected = np.empty_like(self.rows), np.empty(self.rows.shape, dtype=bool)
        special = torch.tensor(self.special.every)
        for start in range(0, len(self), _MASK_ROWS):
            part = slice(start, start + _MASK_ROWS)
            ids = torch.from_numpy(self.rows[part].astype(np.int64))
            inputs[part], selected[part] = mask_tokens(
                ids,
                ~torch.isin(ids, special),
                vocab_size=self.vocab_size,
                mask_id=self.special.mask,
                special_ids=self.special.every,
                probability=self.probability,
                generator=generator,
            )
        return inputs, selected

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """Return one row: inputs, targets, selected."""
        inputs, selected = self.masks
        return (
            torch.from_numpy(inputs[index].astype(np.int64)),
            super().__getitem__(index),
            torch.from_numpy(selected[index]),
        )
