"""Every kind of file that is read again: one of each that is whole, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from nni.mutable import Categorical

from experiments.faults.runs import train, words_of, write_corpus
from experiments.studies.plan import Plan
from nni_magic.manager.generations import Generations
from nni_magic.manager.pipeline import Pipeline
from nni_magic.programs.pareto import known_scores
from nni_magic.search import Population
from nni_magic.supernet.checkpoint import AtomicCheckpointIO, read_checkpoint
from nni_magic.support.files import write_json
from nni_magic.support.made_with import read_result
from nni_magic.tasks.language.token_cache import check_rows
from nni_magic.tasks.language.tokenization import load_tokenizer

__all__ = ["READERS", "Reader", "write_originals"]

MADE_WITH, SCORED_WITH = {"steps": 3}, {"checkpoint": "0f"}
PLAN = Path(__file__).parents[1] / "plans" / "bert_8x4.yml"


class Reader(NamedTuple):
    """What reads a kind of file, and gives what it read in a form that can be compared.

    One that is sealed has a checksum. The others are plain text that people may edit, so that one
    letter more or less can leave another text that is as good.
    """

    name: str
    read: Callable[[Path], Any]
    sealed: bool = False


def _population() -> Population:
    labels = [f"block_{n}" for n in range(4)]
    return Population({x: Categorical(range(3), label=x) for x in labels}, size=3, seed=1)


def _search(path: Path) -> Any:
    generations = Generations(path.parent, _population())
    return [generations.reports, generations.ranked(), generations.population.ask()]


class _Trial:
    """Stands for the line to the manager: its task is the training of the supernet."""

    parameters = {"stage": "supernet"}
    is_first_rank = True

    def report_final(self, *values: Any, **more: Any) -> None:
        pass


def _report(path: Path) -> Any:
    trained: dict[str, Any] = {
        "train_supernet": lambda: {"default": 0.0}, "population": _population, "score": None,
        "retrain": None,
    }  # fmt: skip
    trial: Any = _Trial()
    return Pipeline(trial, path.parent).run(**trained)


def _child(path: Path) -> Any:
    """A child's score, which lies in the folder of its generation."""
    folder = path.parent / "generation_1"
    folder.mkdir(exist_ok=True)
    inside = folder / "child_1.json"
    inside.unlink(missing_ok=True) if not inside.is_dir() else inside.rmdir()
    path.rename(inside)
    try:
        return Generations(path.parent, _population()).unscored(1, 1)
    finally:
        inside.rename(path)


def _rows(path: Path) -> Any:
    check_rows(path)
    return np.load(path).tolist()


def _summed(checkpoint: dict[str, Any]) -> Any:
    """What tells apart checkpoints of other weights."""
    return [{k: v.double().sum().item() for k, v in checkpoint["state_dict"].items()},
            checkpoint["global_step"]]  # fmt: skip


def _to_go_on(path: Path) -> Any:
    return _summed(AtomicCheckpointIO().load_checkpoint(path))


READERS = {
    reader.name: reader
    for reader in (
        Reader("checkpoint", lambda path: _summed(read_checkpoint(path)), sealed=True),
        Reader("checkpoint to go on", _to_go_on, sealed=True),
        Reader("tokens", _rows, sealed=True),
        Reader("tokenizer", lambda path: load_tokenizer(path).to_str()),
        Reader("search.json", _search),
        Reader("child's score", _child),
        Reader("trial's report", _report),
        Reader("pareto scores", lambda path: known_scores(path, SCORED_WITH)),
        Reader("study's result", lambda path: read_result(path, MADE_WITH)),
        Reader("plan", lambda path: Plan.read(path)),
    )
}


def write_originals(folder: Path) -> dict[str, Path]:
    """Write one whole file of each kind; gives their paths."""
    folder.mkdir(parents=True)
    write_corpus(folder / "corpus")
    train([*words_of("text", "magic_at", folder, folder / "out"), "--epochs", "1",
           "--warmup-epochs", "0"])  # fmt: skip
    [tokens, *_] = sorted((folder / "cache").glob("*.npy"))
    [tokenizer] = (folder / "cache").glob("tokenizer-*.json")
    records = folder / "records"
    Generations(records, _population()).complete(1, [3.0, 1.5, 2.25])
    first = Generations(folder / "first", _population())
    first.keep(1, 1, 0.5)
    write_json(records / "supernet.json", {"report": {"default": 1.5}})
    known = {"0f3a": [0.25, 2.5]}
    write_json(records / "scored.json", {"made_with": SCORED_WITH, "known": known})
    write_json(records / "result.json", {"made_with": MADE_WITH, "loss": 0.5})
    (records / "plan.yml").write_bytes(PLAN.read_bytes())
    return {
        "checkpoint": folder / "out" / "supernet.ckpt",
        "checkpoint to go on": folder / "out" / "supernet.ckpt",
        "tokens": tokens,
        "tokenizer": tokenizer,
        "search.json": records / "search.json",
        "child's score": folder / "first" / "generation_1" / "child_1.json",
        "trial's report": records / "supernet.json",
        "pareto scores": records / "scored.json",
        "study's result": records / "result.json",
        "plan": records / "plan.yml",
    }
