"""Windows cover a context, places are those of answers, and the best answers come back."""

import logging
from itertools import pairwise

import hugging
import numpy as np
import pytest

from nni_magic.tasks.language.hugging_face import answers, windows, wrapped_tokenizer
from nni_magic.tasks.language.squad import Answer, Question

CONTEXT = "the cat sat on the mat and a dog ran on the mat and the cat sat on a dog, the dog ran"


def question(answer="a dog ran", text="the dog?", id="q"):
    found = (Answer(answer, CONTEXT.index(answer)),) if answer else ()
    return Question(id, text, CONTEXT, found)


@pytest.fixture(scope="module")
def tokenizer():
    return wrapped_tokenizer(hugging.tokenizer(), 24)


def cut(tokenizer, *questions, length=24, stride=6):
    return windows(questions, tokenizer, length, stride)


def test_windows_overlap_and_cover_the_context(tokenizer):
    found = cut(tokenizer, question())
    assert len(found) > 1
    assert all(len(window.input_ids) <= 24 for window in found)
    parts = [[at for at in window.offsets if at is not None] for window in found]
    covered = {place for part in parts for at in part for place in range(*at)}
    assert {n for n, one in enumerate(CONTEXT) if one != " "} <= covered
    for one, next_one in pairwise(parts):
        assert one[-6:] == next_one[:6]


@pytest.mark.parametrize("answer", ["a dog ran", "the cat", "mat", "dog, the dog"])
def test_place_is_that_of_the_answer_where_it_is_whole(answer, tokenizer):
    asked = question(answer)
    whole = 0
    for window in cut(tokenizer, asked):
        first, last = window.place(asked)
        row = window.row(asked)
        assert (row["start_positions"], row["end_positions"]) == (first, last)
        if (first, last) != (0, 0):
            whole += 1
            assert CONTEXT[window.offsets[first][0] : window.offsets[last][1]] == answer
    assert whole > 0


def test_no_answer_is_at_the_first_token(tokenizer):
    asked = question(None)
    assert all(window.place(asked) == (0, 0) for window in cut(tokenizer, asked))


def test_long_question_is_cut_and_counted(tokenizer, caplog):
    with caplog.at_level(logging.WARNING):
        found = cut(tokenizer, question(text="the dog " * 40), question())
    assert "Cut 1 of 2 questions, which are longer than 9 tokens" in caplog.text
    assert {window.question for window in found} == {0, 1}


def test_best_answer_over_all_windows_wins(tokenizer):
    asked = question("the cat")
    found = cut(tokenizer, asked)
    starts, ends = np.zeros((2, len(found), 24))
    starts[:, 0] = [3.0, *[1.0] * (len(found) - 1)]
    last = len(found) - 1
    place = next(n for n, at in enumerate(found[last].offsets) if at is not None)
    starts[last, place], ends[last, place + 1] = 7, 5
    # An end before its start, and one too far, are no answers, whatever their scores.
    starts[0, 15], ends[0, 11] = 50, 50
    best, none = answers([asked], found, starts, ends, longest=2, n_best=3)["q"]
    at = found[last].offsets
    assert best[0] == (CONTEXT[at[place][0] : at[place + 1][1]], 12)
    assert none == 1
    assert len(best) == 3
    assert best[1].score >= best[2].score


def test_scores_of_the_true_places_give_the_true_answers(tokenizer):
    asked = [question(answer, id=answer) for answer in ("a dog ran", "mat", "the dog ran")]
    found = cut(tokenizer, *asked)
    starts, ends = np.zeros((2, len(found), 24))
    for n, window in enumerate(found):
        first, last = window.place(asked[window.question])
        starts[n, first] = ends[n, last] = 9 if first else 1
    best = answers(asked, found, starts, ends)
    assert {id: found[0].text for id, (found, _) in best.items()} == {q.id: q.id for q in asked}
