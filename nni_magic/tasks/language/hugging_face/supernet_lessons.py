"""Children of a supernet imitate a teacher: loss terms for any strategy."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn

from search_spaces import BertSpace

from ....losses.imitation import Reading
from ....losses.teacher import TeacherTerm
from ....supernet.hidden_states import Call
from ...teaching import Lessons, Teacher
from ..mlm_data import MlmData
from .attention import AttentionMaps, attention_maps, last_attention, widths
from .lessons import ChildSizes, Teaching

__all__ = ["SupernetReadings", "supernet_lessons"]


class SupernetReadings:
    """Reads batches with the child that is run, and with the teacher.

    Parameters
    ----------
    teaching
        The teacher, and what is imitated.
    """

    def __init__(self, teaching: Teaching) -> None:
        self._teaching = teaching
        self._last: tuple[Call, tuple[Reading, Reading, Tensor]] | None = None

    def layers(self, model: nn.Module) -> Mapping[str, nn.Module]:
        """Layers that are compared, and all maps of attention, one of which is a child's last."""
        modules = dict(model.named_modules())
        # A supernet in several parts is several spaces.
        spaces = {name: each for name, each in modules.items() if isinstance(each, BertSpace)}
        self._signature = inspect.signature(next(iter(spaces.values())).forward)
        self._names = {
            f"{name}.layers.{n - 1}".lstrip("."): n
            for name in spaces for n in self._teaching.layers
        }  # fmt: skip
        self._maps: AttentionMaps = []
        if "relations" in self._teaching.imitations:
            self._maps = attention_maps(model)
        maps = {name: module for each in self._maps for name, module in each.items()}
        return {**{name: modules[name] for name in self._names}, **maps}

    def __call__(self, call: Call) -> tuple[Reading, Reading, Tensor]:
        """Read a call of the supernet; terms that ask for the same one share the answer."""
        if self._last is None or self._last[0] is not call:
            self._last = (call, self._read(call))
        return self._last[1]

    def _read(self, call: Call) -> tuple[Reading, Reading, Tensor]:
        given = self._signature.bind(*call.args, **call.kwargs).arguments
        ids, mask, positions = map(given.get, ("token_ids", "attention_mask", "positions"))
        assert ids is not None
        mask = torch.ones_like(ids) if mask is None else mask
        predicted = mask != 0 if positions is None else positions
        child = Reading(
            {n: call.states[name] for name, n in self._names.items() if name in call.states},
            last_attention(self._maps, call.states),
            call.output[predicted] if positions is None else call.output,
        )
        return self._teaching.readings(ids, mask, predicted, child)

    def forget(self) -> None:
        """Free the memory of the last batch."""
        self._last = None
        self._teaching.forget()


def supernet_lessons(settings: Teacher, data: MlmData, space: BertSpace, seed: int) -> Lessons:
    """Make the terms of a teacher.

    Parameters
    ----------
    settings
        With the folder of the teacher.
    data
        What the supernet is trained on.
    space
        The space.
    seed
        Of the weights that imitating needs.

    Raises
    ------
    FileNotFoundError, ValueError
        As :class:`~.lessons.Teaching`.
    """
    sizes = ChildSizes(
        len(space.layers), space.stem.hidden, widths(attention_maps(space)), data.max_length
    )
    teaching = Teaching(settings, data.tokenizer, sizes, seed)
    readings = SupernetReadings(teaching)
    terms = [
        TeacherTerm(name, imitation, readings, settings.teacher_weight)
        for name, imitation in teaching.imitations.items()
    ]
    return Lessons(terms, teaching.made_with)
