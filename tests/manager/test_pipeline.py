"""The trial's side of the pipeline: stages, files, and trials that were killed."""

import itertools
import json
import math
import random
import threading
import time

import pytest
from spaces import FlatSpace

from nni_magic.manager.pipeline import Pipeline
from nni_magic.manager.stages import Task
from nni_magic.search import Population

SIZE = 6


class Killed(Exception):
    """Stands for a killed process."""


class FakeTrial:
    """The line to the manager, which records what is reported."""

    def __init__(self, parameters, is_first_rank=True):
        self.parameters, self.is_first_rank = parameters, is_first_rank
        self.curve, self.final = [], None

    def report_intermediate(self, **values):
        self.curve.append(values)

    def report_final(self, default, task, **others):
        assert task == str(Task.parse(self.parameters))
        self.final = {"default": default, **others}


def population(**settings):
    return Population(FlatSpace(4, 4), **{"size": SIZE, "seed": 5, **settings})


def loss(sample):
    """A score without any structure, the same in every process."""
    return random.Random(repr(sorted(sample.items()))).random()


def score(samples):
    return [loss(sample) for sample in samples]


def refuse(*arguments):
    raise AssertionError("is not this trial's stage")


def trial(folder, stage, is_first_rank=True, **work):
    """Run one trial; only the callables given may be called."""
    number = {name: work.pop(name) for name in tuple(work) if name in NUMBERS}
    line = FakeTrial({"stage": stage, **number}, is_first_rank)
    wanted = {"train_supernet": refuse, "population": refuse, "score": refuse, "retrain": refuse}
    given = Pipeline(line, folder).run(**{**wanted, **work})
    assert given == (line.final or {})
    return line


NUMBERS = ("generation", "child", "children", "rank", "baseline", "attempt")


def search(folder, generation, score=score, population=population, **number):
    if "child" in number:
        number = {"children": population().size, **number}
    return trial(folder, "search", generation=generation, score=score, population=population,
                 **number)  # fmt: skip


def reference(generations, score=score, **settings):
    """The search in one go: scores of every generation, and the ranking."""
    searched, scores = population(**settings), []
    for _ in range(generations):
        scores.append(list(score(searched.ask())))
        searched.tell(searched.ask(), scores[-1])
    return scores, searched.best()


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# The supernet and retraining


def test_supernet_is_trained_once(tmp_path):
    calls = []
    for _ in range(2):
        line = trial(
            tmp_path, "supernet", train_supernet=lambda: calls.append(1) or {"default": 2, "n": 3}
        )
        assert line.final == {"default": 2.0, "n": 3.0}
    assert calls == [1]
    assert files(tmp_path) == ["supernet.json"]


def test_best_children_are_retrained(tmp_path):
    for generation in (1, 2):
        search(tmp_path, generation)
    _, ranking = reference(2)
    for rank, (sample, inherited) in enumerate(ranking[:3], start=1):
        trained = []
        for _ in range(2):
            line = trial(
                tmp_path, "retrain", rank=rank, population=population,
                retrain=lambda child, trained=trained: trained.append(child) or {"default": 0.25},
            )  # fmt: skip
            assert line.final == {"default": 0.25}
        assert trained == [sample]
        record = json.loads((tmp_path / f"rank_{rank}.json").read_text())
        assert record["sample"] == sample
        assert record["inherited_score"] == inherited
        assert record["report"] == {"default": 0.25}


def test_result_of_another_child_is_not_taken_for_the_childs(tmp_path):
    search(tmp_path, 1)
    (tmp_path / "rank_1.json").write_text('{"digest": "other", "report": {"default": 9.0}}')
    line = trial(
        tmp_path, "retrain", rank=1, population=population, retrain=lambda child: {"default": 1}
    )
    assert line.final == {"default": 1.0}


def test_baseline_is_trained(tmp_path):
    line = trial(
        tmp_path, "retrain", baseline="bert", train_baseline=lambda name: {"default": len(name)}
    )
    assert line.final == {"default": 4.0}
    assert json.loads((tmp_path / "baseline_bert.json").read_text()) == {
        "baseline": "bert", "report": {"default": 4.0},
    }  # fmt: skip


def test_killed_training_leaves_nothing(tmp_path):
    def killed():
        raise Killed

    with pytest.raises(Killed):
        trial(tmp_path, "supernet", train_supernet=killed)
    assert files(tmp_path) == []
    assert trial(tmp_path, "supernet", train_supernet=lambda: {"default": 1}).final


@pytest.mark.parametrize("record", ["[]", "{}", '{"report": 1}', '{"report": {"default": "x"}}'])
def test_malformed_record_of_a_training_is_named(tmp_path, record):
    (tmp_path / "supernet.json").write_text(record)
    with pytest.raises(ValueError, match=r"supernet.json' is damaged: "):
        trial(tmp_path, "supernet", train_supernet=lambda: {"default": 1})


def test_training_that_another_trial_does_now_is_refused(tmp_path):
    def second():
        with pytest.raises(ValueError, match=r"the lock of \S+ is '\S+supernet.lock', into which"):
            trial(tmp_path, "supernet", train_supernet=lambda: {"default": 1})
        return {"default": 2}

    assert trial(tmp_path, "supernet", train_supernet=second).final == {"default": 2.0}


def test_other_ranks_train_and_report_nothing(tmp_path):
    line = trial(tmp_path, "supernet", is_first_rank=False, train_supernet=lambda: {})
    assert line.final is None
    assert files(tmp_path) == []


# The search, a generation a trial


@pytest.mark.parametrize("mode", ["min", "max"])
def test_trials_continue_each_others_search(mode, tmp_path):
    scores, ranking = reference(4, mode=mode)
    best = {"min": min, "max": max}[mode]
    for generation in range(1, 5):
        line = search(tmp_path, generation, population=lambda: population(mode=mode))
        own = scores[generation - 1]
        assert line.final == {
            "default": best(itertools.chain(*scores[:generation])),
            "generation_best": best(own),
            "generation_mean": pytest.approx(sum(own) / SIZE),
            "children": SIZE,
        }
    state = json.loads((tmp_path / "search.json").read_text())
    again = population(mode=mode)
    again.load_state_dict(state["population"])
    assert again.best() == ranking
    assert files(tmp_path) == ["search.json"]


def test_search_reports_the_best_so_far_beside_the_trainings_axis(tmp_path):
    search(tmp_path, 1)
    line = search(tmp_path, 2)
    (first, second), _ = reference(2)
    assert [point["children"] for point in line.curve] == [2, 4, 6]
    for point in line.curve:
        known = first + second[: point["children"]]
        assert point["best"] == min(known)
        assert "default" not in point  # which the web page draws beside the trainings' losses
        assert point["generation_best"] == min(second[: point["children"]])
    last = line.curve[-1]
    assert line.final == {"default": last.pop("best"), **last}


def test_score_is_called_a_few_times(tmp_path):
    calls = []

    def counted(samples):
        calls.append(len(samples))
        return score(samples)

    search(tmp_path, 1, score=counted, population=lambda: population(size=52))
    assert calls == [11, 11, 11, 11, 8]


def test_generation_scored_already_is_only_reported(tmp_path):
    first = search(tmp_path, 1)
    again = search(tmp_path, 1, score=refuse, attempt=2)
    assert again.final == first.final
    assert search(tmp_path, 2).final["default"] <= first.final["default"]


def test_killed_generation_is_scored_from_its_start(tmp_path):
    calls = []

    def killed(samples):
        calls.extend(samples)
        if len(calls) > 3:
            raise Killed
        return score(samples)

    search(tmp_path, 1)
    before = (tmp_path / "search.json").read_text()
    with pytest.raises(Killed):
        search(tmp_path, 2, score=killed)
    assert (tmp_path / "search.json").read_text() == before
    search(tmp_path, 2)
    _, ranking = reference(2)
    assert best_of(tmp_path) == ranking


def best_of(folder):
    searched = population()
    searched.load_state_dict(json.loads((folder / "search.json").read_text())["population"])
    return searched.best()


def test_generation_that_was_given_up_is_made_good_by_the_next(tmp_path):
    for generation in (1, 3):
        search(tmp_path, generation)
    assert best_of(tmp_path) == reference(2)[1]


def test_children_without_a_score_count_as_scored_last(tmp_path):
    def half(samples):
        return [loss(sample) if loss(sample) < 0.5 else math.nan for sample in samples]

    line = search(tmp_path, 1, score=half)
    finite = [value for value in half(population().ask()) if value == value]
    assert 0 < len(finite) < SIZE
    assert line.final["children"] == len(finite)
    assert line.final["generation_mean"] == pytest.approx(sum(finite) / len(finite))
    search(tmp_path, 2)


def test_exhausted_space_is_no_error(tmp_path):
    def few():
        return Population(FlatSpace(2, 2), size=3, seed=0)

    counts = [search(tmp_path, g, population=few).final["children"] for g in (1, 2, 3)]
    assert counts == [3, 1, 0]


# The search, a child a trial


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_children_scored_one_by_one_give_the_same_search(order, tmp_path):
    def three():
        return population(size=3)

    (first, second), ranking = reference(2, size=3)
    for generation, own in enumerate([first, second], start=1):
        for child in order:
            line = search(tmp_path, generation, child=child, population=three)
            assert line.final["default"] == own[child - 1]
    assert line.final["best"] == min(first + second)
    assert best_of(tmp_path) == ranking


def test_child_scored_already_is_only_reported(tmp_path):
    first = [search(tmp_path, 1, child=child).final["default"] for child in range(1, SIZE + 1)]
    for child in range(1, SIZE + 1):
        line = search(tmp_path, 1, child=child, score=refuse)
        assert line.final == {"default": first[child - 1], "best": min(first)}


def test_two_trials_complete_a_generation_at_once(tmp_path):
    for child in range(1, SIZE):
        search(tmp_path, 1, child=child)

    def both(samples):  # another trial scores the same child and is done before
        search(tmp_path, 1, child=SIZE)
        return score(samples)

    search(tmp_path, 1, child=SIZE, score=both)
    assert best_of(tmp_path) == reference(1)[1]


@pytest.mark.parametrize("then", ["search", "retrain"])
def test_child_that_was_given_up_ranks_last(then, tmp_path):
    for child in range(2, SIZE + 1):
        search(tmp_path, 1, child=child)
    if then == "search":
        search(tmp_path, 2, child=1)
    else:
        trial(
            tmp_path, "retrain", rank=1, population=population, retrain=lambda child: {"default": 1}
        )
    asked = population().ask()
    ranking = best_of(tmp_path)
    assert ranking[-1][0] == asked[0]
    assert math.isnan(ranking[-1][1])
    assert ranking[:-1] == sorted(
        ((sample, loss(sample)) for sample in asked[1:]), key=lambda pair: pair[1]
    )


def test_child_whose_score_is_no_number_fails(tmp_path):
    with pytest.raises(ValueError, match="no score is a finite number after search, generation 1"):
        search(tmp_path, 1, child=1, score=lambda samples: [math.nan])
    assert files(tmp_path) == []
    search(tmp_path, 1, child=1)


def test_scores_of_an_earlier_seed_are_not_taken(tmp_path):
    search(tmp_path, 1, child=1)
    line = search(tmp_path, 1, child=1, population=lambda: population(seed=6))
    assert line.final["default"] == loss(population(seed=6).ask()[0])


def test_child_beyond_an_exhausted_space_reports_the_best(tmp_path):
    def few():
        return Population(FlatSpace(2, 2), size=3, seed=0)

    scores = [
        search(tmp_path, generation, child=child, population=few).final
        for generation in (1, 2)
        for child in (1, 2, 3)
    ]
    best = min(report["default"] for report in scores)
    assert scores[-1] == {"default": best, "best": best}


# Where and what


def test_training_of_a_lost_machine_is_waited_for_and_its_result_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("NNI_PLATFORM", "remote")
    lost = Pipeline(FakeTrial({"stage": "supernet"}), tmp_path)
    work = {"population": dict, "score": list, "retrain": dict}

    def train():
        again = threading.Thread(target=run_again)
        again.start()
        time.sleep(1)
        waiting.append(again)
        return {"default": 3.0}

    def run_again():
        trial = FakeTrial({"stage": "supernet", "attempt": 2})
        found.append(Pipeline(trial, tmp_path).run(train_supernet=pytest.fail, **work))

    waiting, found = [], []
    assert lost.run(train_supernet=train, **work) == {"default": 3.0}
    waiting[0].join(30)
    assert found == [{"default": 3.0}]


def test_trial_of_another_tuner_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"parameters are \{'lr': 0.1\}; accepted are those"):
        Pipeline(FakeTrial({"lr": 0.1}), tmp_path)


@pytest.mark.parametrize("report", [{}, {"loss": 1.0}, {"default": math.nan},
                                    {"default": 1.0, "other": math.inf}])  # fmt: skip
def test_training_without_a_finite_result_fails(report, tmp_path):
    with pytest.raises(ValueError, match=r"the training of supernet gave .*; accepted are f"):
        trial(tmp_path, "supernet", train_supernet=lambda: report)
    assert files(tmp_path) == []


def test_generation_without_a_finite_score_fails(tmp_path):
    with pytest.raises(ValueError, match="no score is a finite number after search, generation 1"):
        search(tmp_path, 1, score=lambda samples: [math.nan] * len(samples))
    assert files(tmp_path) == []


@pytest.mark.parametrize("rank", [1, SIZE + 1])
def test_rank_that_the_search_does_not_have_is_named(rank, tmp_path):
    known = 0
    if rank > 1:
        search(tmp_path, 1)
        known = SIZE
    message = rf"rank is {rank}; accepted are 1 to {known}, the children .* in \S+ has scored"
    with pytest.raises(ValueError, match=message):
        trial(tmp_path, "retrain", rank=rank, population=population)


def test_baseline_that_the_program_does_not_know_is_named(tmp_path):
    with pytest.raises(ValueError, match="wants baseline 'bert', but train_baseline is not given"):
        trial(tmp_path, "retrain", baseline="bert")


@pytest.mark.parametrize("children", [2, 7])
def test_another_number_of_children_than_the_populations_is_named(tmp_path, children):
    message = f"the tuner's children is {children}; accepted is the size of the trial's popul.* 6"
    with pytest.raises(ValueError, match=message):
        search(tmp_path, 1, child=1, children=children)


def test_score_of_the_other_direction_is_refused(tmp_path):
    def accuracy(samples):
        return score(samples)

    accuracy.mode = "max"
    with pytest.raises(ValueError, match="mode is 'min', but that of the score is 'max'"):
        search(tmp_path, 1, score=accuracy)
