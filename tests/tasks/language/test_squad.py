"""SQuAD's scores, case by case and beside two libraries that have them too."""

import json
import random

import pytest
from torchmetrics.functional.text import squad as torchmetrics_squad

from nni_magic.tasks.language.squad import (
    Answer,
    Question,
    best_threshold,
    exact_match,
    normalised,
    read_squad,
    scores,
    token_f1,
)

WORDS = ["the", "a", "Cat", "cat", "cat.", "dog", "U.S.", "-", "an", "eye"]


def question(id, *answers):
    return Question(id, "what?", "", tuple(Answer(text, 0) for text in answers))


@pytest.mark.parametrize(("prediction", "answer", "exact", "f1"), [
    ("the cat", "Cat", 1, 1),  # articles and case
    ("U.S.", "us!", 1, 1),  # punctuation
    ("cat  mat", " cat mat ", 1, 1),  # space
    ("the big cat", "cat", 0, 2 / 3),
    ("cat cat dog", "cat dog dog", 0, 2 / 3),  # each as often as it is there
    ("dog", "cat", 0, 0),
    ("theatre", "atre", 0, 0),  # an article is a word of its own
    ("", "cat", 0, 0),
    ("cat", "", 0, 0),
    ("", "", 1, 1),
    ("the", "a", 1, 1),  # nothing is left of either
    ("don't", "dont", 1, 1),
])  # fmt: skip
def test_answers_are_compared_as_the_official_script_does(prediction, answer, exact, f1):
    assert exact_match(prediction, answer) == exact
    assert token_f1(prediction, answer) == pytest.approx(f1)


def test_two_answers_of_which_nothing_is_left_differ_between_the_versions():
    assert (token_f1("the", "an", "1.1"), token_f1("the", "an", "2.0")) == (0, 1)


def drawn(rng, n=40, unanswered=0.0):
    """Questions with up to three answers, and predictions."""
    def text():
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 4)))

    questions, predictions = [], {}
    for number in range(n):
        answers = [] if rng.random() < unanswered else [text() for _ in range(rng.randint(1, 3))]
        questions.append(question(str(number), *answers))
        predictions[str(number)] = "" if rng.random() < unanswered else text()
    return questions, predictions


@pytest.mark.parametrize("seed", range(5))
def test_version_1_is_that_of_torchmetrics(seed):
    drawn_questions, predictions = drawn(random.Random(seed))
    # Where nothing is left of two answers torchmetrics counts as the script of 2.0 does.
    questions = [q for q in drawn_questions if normalised(predictions[q.id])]
    predictions = {q.id: predictions[q.id] for q in questions}
    expected = torchmetrics_squad(
        [{"prediction_text": text, "id": id} for id, text in predictions.items()],
        [{"id": q.id, "answers": {"text": [a.text for a in q.answers],
                                  "answer_start": [0] * len(q.answers)}} for q in questions],
    )  # fmt: skip
    found = scores(questions, predictions, "1.1")["all"]
    assert found["exact"] == pytest.approx(expected["exact_match"].item(), rel=1e-5)
    assert found["f1"] == pytest.approx(expected["f1"].item(), rel=1e-5)


def test_version_2_counts_questions_without_an_answer():
    questions = [question("1", "the cat", "a dog"), question("2", "mat"), question("3"),
                 question("4"), question("5", "the")]  # fmt: skip
    predictions = {"1": "dog", "2": "", "3": "", "4": "mat", "5": ""}
    found = scores(questions, predictions)
    assert found["has_answer"] == {"exact": pytest.approx(200 / 3), "f1": pytest.approx(200 / 3)}
    assert found["no_answer"] == {"exact": 50, "f1": 50}
    assert found["all"] == {"exact": 60, "f1": 60}
    assert set(scores(questions[:2], predictions)) == {"all", "has_answer"}


def by_force(questions, predictions, no_answer, threshold):
    """The mean F1 where everything above a threshold counts as without an answer."""
    kept = {id: "" if no_answer[id] > threshold else text for id, text in predictions.items()}
    return scores(questions, kept)["all"]["f1"]


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best_of_all(seed):
    rng = random.Random(seed)
    questions, predictions = drawn(rng, unanswered=0.4)
    questions = [q for q in questions if all(token_f1(a.text, "") == 0 for a in q.answers)]
    no_answer = {question.id: rng.random() for question in questions}
    predictions = {q.id: predictions[q.id] for q in questions}
    best, threshold = best_threshold(questions, predictions, no_answer)
    every = [by_force(questions, predictions, no_answer, t) for t in (-1, *no_answer.values())]
    assert best == pytest.approx(max(every))
    if threshold:
        assert by_force(questions, predictions, no_answer, threshold) == pytest.approx(best)


def layout(*qas, context="The cat sat."):
    return {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": list(qas)}]}]}


def asked(id, *answers, **more):
    given = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": id, "question": "Who sat?", "answers": given, **more}


def test_files_of_both_versions_are_read(tmp_path):
    path = tmp_path / "dev.json"
    impossible = asked("2", is_impossible=True, plausible_answers=[])
    path.write_text(json.dumps(layout(asked("1", ("cat", 4), ("The cat", 0)), impossible)))
    assert read_squad(path) == [
        Question("1", "Who sat?", "The cat sat.", (Answer("cat", 4), Answer("The cat", 0))),
        Question("2", "Who sat?", "The cat sat.", ()),
    ]


@pytest.mark.parametrize(("content", "message"), [
    (layout(asked("7", ("cat", 3))), "question '7': answer 'cat' is not at 3 of its context, where "
                                     "' ca' is"),
    (layout(asked("7", ("sat. Then", 8))), "question '7': answer 'sat. Then' is not at 8"),
    (layout(asked("7"), asked("7")), "has two questions of one id"),
    ({"version": "1.1"}, r"has no layout of SQuAD: KeyError\('data'\)"),
    ([], "has no layout of SQuAD: TypeError"),
    ({"data": []}, r"dev.json' has no questions"),
    (layout(asked("7", ("sat", -4))), "answer 'sat' is not at -4 of its context"),
])  # fmt: skip
def test_a_damaged_file_is_named(content, message, tmp_path):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_squad(path)


def test_question_without_an_answer_is_refused_in_version_1(tmp_path):
    path = tmp_path / "dev.json"
    path.write_text(json.dumps(layout(asked("1", ("cat", 4)), asked("2", is_impossible=True))))
    assert len(read_squad(path, "2.0")) == 2
    with pytest.raises(ValueError, match=r"has no answer to question '2'; accepted in SQuAD 1\.1"):
        read_squad(path, "1.1")


def test_what_cannot_be_scored_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"squad is '.*no.json'; accepted is a JSON file"):
        read_squad(tmp_path / "no.json")
    with pytest.raises(ValueError, match="question '1' has no prediction; accepted is one for"):
        scores([question("1", "cat")], {})
    with pytest.raises(ValueError, match="question '1' has no answer; accepted are those of SQuAD"):
        scores([question("1")], {"1": ""}, "1.1")
    with pytest.raises(ValueError, match=r"version is '3.0'; accepted are '1.1', '2.0'"):
        scores([question("1")], {"1": ""}, "3.0")
    with pytest.raises(ValueError, match="questions is empty; accepted are lists of at least one"):
        scores([], {})
