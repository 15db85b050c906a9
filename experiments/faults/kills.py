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

CLOCK = "any time, by the clock"
PER_STAGE = 2
"""Kills of each stage of each run with each strategy."""
BY_CLOCK = 2
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}


@dataclass(frozen=True)
class Scenario:
    """A run, and where it is killed, one time after the other; ``seconds`` is of the clock."""

    run: str
    strategy: str
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


def scenarios(
    wholes: dict[tuple[str, str], dict[str, Any]], seed: int, per_stage: int
) -> Iterator[Scenario]:
    """Draw the kills: every stage of every run, two after another for half of them."""
    for (name, strategy), whole in wholes.items():
        rng = random.Random(f"{seed} {name} {strategy}")
        kills = [_draw(stage, n, whole, rng) for stage, n in sorted(whole["points"].items())
                 for _ in range(per_stage)]  # fmt: skip
        kills += [
            Kill(CLOCK, rng.randrange(whole["milliseconds"] // 4, whole["milliseconds"]))
            for _ in range(BY_CLOCK)
        ]
        rng.shuffle(kills)
        while kills:
            yield Scenario(name, strategy, tuple(kills.pop() for _ in range(min(2, len(kills)))))


def _draw(stage: str, n: int, whole: dict[str, Any], rng: random.Random) -> Kill:
    byte = rng.randrange(1, max(whole["bytes"])) if stage == INSIDE else 0
    return Kill(stage, rng.randint(1, n), byte)


def _disturbed(scenario: Scenario, whole: dict[str, Any], data: Path, folder: Path) -> list[Tried]:
    """Kill a run, let it end, and compare; gives its kills, without those it did not get to."""
    run = _Run(scenario.run, scenario.strategy, data, folder)
    hit: list[Kill] = []
    wrong = ""
    for kill in scenario.kills:
        status = run.attempt(kill)
        if status in KILLED:
            hit.append(kill)
        elif status:
            wrong = f"status {status} where it was to be killed: {last_line(run.log)}"
    if not wrong and (status := run.attempt()):
        wrong = f"did not go on: status {status}: {last_line(run.log)}"
    reference = data / "whole" / f"{scenario.run}-{scenario.strategy}" / "out"
    wrong = wrong or "; ".join(list(differences(reference, run.output))[:3])
    if not wrong:
        shutil.rmtree(folder)
    lost = {
        "steps": max(0, run.board.steps - whole["steps"]) / max(1, len(hit)),
        "scores": max(0, run.board.scores - whole["scores"]) / max(1, len(hit)),
    }
    place = f"{scenario.run}, {scenario.strategy}"
    return [Tried(kill.stage, wrong, f"{place}, {tuple(kill)[1:]}", lost) for kill in hit]


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
    drawn = list(scenarios(wholes, campaign.seed, 1 if campaign.short else PER_STAGE))
    drawn = drawn[:: max(1, len(drawn) // 8)] if campaign.short else drawn
    jobs = [(each, wholes[each.run, each.strategy], data, data / str(n))
            for n, each in enumerate(drawn)]  # fmt: skip
    return [each for those in in_workers(_disturbed, jobs, campaign.workers) for each in those]


KILLS = Part("kills", "SIGKILLs by stage, and the results of the runs that go on", kills)
