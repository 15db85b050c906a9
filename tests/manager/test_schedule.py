"""The schedule alone: which task starts when, whatever trials do."""

import pytest

from nni_magic.manager.schedule import Schedule, pipeline_steps
from nni_magic.manager.stages import Task

SUPERNET = Task(stage="supernet", baselines=["bert"])
FIRST, SECOND = (Task(stage="search", generation=g) for g in (1, 2))
BEST, BERT = Task(stage="retrain", rank=1), Task(stage="retrain", baseline="bert")


@pytest.fixture
def schedule():
    return Schedule(pipeline_steps(2, 1, None, ["bert"]))


def succeed(schedule, task):
    assert schedule.take() == task.parameters()
    schedule.done(str(task))
    assert schedule.ended() == []


def test_steps_of_a_pipeline():
    assert pipeline_steps(2, 1, None, ["bert"]) == [[SUPERNET], [FIRST], [SECOND], [BEST, BERT]]
    assert pipeline_steps(1, 0, None, []) == [[SUPERNET], [FIRST], []]


def test_children_with_trials_of_their_own_are_one_step():
    _, generation, _ = pipeline_steps(1, 0, 3, [])
    assert generation == [
        Task(stage="search", generation=1, child=child, children=3) for child in (1, 2, 3)
    ]


def test_a_step_waits_for_the_one_before(schedule):
    assert schedule.take() == SUPERNET.parameters()
    assert schedule.take() is None
    schedule.done("supernet")
    assert schedule.take() is None  # its trial has not ended
    assert schedule.ended() == []
    assert schedule.take() == FIRST.parameters()


def test_tasks_of_a_step_run_together_until_all_are_over(schedule):
    for task in (SUPERNET, FIRST, SECOND):
        succeed(schedule, task)
    assert [schedule.take(), schedule.take()] == [BEST.parameters(), BERT.parameters()]
    assert schedule.take() is None
    for task in (BERT, BEST):
        assert not schedule.finished
        schedule.done(str(task))
        schedule.ended()
    assert schedule.finished
    assert schedule.take() is None


def test_failed_task_is_taken_twice_then_given_up(schedule):
    succeed(schedule, SUPERNET)
    assert schedule.take() == FIRST.parameters()
    assert schedule.ended() == []
    assert schedule.take() == FIRST.parameters(attempt=2)
    assert schedule.ended() == [FIRST]
    assert schedule.take() == SECOND.parameters()


def test_nothing_follows_a_supernet_that_is_given_up(schedule):
    for _ in range(Schedule.attempts):
        assert schedule.take()["stage"] == "supernet"
        given_up = schedule.ended()
    assert given_up == [SUPERNET]
    assert schedule.finished and schedule.take() is None


def test_which_of_several_failed_is_known_when_none_runs(schedule):
    for task in (SUPERNET, FIRST, SECOND):
        succeed(schedule, task)
    schedule.take(), schedule.take()
    assert schedule.ended() == []
    schedule.done(str(BEST))
    assert schedule.take() is None  # the other trial may yet give the second result
    assert schedule.ended() == []
    assert schedule.take() == BERT.parameters(attempt=2)


def test_trial_of_a_later_step_at_a_resume_means_that_the_steps_before_are_over(schedule):
    schedule.resumed(SECOND.parameters(attempt=2))
    assert schedule.take() is None
    assert schedule.ended() == [SECOND]  # it was the second try
    assert schedule.take() == BEST.parameters()


def test_result_of_another_pipeline_is_refused(schedule):
    with pytest.raises(ValueError, match="'search, generation 9' is no task of this experiment"):
        schedule.done("search, generation 9")
