"""The runs that are disturbed, of ``nni-magic train`` and a user's own; and what they end with."""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from experiments.faults.small import SMALL_RUNS, train_small
from nni_magic.programs.main import main
from nni_magic.supernet.sealed import load_plain
from nni_magic.support.files import file_digest

__all__ = ["EVERY_RUN", "RUNS", "differences", "start", "train", "words_of", "write_corpus"]

SMALL = (
    "--epochs 3 --epoch-steps 4 --batch-size 2 --warmup-steps 2 --warmup-epochs 1 "
    "--anchor-interval 2 --anchor-candidates 2 --align-every 1 --search-children 6 --population 3 "
    "--validation-batches 1 --validation-children 2"
)
TEXT = f"bert {SMALL} --dropout 0.1"
RUNS = {
    "text": TEXT,
    "accumulation": f"{TEXT} --accumulate 2",
    "shrinking": f"{TEXT} --n-drop 8 --evaluations 12",
    "retraining": f"{TEXT} --retrain-epochs 2",
    "images": f"proxyless {SMALL} --dataset digits --dropout 0.1 --calibration-batches 1",
}
"""Command lines by name. All have dropout; images have BatchNorm, too."""

EVERY_RUN = (*SMALL_RUNS, *RUNS)

MOVING = {"train_seconds", "search_seconds", "retrain_seconds", "seconds"}
"""Times, which no two runs share."""


def write_corpus(folder: Path) -> None:
    """Write documents of random words."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 6))) for _ in range(80)]
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text(" ".join(rng.choices(words, k=400)))


def words_of(run: str, strategy: str, data: Path, output: Path) -> list[str]:
    """Command line of a run after ``nni-magic train``."""
    task, *words = RUNS[run].split()
    where = {"--cache": data / "cache", "--output": output}
    if task == "bert":
        where["--corpus"] = data / "corpus"
    given = [word for option, path in where.items() for word in (option, str(path))]
    return [task, *given, "--strategy", strategy, *words]


def train(words: Sequence[str]) -> None:
    """Run the program in this process."""
    main(["train", *words])


def start(run: str, strategy: str, data: Path, output: Path) -> None:
    """Do one of :data:`EVERY_RUN` in this process, or go on with it."""
    if run in SMALL_RUNS:
        train_small(strategy, output, **SMALL_RUNS[run])
    else:
        train(words_of(run, strategy, data, output))


def differences(whole: Path, other: Path) -> Iterator[str]:
    """What differs between the folders of two runs, beside times and their own paths.

    Every file must be in both, and equal to the last bit: weights, states of optimizers, samplers,
    generators and callbacks, children, scores.
    """
    files = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
              and not path.name.startswith("metrics")} for folder in (whole, other)]  # fmt: skip
    if differing := sorted(files[0] ^ files[1]):
        yield f"files: {differing}"
    for name in sorted(files[0] & files[1]):
        read = {".json": _json, ".ckpt": _checkpoint}.get(Path(name).suffix, _bytes)
        one, two = (read(folder / name, folder) for folder in (whole, other))
        yield from (f"{name}{place}" for place in _unequal(one, two))
    yield from _metrics(whole, other)


def _json(path: Path, folder: Path) -> Any:
    text = path.read_text().replace(str(folder), "")
    for checkpoint in folder.glob("*.ckpt"):
        text = text.replace(file_digest(checkpoint), "")  # there are paths in it
    value = json.loads(text)
    return {k: v for k, v in value.items() if k not in MOVING} if isinstance(value, dict) else value


def _checkpoint(path: Path, folder: Path) -> Any:
    with path.open("rb") as file:
        return _without_paths(load_plain(file, path.name, "cpu"), folder)


def _bytes(path: Path, folder: Path) -> Any:
    return path.read_bytes()


def _without_paths(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        return {_without_paths(k, folder): _without_paths(v, folder) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(each, folder) for each in value]
    if isinstance(value, str):
        return "" if value.startswith("/") else value.replace(str(folder), "")
    return value


def _unequal(one: Any, two: Any, place: str = "") -> Iterator[str]:
    """Places inside nested containers that differ."""
    if type(one) is not type(two):
        yield place
    elif isinstance(one, Mapping):
        for key in one.keys() | two.keys():
            missing = key not in one or key not in two
            inside = f"{place}[{key!r}]"
            yield from [inside] if missing else _unequal(one[key], two[key], inside)
    elif isinstance(one, list):
        if len(one) != len(two):
            yield place
        for n, (a, b) in enumerate(zip(one, two, strict=False)):
            yield from _unequal(a, b, f"{place}[{n}]")
    elif not _same(one, two):
        yield place


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor):
        if (one.dtype, one.shape) != (two.dtype, two.shape):
            return False
        return bool(((one == two) | (one.isnan() & two.isnan())).all())
    if isinstance(one, float) and math.isnan(one):
        return math.isnan(two)
    return bool(one == two)


def _metrics(whole: Path, other: Path) -> Iterator[str]:
    """Files of metrics with a row that the whole run does not have."""
    rows = {folder: list(_rows(folder)) for folder in (whole.rglob("metrics*.csv"))}
    known = [row for those in rows.values() for row in those]
    for path in other.rglob("metrics*.csv"):
        # The last row of a killed run's may be torn.
        found = list(_rows(path))[: None if path.stem == "metrics" else -1]
        if any(row not in known for row in found):
            yield str(path.relative_to(other))


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            yield {name: value for name, value in row.items() if value}
