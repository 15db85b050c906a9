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
from experiments.faults.runs import EVERY_RUN, differences, start, write_corpus
from experiments.faults.small import SMALL_RUNS
from experiments.faults.tried import Campaign, Part, Tried
from nni_magic.strategies.registry import METHODS

__all__ = ["CLOCK", "KILLS", "Scenario", "kills", "scenarios"]

CLOCK = "once at any time, by the clock"
AGAIN = 5
"""Times that a run is killed before it is left alone."""
PER_STAGE = 2
"""Kills at each stage of each short run; one in those of ``nni-magic train``."""
KILLED = {-signal.SIGKILL, -signal.SIGXFSZ}


@dataclass(frozen=True)
class Scenario:
    """A run, and where it is killed; the numbers of a kill by the clock are milliseconds."""

    run: str
    strategy: str
    kind: str
    kills: tuple[Kill, ...]


def _attempt(
    run: tuple[str, str, Path, Path], board: Board, kill: Kill | None, counts: Path
) -> None:
    points = Points(run[-1], board, kill)
    points.watch()
    start(*run)
    # Where nothing was to be disturbed, the points are counted for those that follow.
    counts.write_text(json.dumps(points.counts))


class _Run:
    """The attempts at one run, in a folder of its own."""

    def __init__(self, name: str, strategy: str, data: Path, folder: Path) -> None:
        self.output, self.counts = folder / "out", folder / "counts.json"
        folder.mkdir(parents=True)
        self.run = name, strategy, data, self.output
        self.board = Board(multiprocessing.get_context("fork"))
        self.log = folder / "log.txt"

    def attempt(self, kill: Kill | None = None) -> int:
        clock = kill is not None and kill.stage == CLOCK
        arguments = (self.run, self.board, None if clock else kill, self.counts)
        seconds = kill.number / 1000 if kill is not None and clock else None
        return forked(_attempt, *arguments, log=self.log, kill_after=seconds)


def _whole(name: str, strategy: str, data: Path, folder: Path) -> dict[str, Any] | None:
    """A run that nobody disturbs, and its points; none of a strategy that refuses to shrink."""
    run = _Run(name, strategy, data, folder)
    begin = time.monotonic()
    status = run.attempt()
    if status and last_line(run.log).startswith("ValueError: shrinking is"):
        return None
    if status:
        raise RuntimeError(f"the undisturbed {name}, {strategy} failed: {last_line(run.log)}")
    return {
        "points": json.loads(run.counts.read_text()),
        "steps": run.board.steps,
        "scores": run.board.scores,
        "milliseconds": round(1000 * (time.monotonic() - begin)),
        "bytes": [path.stat().st_size for path in sorted(run.output.rglob("*.ckpt"))],
    }


def scenarios(wholes: dict[tuple[str, str], dict[str, Any]], seed: int) -> Iterator[Scenario]:
    """Draw the kills: at every stage, once by the clock, and several times one after the other."""
    for (name, strategy), whole in wholes.items():
        rng = random.Random(f"{seed} {name} {strategy}")
        for stage, n in sorted(whole["points"].items()):
            for _ in range(PER_STAGE if name in SMALL_RUNS else 1):
                byte = rng.randrange(1, max(whole["bytes"])) if stage == INSIDE else 0
                yield Scenario(name, strategy, stage, (Kill(stage, rng.randint(1, n), byte),))
        long = whole["milliseconds"]
        once = Kill(CLOCK, rng.randrange(long // 8, long * 3 // 4))
        yield Scenario(name, strategy, CLOCK, (once,))
        again = (Kill(CLOCK, rng.randrange(long // 6, long // 2)) for _ in range(AGAIN))
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


OF_CHILDREN = [name for name, row in METHODS.items() if not row.differentiable]


def _pairs(short: bool) -> Iterator[tuple[str, str]]:
    """Runs with strategies: own programs with all, ``nni-magic train`` with the paper's."""
    for name in [*SMALL_RUNS][-1:] if short else EVERY_RUN:
        for strategy in OF_CHILDREN if name in SMALL_RUNS and not short else ["magic_at"]:
            yield name, strategy


def kills(campaign: Campaign) -> list[Tried]:
    """Kill every run with every strategy."""
    data = campaign.folder / "kills"
    data.mkdir()
    write_corpus(data / "corpus")
    pairs = [*_pairs(campaign.short)]
    folders = {pair: data / "whole" / "-".join(pair) for pair in pairs}
    jobs = [(*pair, data, folder) for pair, folder in folders.items()]
    # One of the text makes the tokens that the others share, before there are others.
    first = [job for job in jobs if job[0] not in SMALL_RUNS][:1] or jobs[:1]
    known = in_workers(_whole, first, 1)
    others = [job for job in jobs if job not in first]
    known += in_workers(_whole, others, campaign.workers)
    wholes = {job[:2]: each for job, each in zip([*first, *others], known, strict=True) if each}
    drawn = list(scenarios(wholes, campaign.seed))
    drawn = drawn[:: max(1, len(drawn) // 8)] if campaign.short else drawn
    disturbed = [(each, wholes[each.run, each.strategy], data, data / str(n))
                 for n, each in enumerate(drawn)]  # fmt: skip
    found = in_workers(_disturbed, disturbed, campaign.workers)
    return [each for those in found for each in those]


KILLS = Part("kills", "SIGKILLs by stage, and the results of the runs that go on", kills)
