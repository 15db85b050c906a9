"""Times of a run's parts: over several starts, and only of what has got on."""

import pytest
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.programs import clock as clock_module
from nni_magic.programs.clock import Clock, TimedEpochs


@pytest.fixture
def now(monkeypatch):
    """The time, which a test sets."""
    time = [100.0]
    monkeypatch.setattr(clock_module.time, "monotonic", lambda: time[0])
    return time


def test_time_of_all_starts_is_added(now, tmp_path):
    clock = Clock(tmp_path / "seconds.json")
    for seconds in (2.0, 3.0):
        now[0] += seconds
        clock.add("train")
    now[0] += 50  # of no part, as what followed was killed
    again = Clock(tmp_path / "seconds.json")
    assert again.seconds == {"train": 5.0}
    now[0] += 1
    again.add("train")
    now[0] += 4
    again.add("search")
    assert Clock(tmp_path / "seconds.json").seconds == {"train": 6.0, "search": 4.0}


def test_part_that_is_done_anew_is_counted_anew(now, tmp_path):
    clock = Clock(tmp_path / "seconds.json")
    now[0] += 2
    clock.add("train")
    now[0] += 2
    clock.begin(anew="train")
    now[0] += 1
    clock.add("train")
    assert Clock(tmp_path / "seconds.json").seconds == {"train": 1.0}


@pytest.mark.parametrize(("content", "message"), [
    ("{}", "is damaged: it lacks 'seconds'"),
    ('{"seconds": 3}', "is damaged: its 'seconds' is 3; accepted are mappings"),
    ('{"seconds": {"train": "3"}}', ": train is '3'; accepted are finite numbers of at least 0"),
    ('{"seconds": {"train": -1}}', ": train is -1; accepted are finite numbers of at least 0"),
])  # fmt: skip
def test_damaged_file_is_named(content, message, tmp_path):
    (tmp_path / "seconds.json").write_text(content)
    with pytest.raises(ValueError, match=rf"seconds.json'( |){message}"):
        Clock(tmp_path / "seconds.json")


def test_epochs_of_all_starts_are_counted_until_a_training_is_done_anew(tmp_path):
    def start(watch, checkpoint=None):
        clock = Clock(tmp_path / "seconds.json")
        evaluator = classification(watch)
        evaluator.trainer.callbacks.append(TimedEpochs(clock, "train"))
        train(make("spos"), ConvSpace(), evaluator, checkpoint)
        return clock.seconds["train"]

    first = start(Watch(8, tmp_path / "a.ckpt"))
    second = start(Watch(), tmp_path / "a.ckpt")
    assert second > first > 0
    assert 0 < start(Watch(14, tmp_path / "b.ckpt")) < second
