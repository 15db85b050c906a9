"""Settings of a teacher that was trained before; read without torch or NNI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..support.errors import check_choice, check_count, check_number
from ..support.kinds import check_kinds

__all__ = ["Imitated", "Lessons", "TaskTeacher", "Teacher"]

Imitated = Literal["logits", "hidden", "relations"]
"""What can be imitated of a teacher, see :mod:`nni_magic.losses.imitation`."""


@dataclass(frozen=True, kw_only=True)
class TaskTeacher:
    """A teacher, and how much it counts.

    Parameters
    ----------
    teacher
        Folder of a model of transformers with its tokenizer, which is imitated.
    teacher_weight
        Factor of the loss of imitation, beside the loss of the task itself.
    teacher_temperature
        By which logits are divided before they are compared.
    """

    teacher: Path | None = None
    teacher_weight: float = 1.0
    teacher_temperature: float = 1.0

    def __post_init__(self) -> None:
        check_number("teacher_weight", self.teacher_weight, above=0)
        check_number("teacher_temperature", self.teacher_temperature, above=0)
        check_kinds(self)  # last, as a bound says more than a type

    def made_with(self, digest: str) -> dict[str, Any]:
        """All that a result depends on; ``digest`` is that of the teacher's weights."""
        return {**asdict(self), "teacher": digest}


@dataclass(frozen=True, kw_only=True)
class Teacher(TaskTeacher):
    """A teacher of masked-language modelling, and what is imitated.

    Parameters
    ----------
    imitate
        Of logits, hidden and relations one or more. By default logits where teacher and child have
        one vocabulary, and else hidden and relations.
    teacher_layers
        Layers whose hidden states are compared, as pairs such as 4:2, the child's first; by default
        those of the shallower one are spread over the other.
    relation_heads
        Parts of queries, keys and values; by default as many as all widths allow.
    """

    imitate: tuple[Imitated, ...] | None = None
    teacher_layers: tuple[str, ...] | None = None
    relation_heads: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.imitate, tuple):
            for name in self.imitate:
                check_choice("imitate", name, get_args(Imitated))
            if len(set(self.imitate)) < max(1, len(self.imitate)):
                raise ValueError(
                    f"imitate is {list(self.imitate)}; accepted are one or more of "
                    f"{', '.join(get_args(Imitated))}, each once"
                )
        if self.relation_heads is not None:
            check_count("relation_heads", self.relation_heads)
        super().__post_init__()


@dataclass(frozen=True)
class Lessons:
    """What a teacher adds to the training of a supernet.

    Parameters
    ----------
    terms
        Of the loss.
    made_with
        What the training depends on.
    """

    terms: Sequence[Any] = ()
    made_with: Mapping[str, Any] = field(default_factory=dict)
