"""The children of a trained BERT supernet that trade validation loss and cost off best.

::

    python -m nni_magic.programs.bert_pareto --checkpoint supernet.ckpt --cost flops --output runs/pareto

writes ``front.csv`` and ``front.png``. A search that is started again continues: what has been
scored is kept in ``scored.json``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler

from ..children.samples import candidates
from ..manager.trial import one_clear_message
from ..search import ParetoFront, pareto_search
from ..supernet.checkpoint import CHECKPOINT_KEY, check_space, load_supernet, read_checkpoint
from ..support.files import write_json
from ..tasks.language.bert import Bert, add_options, check_settings
from .made_with import read_result
from .options import Parser

COSTS = {"params": "parameters (thousands)", "flops": "multiply-adds a sequence (millions)"}
UNITS = {"params": 1e3, "flops": 1e6}
SCORING = ("cost", "batch_size", "search_batches", "precision")
"""Settings that scores and costs depend on."""


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the settings; those of the data and the space are those of the supernet's training."""
    parser = Parser(__doc__)
    add_options(parser)
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="the supernet's")
    add("--output", type=Path, required=True, help="folder for the front")
    add("--cost", choices=COSTS, default="params")
    add("--generations", type=int, default=20)
    add("--population", type=int, default=50, help="children of a generation")
    settings = parser.parse_args(arguments)
    settings.strategy = settings.strategy or "spos"  # of no meaning here
    check_settings(settings)
    return settings


def check_nothing_deleted(checkpoint: Path, space: ModelSpace) -> None:
    """Make sure that all candidates of a space were trained to the end.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`nni_magic.supernet.checkpoint.read_checkpoint` and
        :func:`nni_magic.supernet.checkpoint.check_space`; or if progressive shrinking has deleted some.
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


def search(settings: argparse.Namespace) -> ParetoFront:
    """Search, keeping what is scored; gives the front."""
    domain = Bert(settings)
    record = settings.output / "scored.json"
    made_with = {
        "checkpoint": hashlib.sha256(settings.checkpoint.read_bytes()).hexdigest(),
        **{name: getattr(settings, name) for name in SCORING},
        "data": domain.describe(),
    }
    known = (read_result(record, made_with) or {"known": {}})["known"]
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
        supernet, score, {COSTS[settings.cost]: cost}, seed=settings.seed, known=known,
        generations=settings.generations, population=settings.population,
    )  # fmt: skip
    keep()
    return front


def main() -> None:
    """Search and write the front."""
    with one_clear_message():
        settings = parse_args()
        settings.output.mkdir(parents=True, exist_ok=True)
        front = search(settings)
        front.write_csv(settings.output / "front.csv")
        front.plot(settings.output / "front.png", score_label="validation loss (nats)")
        print(f"{len(front.children)} children on the front: front.csv, .png in {settings.output}")


if __name__ == "__main__":
    main()
