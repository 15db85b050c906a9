"""Runs are killed with ``SIGKILL``, at points of every stage and by the clock, and started again.

What each ends with is compared, bit for bit, with a run that nobody disturbed. Lost are the steps
that were trained, and the children that were scored, a second time.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.faults.points import INSIDE, Board, Kill, Points
from experiments.faults.processes import forked, in_workers, last_line
from experiments.faults.runs import RUNS, differences, train, words_of, write_corpus
from experiments.faults.tried import Campaign, Part, Tried
from nni_magic.strategies.registry import METHODS

__all__ = ["CLOCK", "KILLS", "Scenario", "kills", "scenarios"]

CLOCK = "once at any time, by the clock"
AGAIN = 5
"""Times that a run is killed before it is left alone."""
STAGED_RUN, STAGED_STRATEGY = "text", "magic_at"
"""All strategies in this run, and this strategy in all runs, are killed at every stage."""
PER_STAGE = 2
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}


@dataclass(frozen=True)
class Scenario:
    """A run, and where it is killed; the numbers of a kill by the clock are milliseconds."""

    run: str
    strategy: str
    kind: str
    kills: tuple[Kill, ...]


def _attempt(words: list[str], output: Path, board: Board, kill: Kill | None, counts: Path) -> None:
    points = Points(output, board, kill)
    points.watch()
    train(words)
    # Where nothing was to be disturbed, the points are counted for those that follow.
    counts.write_text(json.dumps(points.counts))


class _Run:
    """The attempts at one run, in a folder of its own."""

    def __init__(self, name: str, strategy: str, data: Path, folder: Path) -> None:
        self.output, self.counts = folder / "out", folder / "counts.json"
        folder.mkdir(parents=True)
        self.words = words_of(name, strategy, data, self.output)
        self.board = Board(multiprocessing.get_context("fork"))
        self.log = folder / "log.txt"

    def attempt(self, kill: Kill | None = None) -> int:
        clock = kill is not None and kill.stage == CLOCK
        arguments = (self.words, self.output, self.board, None if clock else kill, self.counts)
        seconds = kill.number / 1000 if kill is not None and clock else None
        return forked(_attempt, *arguments, log=self.log, kill_after=seconds)


def _whole(name: str, strategy: str, data: Path, folder: Path) -> dict[str, Any]:
    """A run that nobody disturbs, and its points."""
    run = _Run(name, strategy, data, folder)
    begin = time.monotonic()
    if run.attempt() != 0:
        raise RuntimeError(f"the undisturbed run of {name}, {strategy} failed: {last_line(run.log)}")
    return {
        "points": json.loads(run.counts.read_text()),
        "steps": run.board.steps,
        "scores": run.board.scores,
        "milliseconds": round(1000 * (time.monotonic() - begin)),
        "bytes": [path.stat().st_size for path in sorted(run.output.rglob("*.ckpt"))],
    }


def scenarios(wholes: dict[tuple[str, str], dict[str, Any]], seed: int) -> Iterator[Scenario]:
    """Draw the kills: those of every strategy at every stage, and all others by the clock."""
    for (name, strategy), whole in wholes.items():
        rng = random.Random(f"{seed} {name} {strategy}")
        if name == STAGED_RUN or strategy == STAGED_STRATEGY:
            for stage, n in sorted(whole["points"].items()):
                for _ in range(PER_STAGE):
                    byte = rng.randrange(1, max(whole["bytes"])) if stage == INSIDE else 0
                    yield Scenario(name, strategy, stage, (Kill(stage, rng.randint(1, n), byte),))
        long = whole["milliseconds"]
        yield Scenario(name, strategy, CLOCK, (Kill(CLOCK, rng.randrange(long // 4, long)),))
        again = (Kill(CLOCK, rng.randrange(long // 3, long * 2 // 3)) for _ in range(AGAIN))
        yield Scenario(name, strategy, f"{AGAIN} times, by the clock", tuple(again))


def _disturbed(scenario: Scenario, whole: dict[str, Any], data: Path, folder: Path) -> list[Tried]:
    """Kill a run, let it end, and compare; gives its kills, without those it did not get to."""
    run = _Run(scenario.run, scenario.strategy, data, folder)
    statuses = [run.attempt(kill) for kill in scenario.kills]
    n_killed = sum(status in KILLED for status in statuses)
    wrong = ""
    if bad := [status for status in (*statuses, run.attempt()) if status not in (0, *KILLED)]:
        wrong = f"did not go on: status {bad[0]}: {last_line(run.log)}"
    reference = data / "whole" / f"{scenario.run}-{scenario.strategy}" / "out"
    wrong = wrong or "; ".join(list(differences(reference, run.output))[:3])
    if not wrong:
        shutil.rmtree(folder)
    lost = {name: getattr(run.board, name) - whole[name] for name in ("steps", "scores")}
    place = f"{scenario.run}, {scenario.strategy}, {[tuple(kill)[1:] for kill in scenario.kills]}"
    return [Tried(scenario.kind, wrong, place, lost) for _ in range(n_killed)]


def kills(campaign: Campaign) -> list[Tried]:
    """Kill every run with every strategy."""
    data = campaign.folder / "kills"
    data.mkdir()
    write_corpus(data / "corpus")
    names = ["shrinking", "retraining"] if campaign.short else [*RUNS]
    strategies = ["magic_at"] if campaign.short else [*METHODS]
    pairs = [(name, strategy) for name in names for strategy in strategies]
    folders = {pair: data / "whole" / "-".join(pair) for pair in pairs}
    jobs = [(*pair, data, folder) for pair, folder in folders.items()]
    # The first one makes the tokens that the others share.
    found = in_workers(_whole, jobs[:1], 1) + in_workers(_whole, jobs[1:], campaign.workers)
    wholes = dict(zip(pairs, found, strict=True))
    drawn = list(scenarios(wholes, campaign.seed))
    drawn = drawn[:: max(1, len(drawn) // 8)] if campaign.short else drawn
    jobs = [(each, wholes[each.run, each.strategy], data, data / str(n))
            for n, each in enumerate(drawn)]  # fmt: skip
    return [each for those in in_workers(_disturbed, jobs, campaign.workers) for each in those]


KILLS = Part("kills", "SIGKILLs by stage, and the results of the runs that go on", kills)
