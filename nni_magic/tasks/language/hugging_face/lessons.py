"""What a child of the BERT space imitates of a teacher while it predicts masked tokens.

The same for a child of a supernet, see :mod:`.supernet_lessons`, and for a found one, see
:mod:`.distilled`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from ....losses.imitation import (
    HiddenImitation,
    LogitImitation,
    Reading,
    RelationImitation,
    relation_heads,
)
from ....losses.layer_maps import layer_map
from ...teaching import Imitated, Teacher
from .attention import widths
from .places import Places, TokenPlaces, WordPlaces
from .teacher import Taught, TeacherFolder, TeacherModel

__all__ = ["ChildSizes", "Teaching"]


@dataclass(frozen=True)
class ChildSizes:
    """Sizes of a child, or of all children of a supernet.

    Parameters
    ----------
    n_layers, width
        Number of layers, and width of their hidden states.
    attention
        Widths of queries, keys and values, wherever there are any.
    max_length
        The longest text, in tokens.
    """

    n_layers: int
    width: int
    attention: Sequence[int]
    max_length: int


class Teaching:
    """A teacher, loaded once, and what is imitated of it.

    Parameters
    ----------
    settings
        With the folder of the teacher.
    tokenizer
        The child's.
    sizes
        The child's.
    seed
        Of the weights that imitating needs; the random generators stay as they are.

    Attributes
    ----------
    imitations : dict
        One of :mod:`nni_magic.losses.imitation` for all that is imitated, by name.
    made_with : dict
        Settings, with the digest of the teacher.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`~.teacher.TeacherFolder`; or if something cannot be imitated.
    """

    def __init__(
        self, settings: Teacher, tokenizer: Tokenizer, sizes: ChildSizes, seed: int
    ) -> None:
        assert settings.teacher is not None
        folder = TeacherFolder(settings.teacher)
        theirs = folder.tokenizer.backend_tokenizer
        self._alike = theirs.get_vocab() == tokenizer.get_vocab()
        model, wanted = self._chosen(folder, settings.imitate)
        self._teacher = TeacherModel(model)
        if self._alike:
            self._check_length(folder, sizes)
            self._places: TokenPlaces | WordPlaces = TokenPlaces()
        else:
            mask, longest = folder.tokenizer.mask_token, self._teacher.max_length
            self._places = WordPlaces(tokenizer, theirs, mask, longest)
        self._pairs = layer_map(sizes.n_layers, self._teacher.n_layers, settings.teacher_layers)
        self._sizes = sizes
        make = {"logits": lambda: LogitImitation(settings.teacher_temperature),
                "hidden": lambda: HiddenImitation(
                    self._pairs, sizes.width, self._teacher.width, seed
                ),
                "relations": lambda: RelationImitation(self._heads(folder, settings))}  # fmt: skip
        self.imitations: dict[str, nn.Module] = {name: make[name]() for name in wanted}
        self.made_with: Mapping[str, Any] = {
            **settings.made_with(folder.digest), "imitate": list(wanted)
        }
        self._seen: tuple[Tensor, Tensor, Places, Taught] | None = None

    def _chosen(
        self, folder: TeacherFolder, imitate: Sequence[Imitated] | None
    ) -> tuple[nn.Module, Sequence[Imitated]]:
        """The model, with a head if its logits are wanted, and what is imitated."""
        if imitate is None:
            model = folder.masked_model() if self._alike else None
            return (folder.body(), ("hidden", "relations")) if model is None else (
                model, ("logits",)
            )  # fmt: skip
        if "logits" not in imitate:
            return folder.body(), imitate
        if not self._alike:
            raise ValueError(
                f"imitate has 'logits', and teacher is {str(folder.folder)!r}, whose vocabulary is "
                "not the child's; accepted are 'hidden' and 'relations'"
            )
        if (model := folder.masked_model()) is None:
            raise ValueError(
                f"imitate has 'logits', and teacher is {str(folder.folder)!r}, which has no head "
                "for masked tokens; accepted are 'hidden' and 'relations'"
            )
        return model, imitate

    def _check_length(self, folder: TeacherFolder, sizes: ChildSizes) -> None:
        if self._teacher.max_length < sizes.max_length:
            raise ValueError(
                f"teacher is {str(folder.folder)!r}, which takes {self._teacher.max_length} "
                f"tokens; accepted are {sizes.max_length} or more, as the child takes"
            )

    def _heads(self, folder: TeacherFolder, settings: Teacher) -> int:
        if not self._teacher.maps:
            raise ValueError(
                f"imitate has 'relations', and teacher is a {folder.config.model_type!r}, whose "
                "queries, keys and values are not known by their names; accepted are 'logits' and "
                "'hidden'"
            )
        every = [self._sizes.width, self._teacher.width, *self._sizes.attention]
        return relation_heads(every + widths(self._teacher.maps[-1:]), settings.relation_heads)

    @property
    def layers(self) -> Sequence[int]:
        """Numbers of the child's layers whose hidden states are read, from 1."""
        needed = {self._sizes.n_layers}  # for a child without attention
        if "hidden" in self.imitations:
            needed |= {own for own, _ in self._pairs}
        return sorted(needed)

    def readings(
        self, ids: Tensor, mask: Tensor, predicted: Tensor, child: Reading
    ) -> tuple[Reading, Reading, Tensor]:
        """Read a batch with the teacher, and bring both to the same places.

        Parameters
        ----------
        ids, mask
            What the child has read, ``(batch, seq)``; the mask is nonzero where real.
        predicted
            ``(batch, seq)``, true where tokens are predicted.
        child
            What it made of its tokens, ``(batch, seq, width)``; logits only of those predicted.

        Returns
        -------
        child, teacher : Reading
            At the places.
        real : Tensor
            ``(batch, place)``, true where a place is real.
        """
        places, taught = self._taught(ids, mask)
        theirs = Reading(
            {n: places.of_teacher(taught.hidden[n]) for n in self._their_layers},
            [places.of_teacher(each) for each in taught.attention],
        )
        if "logits" in self.imitations:
            assert taught.logits is not None
            assert child.logits is not None
            size = child.logits.shape[-1]  # the teacher's vocabulary may be filled up
            theirs.logits = taught.logits[predicted][:, :size]
        ours = Reading(
            {n: places.of_child(states) for n, states in child.hidden.items()},
            [places.of_child(each) for each in child.attention], child.logits,
        )  # fmt: skip
        return ours, theirs, places.real

    @property
    def _their_layers(self) -> Sequence[int]:
        needed = {self._teacher.n_layers}
        if "hidden" in self.imitations:
            needed |= {other for _, other in self._pairs}
        return sorted(needed)

    def _taught(self, ids: Tensor, mask: Tensor) -> tuple[Places, Taught]:
        """The teacher's pass; another child's of the same batch is taken again."""
        if self._seen is not None and all(map(torch.equal, self._seen[:2], (ids, mask))):
            return self._seen[2:]
        places = self._places(ids, mask)
        taught = self._teacher(places.ids, places.mask)
        self._seen = (ids, mask, places, taught)
        return places, taught

    def forget(self) -> None:
        """Free the memory of the last pass."""
        self._seen = None
