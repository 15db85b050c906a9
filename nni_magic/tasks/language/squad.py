"""SQuAD's questions, and the scores of answers as its official scripts count them [Rajpurkar2016]_.

Answers are compared without case, punctuation, articles and surplus space. The scripts differ in
two places, where ``version`` chooses: in 1.1 two answers of which nothing is left have an F1 of 0,
in 2.0 of 1; and 2.0 has questions without an answer, whose right prediction is an empty text
[Rajpurkar2018]_.

References
----------
.. [Rajpurkar2016] P. Rajpurkar et al., "SQuAD: 100,000+ Questions for Machine Comprehension of
   Text", EMNLP 2016.
.. [Rajpurkar2018] P. Rajpurkar et al., "Know What You Don't Know: Unanswerable Questions for
   SQuAD", ACL 2018.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ...support.errors import check_choice
from ...support.files import read_json

__all__ = [
    "Answer", "Question", "best_threshold", "exact_match", "normalised", "read_squad", "scores",
    "token_f1",
]  # fmt: skip

VERSIONS = ("1.1", "2.0")


class Answer(NamedTuple):
    """An answer, which begins at a character of the context."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question on a context.

    Parameters
    ----------
    id
        As in the file.
    text, context
        The question, and where its answer is to be found.
    answers
        Answers of several people; none if the context has no answer.
    """

    id: str
    text: str
    context: str
    answers: tuple[Answer, ...]


def read_squad(path: str | Path, version: str = "2.0") -> list[Question]:
    """Read a file in SQuAD's JSON layout, of either version.

    Parameters
    ----------
    path
        The file.
    version
        ``"1.1"``: every question has an answer; ``"2.0"``: it may have none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has another layout, no question, or one without an answer that its version needs, or
        an answer does not stand in its context where it should.
    """
    check_choice("version", version, VERSIONS)
    content = read_json(Path(path))
    if content is None:
        raise FileNotFoundError(f"squad is {str(path)!r}; accepted is a JSON file of SQuAD")
    try:
        questions = [
            _question(each, paragraph["context"])
            for article in content["data"]
            for paragraph in article["paragraphs"]
            for each in paragraph["qas"]
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} has no layout of SQuAD: {error!r}") from None
    if len({question.id for question in questions}) < len(questions):
        raise ValueError(f"{str(path)!r} has two questions of one id")
    if not questions:
        raise ValueError(f"{str(path)!r} has no questions")
    unanswered = [question.id for question in questions if not question.answers]
    if version == "1.1" and unanswered:
        raise ValueError(
            f"{str(path)!r} has no answer to question {unanswered[0]!r}; accepted in SQuAD 1.1 are "
            "questions with one"
        )
    return questions


def _question(record: Mapping[str, Any], context: str) -> Question:
    given = [] if record.get("is_impossible") else record["answers"]
    answers = tuple(Answer(each["text"], each["answer_start"]) for each in given)
    for text, start in answers:
        if start < 0 or context[start : start + len(text)] != text:
            raise ValueError(
                f"question {record['id']!r}: answer {text!r} is not at {start} of its context, "
                f"where {context[start : start + len(text)]!r} is"
            )
    return Question(record["id"], record["question"], context, answers)


def normalised(text: str) -> str:
    """Give an answer as it is compared.

    >>> normalised("The  Cat's mat, and an apple!")
    'cats mat and apple'
    """
    plain = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain).split())


def exact_match(prediction: str, answer: str) -> float:
    """Give 1 if two answers are the same, else 0."""
    return float(normalised(prediction) == normalised(answer))


def token_f1(prediction: str, answer: str, version: str = "2.0") -> float:
    """Harmonic mean of precision and recall of an answer's words, each as often as it is there.

    >>> round(token_f1("the big cat", "a cat"), 3)
    0.667
    """
    ours, theirs = normalised(prediction).split(), normalised(answer).split()
    if not ours and not theirs:
        return float(version == "2.0")
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs))


def scores(
    questions: Sequence[Question], predictions: Mapping[str, str], version: str = "2.0"
) -> dict[str, dict[str, float]]:
    """Score the predicted answer of every question, against the answer that it fits best.

    Parameters
    ----------
    questions
        From :func:`read_squad`.
    predictions
        Answers by the ids of questions; an empty text says that there is none.
    version
        ``"1.1"`` or ``"2.0"``.

    Returns
    -------
    dict
        ``exact`` and ``f1`` over all questions, in percent, and in 2.0 also over those that
        ``has_answer`` and ``no_answer``, where there are such.

    Raises
    ------
    ValueError
        If there is no question, one has no prediction, or in 1.1 no answer.
    """
    check_choice("version", version, VERSIONS)
    rows = [(question, *_score(question, predictions, version)) for question in questions]
    if not rows:
        raise ValueError("questions is empty; accepted are lists of at least one question")
    groups = {"all": rows}
    if version == "2.0":
        groups["has_answer"] = [row for row in rows if row[0].answers]
        groups["no_answer"] = [row for row in rows if not row[0].answers]
    return {
        name: {"exact": 100 * fmean(row[1] for row in group),
               "f1": 100 * fmean(row[2] for row in group)}
        for name, group in groups.items() if group
    }  # fmt: skip


def _score(
    question: Question, predictions: Mapping[str, str], version: str
) -> tuple[float, float]:
    if question.id not in predictions:
        raise ValueError(f"question {question.id!r} has no prediction; accepted is one for each")
    answers = [answer.text for answer in question.answers]
    if version == "2.0":
        # As the script: an answer of which nothing is left is none.
        answers = [text for text in answers if normalised(text)] or [""]
    if not answers:
        raise ValueError(f"question {question.id!r} has no answer; accepted are those of SQuAD 1.1")
    prediction = predictions[question.id]
    return (
        max(exact_match(prediction, answer) for answer in answers),
        max(token_f1(prediction, answer, version) for answer in answers),
    )


def best_threshold(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    no_answer: Mapping[str, float],
    score: Callable[[str, str], float] = token_f1,
) -> tuple[float, float]:
    """Find the threshold above which a question counts as unanswerable, as the 2.0 script does.

    Parameters
    ----------
    questions, predictions
        As in :func:`scores`.
    no_answer
        By the ids of questions, the higher the more likely it is that there is no answer.
    score
        :func:`exact_match` or :func:`token_f1`.

    Returns
    -------
    score, threshold
        The best mean score in percent, and the first threshold that has it: predictions count
        where ``no_answer`` is at most that, and elsewhere there is no answer.
    """
    total = best = float(sum(not question.answers for question in questions))
    threshold = 0.0
    for question in sorted(questions, key=lambda question: no_answer[question.id]):
        prediction = predictions[question.id]
        if question.answers:
            total += max(score(prediction, answer.text) for answer in question.answers)
        elif prediction:
            total -= 1
        if total > best:
            best, threshold = total, no_answer[question.id]
    return 100 * best / len(questions), threshold
