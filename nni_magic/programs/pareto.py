"""The children of a trained supernet that trade validation loss and cost off best.

::

    nni-magic pareto bert --checkpoint supernet.ckpt --cost flops --output runs/pareto

writes ``front.csv`` and ``front.png``. A search that is started again continues: what has been
scored is kept in ``scored.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler

from ..children.samples import candidates
from ..search import ParetoFront, pareto_search
from ..supernet.checkpoint import (
    CHECKPOINT_KEY,
    check_space,
    load_supernet,
    read_checkpoint,
    require_file,
)
from ..support.files import filled_folder, write_json
from ..support.locks import sole_writer
from ..support.made_with import read_result
from ..tasks.domain import Domain
from ..tasks.registry import Task
from .made_with import scored_with
from .settings import Cost, ParetoSettings

__all__ = ["known_scores", "run", "search"]

UNITS = {"params": 1e3, "flops": 1e6}


def title(cost: Cost, domain: Domain) -> str:
    """What the front's table calls a cost."""
    if cost == "params":
        return "parameters (thousands)"
    return f"multiply-adds {'an' if domain.row[0] in 'aeiou' else 'a'} {domain.row} (millions)"


def check_nothing_deleted(checkpoint: Path, space: ModelSpace) -> None:
    """Make sure that all candidates of a space were trained to the end.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`nni_magic.supernet.checkpoint.read_checkpoint` and
        :func:`nni_magic.supernet.checkpoint.check_space`; or if progressive shrinking has deleted
        some.
    """
    saved = read_checkpoint(checkpoint)
    check_space(saved, space)
    left = saved[CHECKPOINT_KEY]["sampler"]["candidates"]
    n_left, n_all = (sum(map(len, each.values())) for each in (left, candidates(space)))
    if n_left < n_all:
        raise ValueError(
            f"checkpoint {str(checkpoint)!r} lacks {n_all - n_left} of {n_all} candidates, which "
            "progressive shrinking has deleted: a front takes a supernet trained without n_drop"
        )


def search(domain: Domain, settings: ParetoSettings) -> ParetoFront:
    """Search, keeping what is scored; gives the front."""
    record = settings.output / "scored.json"
    made_with = {"cost": settings.cost, **scored_with(domain, settings.checkpoint)}
    known = known_scores(record, made_with)
    space = domain.make_space()
    profiler = FlopsParamsProfiler(space, (domain.example(),))
    check_nothing_deleted(settings.checkpoint, space)
    supernet = load_supernet(settings.checkpoint, space)
    evaluate = domain.child_evaluator(supernet)

    def keep() -> None:
        write_json(record, {"made_with": made_with, "known": known})

    def score(children: Sequence[Sample]) -> list[float]:
        keep()
        return evaluate(children)

    def cost(sample: Sample) -> float:
        return getattr(profiler.profile(sample), settings.cost) / UNITS[settings.cost]

    front = pareto_search(
        supernet, score, {title(settings.cost, domain): cost}, seed=settings.task.seed,
        known=known, generations=settings.generations, population=settings.population,
    )  # fmt: skip
    keep()
    return front


def known_scores(record: Path, made_with: Mapping[str, Any]) -> dict[str, Any]:
    """Scores and costs that are there already, by the digests of children."""
    found = read_result(record, made_with, known=Mapping) or {"known": {}}
    known: dict[str, Any] = found["known"]
    for child, pair in known.items():
        numbers = [one for one in pair if type(one) in (int, float)] if type(pair) is list else []
        if len(numbers) != 2 or len(pair) != 2:
            raise ValueError(
                f"{str(record)!r} is damaged: its 'known' has {pair!r} for child {child!r}; "
                "accepted are a score and a cost"
            )
    return known


def run(task: Task, settings: ParetoSettings) -> None:
    """Search and write the front.

    Raises
    ------
    FileNotFoundError
        If there is no such checkpoint.
    ValueError
        If another run writes into the folder.
    """
    require_file(settings.checkpoint)
    with (
        filled_folder("output", settings.output),
        filled_folder("cache", settings.task.cache),
        sole_writer(settings.output, "output"),
    ):
        front = search(task.load()(settings.task), settings)
        front.write_csv(settings.output / "front.csv")
        front.plot(settings.output / "front.png", score_label="validation loss (nats)")
    print(f"{len(front.children)} children on the front: front.csv, .png in {settings.output}")
