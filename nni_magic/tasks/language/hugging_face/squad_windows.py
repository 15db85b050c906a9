"""Long contexts as windows that overlap, and the best answers over all windows of a question.

A window is ``<s> question </s> </s> part of the context </s>``. The place of an answer that is not
in the window is its first token, and the score of that place is the score of no answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import nni_bootstrap  # noqa: F401
import numpy as np

from ..squad import Question

__all__ = ["Found", "Window", "answers", "windows"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """A part of a context with its question.

    Parameters
    ----------
    question
        The question's position in the list.
    input_ids
        The tokens.
    offsets
        Where in the context each token begins and ends; ``None`` outside of it.
    """

    question: int
    input_ids: list[int]
    offsets: list[tuple[int, int] | None]

    def place(self, question: Question) -> tuple[int, int]:
        """First and last token of the first answer, or ``(0, 0)`` where it is not whole."""
        if not question.answers:
            return 0, 0
        text, start = question.answers[0]
        end = start + len(text)
        inside = [
            n for n, at in enumerate(self.offsets)
            if at is not None and at[0] < end and at[1] > start
        ]  # fmt: skip
        if not inside:
            return 0, 0
        first, last = self.offsets[inside[0]], self.offsets[inside[-1]]
        whole = first is not None and last is not None and first[0] <= start and last[1] >= end
        return (inside[0], inside[-1]) if whole else (0, 0)

    def row(self, question: Question | None = None) -> dict[str, Any]:
        """Give what ``Trainer`` takes, with the place of the answer if there is a question."""
        row: dict[str, Any] = {
            "input_ids": self.input_ids, "attention_mask": [1] * len(self.input_ids),
        }  # fmt: skip
        if question is not None:
            row["start_positions"], row["end_positions"] = self.place(question)
        return row


def windows(
    questions: Sequence[Question], tokenizer: Any, max_length: int, stride: int
) -> list[Window]:
    """Cut contexts into windows.

    Parameters
    ----------
    questions
        From :func:`~nni_magic.tasks.language.squad.read_squad`.
    tokenizer
        A fast one.
    max_length
        Longest window, in tokens.
    stride
        Tokens that neighbours share.

    Notes
    -----
    A question has at most half a window less its stride; what is longer is cut, and a warning
    counts it.
    """
    room = max((max_length - stride) // 2, 1)
    found, cut = [], 0
    for number, question in enumerate(questions):
        own = tokenizer(question.text.strip(), add_special_tokens=False,
                        return_offsets_mapping=True, verbose=False)["offset_mapping"]  # fmt: skip
        text = question.text.strip()
        if len(own) > room:
            cut, text = cut + 1, text[: own[room - 1][1]]
        pair = tokenizer(
            text, question.context, truncation="only_second", max_length=max_length,
            stride=stride, return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        for n, ids in enumerate(pair["input_ids"]):
            of_context = [side == 1 for side in pair.sequence_ids(n)]
            offsets = [
                tuple(at) if here else None
                for at, here in zip(pair["offset_mapping"][n], of_context, strict=True)
            ]
            found.append(Window(number, ids, offsets))
    if cut:
        _logger.warning(
            "Cut %d of %d questions, which are longer than %d tokens", cut, len(questions), room
        )
    return found


class Found(NamedTuple):
    """A possible answer, with the sum of the scores of its ends."""

    text: str
    score: float


def answers(
    questions: Sequence[Question],
    cut: Sequence[Window],
    start_scores: np.ndarray,
    end_scores: np.ndarray,
    *,
    n_best: int = 20,
    longest: int = 30,
) -> dict[str, tuple[list[Found], float]]:
    """Find the best answers to every question.

    Parameters
    ----------
    questions, cut
        The questions and their windows.
    start_scores, end_scores
        Of every window's tokens, ``(windows, tokens)``; those of padding are not read.
    n_best
        Starts and ends of a window that are tried, and answers that are given.
    longest
        Tokens of an answer, at most.

    Returns
    -------
    dict
        By the ids of questions: answers, best first, and the score of none, the lowest of all
        windows.
    """
    found: dict[str, list[Found]] = {question.id: [] for question in questions}
    none = dict.fromkeys(found, float("inf"))
    for window, starts, ends in zip(cut, start_scores, end_scores, strict=True):
        question = questions[window.question]
        none[question.id] = min(none[question.id], float(starts[0] + ends[0]))
        found[question.id] += _of_window(
            window, question.context, starts, ends, n_best=n_best, longest=longest
        )
    return {
        id: (sorted(several, key=lambda each: -each.score)[:n_best] or [Found("", -np.inf)],
             none[id])
        for id, several in found.items()
    }  # fmt: skip


def _of_window(
    window: Window, context: str, starts: np.ndarray, ends: np.ndarray, *, n_best: int, longest: int
) -> list[Found]:
    places = np.array([n for n, at in enumerate(window.offsets) if at is not None], dtype=int)
    best_starts = places[np.argsort(-starts[places], kind="stable")[:n_best]]
    best_ends = places[np.argsort(-ends[places], kind="stable")[:n_best]]
    found = []
    for first, last in product(best_starts, best_ends):
        if first <= last < first + longest:
            begin, end = window.offsets[first], window.offsets[last]
            assert begin is not None and end is not None
            score = float(starts[first] + ends[last])
            found.append(Found(context[begin[0] : end[1]], score))
    return found
