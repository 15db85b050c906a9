"""The search of an experiment in files: what each trial finds and leaves."""

import itertools
import json
import math
import random

import pytest
from spaces import ConvSpace, MixedSpace

from nni_magic.manager.generations import Generations
from nni_magic.scoring.scored import ScoredChild
from nni_magic.search import Population

SIZE = 4


def population(space_type=ConvSpace, **settings):
    return Population(space_type(), **{"seed": 2, "size": SIZE, **settings})


def opened(folder, **settings):
    """As a new trial begins."""
    return Generations(folder, population(**settings))


def loss(sample):
    return random.Random(repr(sorted(sample.items()))).random()


def losses(generations):
    return [loss(sample) for sample in generations.population.ask()]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("space_type", [ConvSpace, MixedSpace])
def test_next_trial_continues_where_the_last_one_ended(space_type, tmp_path):
    alone = population(space_type)
    for number in range(1, 4):
        generations = opened(tmp_path, space_type=space_type)
        assert generations.population.generation == number - 1
        assert generations.population.ask() == alone.ask()
        generations.complete(number, losses(generations))
        alone.tell(alone.ask(), map(loss, alone.ask()))
    assert opened(tmp_path, space_type=space_type).ranked() == alone.best()
    assert files(tmp_path) == ["search.json"]


@pytest.mark.parametrize(("mode", "best"), [("min", min), ("max", max)])
def test_report_is_of_the_generation_and_of_the_best_known(mode, best, tmp_path):
    generations = opened(tmp_path, mode=mode)
    assert generations.report([]) == {}
    assert generations.report([math.nan, math.inf]) == {}
    assert generations.report([3.0, math.nan, 1.0]) == {
        "default": best(1.0, 3.0), "generation_best": best(1.0, 3.0), "generation_mean": 2.0,
        "children": 2,
    }  # fmt: skip
    first = generations.complete(1, [3.0, math.nan, 1.0, -math.inf])
    assert first["default"] == best(1.0, 3.0)
    again = opened(tmp_path, mode=mode)
    assert again.reports == {"1": first}
    assert again.report([2.0]) == {
        "default": best(1.0, 2.0, 3.0), "generation_best": 2.0, "generation_mean": 2.0,
        "children": 1,
    }  # fmt: skip
    assert again.report([]) == {"default": best(1.0, 3.0), "children": 0}


def test_children_without_a_finite_score_are_not_ranked(tmp_path):
    generations = opened(tmp_path)
    children = generations.population.ask()
    generations.complete(1, [math.nan, 2.0, math.inf, 1.0])
    assert opened(tmp_path).ranked() == [
        ScoredChild(children[3], 1.0), ScoredChild(children[1], 2.0)
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(1, 2, 3, 4), (4, 2, 1, 3)])
def test_last_child_kept_completes_the_generation(order, tmp_path):
    children = population().ask()
    for child in order:
        assert not (tmp_path / "search.json").exists()
        generations = opened(tmp_path)
        assert generations.unscored(1, child) == children[child - 1]
        generations.keep(1, child, loss(children[child - 1]))
        assert generations.unscored(1, child) is None
    assert opened(tmp_path).reports.keys() == {"1"}
    assert opened(tmp_path).population.best() == sorted(
        ((child, loss(child)) for child in children), key=lambda pair: pair[1]
    )
    record = json.loads((tmp_path / "generation_1" / "child_2.json").read_text())
    assert (record["sample"], record["score"]) == (children[1], loss(children[1]))


def test_trials_that_complete_a_generation_at_once_write_the_same(tmp_path):
    children = population().ask()
    for child in (1, 2):
        opened(tmp_path).keep(1, child, loss(children[child - 1]))
    third, fourth = opened(tmp_path), opened(tmp_path)  # both began before the other ended
    written = []
    for child, generations in ((3, third), (4, fourth), (3, third)):
        generations.keep(1, child, loss(children[child - 1]))
        if (tmp_path / "search.json").exists():
            written.append((tmp_path / "search.json").read_text())
    assert len(written) == 2
    assert written[0] == written[1]


def test_report_of_a_child_is_its_own_score(tmp_path):
    generations = opened(tmp_path)
    assert generations.child_report(1, 1) == {}
    for child, score in enumerate([3.0, 1.0, 2.0, 4.0], start=1):
        generations = opened(tmp_path)
        generations.keep(1, child, score)
        best = min([3.0, 1.0, 2.0, 4.0][:child])
        assert generations.child_report(1, child) == {"default": score, "best": best}
        assert opened(tmp_path).child_report(1, child) == {"default": score, "best": best}


@pytest.mark.parametrize("kept", [{1}, {2, 4}, {1, 2, 3}])
def test_generation_of_which_some_failed_is_completed_by_the_next(kept, tmp_path):
    children = population().ask()
    for child in kept:
        opened(tmp_path).keep(1, child, loss(children[child - 1]))
    generations = opened(tmp_path)
    generations.complete_before(1)
    assert generations.reports == {}
    generations.complete_before(2)
    assert generations.reports["1"]["children"] == len(kept)
    assert {repr(child.sample) for child in generations.ranked()} == {
        repr(children[child - 1]) for child in kept
    }
    asked = generations.population.ask()
    assert not any(child in children for child in asked)
    assert opened(tmp_path).population.ask() == asked


def test_several_unfinished_generations_are_completed_in_order(tmp_path):
    def all_but_the_first(number):
        generations = opened(tmp_path)
        generations.complete_before(number)
        for child, sample in itertools.islice(enumerate(generations.population.ask(), 1), 1, None):
            generations.keep(number, child, loss(sample))

    for number in (9, 10, 11):
        all_but_the_first(number)
    generations = opened(tmp_path)
    generations.complete_before(math.inf)
    assert list(generations.reports) == ["9", "10", "11"]
    assert len(generations.ranked()) == 3 * (SIZE - 1)


def test_scores_of_another_search_are_not_taken(tmp_path):
    for child in range(1, SIZE):
        opened(tmp_path).keep(1, child, 0.5)
    other = opened(tmp_path, seed=3)
    assert [other.unscored(1, child) for child in range(1, SIZE + 1)] == other.population.ask()
    for child, sample in enumerate(other.population.ask(), start=1):
        other.keep(1, child, loss(sample))
    assert [child.score for child in other.ranked()] == sorted(map(loss, population(seed=3).ask()))


def test_search_of_another_space_is_refused(tmp_path):
    generations = opened(tmp_path)
    generations.complete(1, losses(generations))
    with pytest.raises(ValueError, match=r"the state.s sample .* is not in the space"):
        opened(tmp_path, space_type=MixedSpace)


WHOLE = {"reports": {}, "population": {"seed": 2, "generation": 0, "scored": []}}


@pytest.mark.parametrize(("content", "message"), [
    ("", " is damaged, or no JSON at all: Expecting value"),
    ("null1", " is damaged, or no JSON at all: Extra data"),
    ("null", " is damaged: it holds null"),
    ("[]", r" is damaged: it holds \[\]; accepted are mappings"),
    ("{}", " is damaged: it lacks 'reports'"),
    ('{"reports": {}}', " is damaged: it lacks 'population'"),
    ('{"reports": [], "population": {}}', r" is damaged: its 'reports' is \[\]; accepted are map"),
    ('{"reports": {}, "reports": {}}', ".*key 'reports' is there twice"),
    ({**WHOLE, "reports": {"first": {}}}, ": its 'reports' has {} for 'first'; accepted are a gen"),
    ({**WHOLE, "reports": {"1": 0.5}}, ": its 'reports' has 0.5 for '1'; accepted"),
    ({**WHOLE, "reports": {"1": {"default": "x"}}}, ": its 'reports' has .* for '1'; accepted"),
    ({**WHOLE, "reports": {"1": {}}}, ": its 'reports' are of 1 generations, and its 'population'"),
    ({**WHOLE, "population": {}}, ": the state lacks 'seed'"),
])  # fmt: skip
def test_malformed_search_does_not_start_over(content, message, tmp_path):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "search.json").write_text(text)
    with pytest.raises(ValueError, match=rf"search.json'{message}"):
        opened(tmp_path)
    assert (tmp_path / "search.json").read_text() == text


@pytest.mark.parametrize(("content", "message"), [
    ("", "is damaged, or no JSON"),
    ("{}", "is damaged: it lacks 'digest'"),
    ('{"digest": "a"}', "is damaged: it lacks 'score'"),
    ('{"digest": "a", "score": "0.5"}', "is damaged: its 'score' is '0.5'; accepted are finite"),
    ('{"digest": "a", "score": NaN}', "is damaged: its 'score' is nan; accepted are finite"),
])  # fmt: skip
def test_malformed_score_of_a_child_is_not_taken_for_missing(content, message, tmp_path):
    generations = opened(tmp_path)
    (tmp_path / "generation_1").mkdir()
    (tmp_path / "generation_1" / "child_2.json").write_text(content)
    with pytest.raises(ValueError, match=rf"child_2.json' {message}"):
        generations.unscored(1, 1)


def test_search_made_with_something_else_is_not_continued(tmp_path):
    generations = Generations(tmp_path, population(), {"checkpoint": "a", "batch_size": 4})
    generations.complete(1, losses(generations))
    again = Generations(tmp_path, population(), {"checkpoint": "a", "batch_size": 4})
    assert again.reports == generations.reports
    with pytest.raises(ValueError, match=r"search.json' was made with .*: batch_size is 4 there"):
        Generations(tmp_path, population(), {"checkpoint": "a", "batch_size": 8})
    assert opened(tmp_path).reports == generations.reports


def test_search_that_does_not_tell_what_it_was_made_with_is_not_continued(tmp_path):
    generations = opened(tmp_path)
    generations.complete(1, losses(generations))
    with pytest.raises(ValueError, match=r"search.json' does not record the settings"):
        Generations(tmp_path, population(), {"checkpoint": "a"})
