"""Kills are drawn by the seed, at every stage of every run; those that were got to are judged."""

import multiprocessing
import signal
from collections import Counter

import pytest

from experiments.faults import kills
from experiments.faults.kills import AGAIN, CLOCK, PER_STAGE, Kill, Scenario, scenarios
from experiments.faults.points import FORWARD, INSIDE, STEP, Board

WHOLE = {"points": {FORWARD: 9, INSIDE: 3}, "milliseconds": 1000, "bytes": [50, 70], "steps": 12,
         "scores": 6}  # fmt: skip
WHOLES = {("own program", "spos"): WHOLE, ("text", "magic_at"): WHOLE}


def test_every_stage_of_every_run_is_drawn():
    drawn = list(scenarios(WHOLES, seed=0))
    of = Counter((each.run, each.kind) for each in drawn)
    assert of["own program", FORWARD] == of["own program", INSIDE] == PER_STAGE
    assert of["text", FORWARD] == of["text", CLOCK] == 1
    again = [each for each in drawn if each.kind == f"{AGAIN} times, by the clock"]
    assert [len(each.kills) for each in again] == [AGAIN, AGAIN]
    for each in drawn:
        for kill in each.kills:
            if kill.stage in WHOLE["points"]:
                assert 1 <= kill.number <= WHOLE["points"][kill.stage]
            assert (0 < kill.byte < 70) == (kill.stage == INSIDE)


def test_same_seed_draws_the_same_kills():
    assert list(scenarios(WHOLES, 1)) == list(scenarios(WHOLES, 1)) != list(scenarios(WHOLES, 2))


class Run:
    """A run whose attempts end as they are told."""

    statuses: list

    def __init__(self, name, strategy, data, folder):
        self.output, self.log = folder / "out", folder / "log.txt"
        self.output.mkdir(parents=True)
        self.log.write_text("error: x\n")
        self.board = Board(multiprocessing.get_context("fork"))
        for _ in range(14):
            self.board.step()

    def attempt(self, kill=None):
        return self.statuses.pop(0)


@pytest.mark.parametrize(("statuses", "differs", "n", "wrong"), [
    ([-signal.SIGKILL, 0], [], 1, ""),
    ([-signal.SIGXFSZ, 0], [], 1, ""),
    ([0, 0], [], 0, ""),
    ([-signal.SIGKILL, 1], [], 1, "did not go on: status 1: error: x"),
    ([-signal.SIGKILL, 0], ["a", "b"], 1, "a; b"),
])  # fmt: skip
def test_run_that_went_on_is_judged(statuses, differs, n, wrong, tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "_Run", Run)
    monkeypatch.setattr(Run, "statuses", statuses, raising=False)
    monkeypatch.setattr(kills, "differences", lambda whole, other: differs)
    scenario = Scenario("text", "spos", STEP, (Kill(STEP, 3),))
    found = kills._disturbed(scenario, {**WHOLE, "scores": 0}, tmp_path, tmp_path / "run")
    assert [each.wrong for each in found] == [wrong] * n
    assert all(each.lost == {"steps": 2, "scores": 0} for each in found)
    assert (tmp_path / "run").exists() == bool(wrong)
