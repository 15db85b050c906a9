r"""Evolution against random search: the best child found, after equally many children scored.

::

    nni-magic train bert --strategy magic_at --threads 1 --epochs 5 --epoch-steps 80 \
        --warmup-epochs 2 --output runs/magic_at
    python -m experiments.benchmarks.search_methods --checkpoint runs/magic_at/supernet.ckpt

Both search the children of one trained supernet by their validation loss with inherited weights,
on the same batches, without a constraint. Every seed is a pair. Beside them stand the children
that need no search: the one with the most parameters and the one with the most FLOPs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from nni.mutable import Sample
from nni.nas.profiler.pytorch.flops import FlopsParamsProfiler

from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from nni_magic.analysis.seeds import over_seeds
from nni_magic.children import samples
from nni_magic.samplers import UniformSampler
from nni_magic.search import ChildEvaluator, Evolution
from nni_magic.supernet.checkpoint import load_supernet
from nni_magic.support.files import write_picture
from nni_magic.tasks.language.mlm import mlm_search_evaluator
from nni_magic.tasks.language.mlm_data import prepare
from search_spaces import BertSpace
from search_spaces.bert import PRESETS

COLOURS = {"evolution": "#0072b2", "random": "#d55e00"}


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings."""
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, help="of a supernet, from nni-magic train bert")
    add("--preset", default="tiny")
    add("--corpus", default="sotu")
    add("--cache", type=Path, default=Path("experiments/runs/cache"))
    add("--batch-size", type=int, default=32)
    add("--batches", type=int, default=1, help="validation batches that score a child")
    add("--seeds", type=int, default=10)
    add("--generations", type=int, default=10)
    add("--population", type=int, default=50)
    return parser.parse_args(arguments)


def best_so_far(losses: Sequence[float]) -> list[float]:
    """The smallest loss of the first 1, 2, 3, ... children.

    Examples
    --------
    >>> best_so_far([3.0, 4.0, 2.0])
    [3.0, 3.0, 2.0]
    """
    return np.minimum.accumulate(losses).tolist()


def evolution(
    space: BertSpace, evaluate: ChildEvaluator, seed: int, settings: argparse.Namespace
) -> list[float]:
    """Losses in the order in which evolution scores."""
    losses: list[float] = []

    def score(children: Sequence[Sample]) -> list[float]:
        found = evaluate(children)
        losses.extend(found)
        return found

    Evolution(generations=settings.generations, population=settings.population, seed=seed).search(
        space, score
    )
    return losses


def random(
    space: BertSpace, evaluate: ChildEvaluator, seed: int, settings: argparse.Namespace
) -> list[float]:
    """Losses of different random children."""
    sampler = UniformSampler(space, seed=[seed, 1])
    drawn: dict[str, Sample] = {}
    while len(drawn) < settings.generations * settings.population:
        child = sampler.next()
        drawn.setdefault(sampler.name(child), child)
    return evaluate(list(drawn.values()))


def largest(space: BertSpace, max_length: int) -> dict[str, Sample]:
    """The children with the most parameters and the most FLOPs, found block by block."""
    profiler = FlopsParamsProfiler(space, (torch.zeros(1, max_length, dtype=torch.long),))
    choices = samples.candidates(space)
    child = {label: options[0] for label, options in choices.items()}
    found = {}
    for name in ("params", "flops"):
        for label, options in choices.items():
            costs = [getattr(profiler.profile({**child, label: o}), name) for o in options]
            child = {**child, label: options[int(np.argmax(costs))]}
        found[f"most {name}"] = dict(child)
    return found


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Run both searches with every seed."""
    shape = PRESETS[settings.preset]
    data = prepare(settings.corpus, settings.cache, shape["vocab_size"], shape["max_length"])
    plain = BertSpace.preset(settings.preset, vocab_size=data.vocab_size, dropout=0.0)
    trivial = largest(plain, data.max_length)
    supernet = load_supernet(settings.checkpoint, plain)
    evaluator = mlm_search_evaluator(
        data, batch_size=settings.batch_size, trainer_kwargs={"devices": 1}
    )
    evaluate = ChildEvaluator(supernet, evaluator, n_batches=settings.batches)
    curves: dict[str, list[list[float]]] = {"evolution": [], "random": []}
    for seed in range(settings.seed, settings.seed + settings.seeds):
        for name, search in (("evolution", evolution), ("random", random)):
            curves[name].append(best_so_far(search(supernet, evaluate, seed, settings)))
        print(f"seed {seed}:", *(f"{name} {c[-1][-1]:.4f}" for name, c in curves.items()),
              flush=True)  # fmt: skip
    return {
        "curves": curves,
        "trivial": dict(zip(trivial, evaluate(list(trivial.values())), strict=True)),
        "at": {
            str(n): paired(*([curve[n - 1] for curve in curves[name]] for name in curves))
            for n in sorted({2 * settings.population, len(curves["random"][0])})
        },
    }


def paired(a: Sequence[float], b: Sequence[float]) -> dict[str, Any]:
    """Mean difference a - b over pairs, with Student's 95 % interval and wins of a.

    Examples
    --------
    >>> found = paired([1.0, 2.0, 3.0], [2.0, 3.0, 5.0])
    >>> round(found["difference"], 3), [round(x, 3) for x in found["interval"]], found["wins"]
    (-1.333, [-2.768, 0.101], 3)
    """
    difference = np.subtract(a, b)
    found = over_seeds(difference)
    return {
        "means": [float(np.mean(a)), float(np.mean(b))],
        "difference": found.mean,
        "interval": list(found.interval),
        "wins": int((difference < 0).sum()),
        "pairs": found.n,
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """Best loss by children scored, from a tenth of them on: every seed thin, the mean thick."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for name, curves in results["curves"].items():
        first = len(curves[0]) // 10
        numbers = np.arange(first + 1, len(curves[0]) + 1)
        for curve in curves:
            axes.plot(numbers, curve[first:], color=COLOURS[name], linewidth=0.6, alpha=0.35)
        mean = np.mean(curves, axis=0)[first:]
        axes.plot(numbers, mean, color=COLOURS[name], linewidth=2.2, label=name)
    axes.legend(frameon=False)
    axes.set_xlabel("children scored")
    axes.set_ylabel("best validation loss (nats)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    write_picture(figure, path, dpi=150)


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    rows = [
        [n, *(f"{mean:.4f}" for mean in found["means"]),
         f"{found['difference']:.4f} ({found['interval'][0]:.4f} to {found['interval'][1]:.4f})",
         f"{found['wins']} of {found['pairs']}"]
        for n, found in results["at"].items()
    ]  # fmt: skip
    trivial = ", ".join(f"{name} {loss:.4f}" for name, loss in results["trivial"].items())
    return "\n\n".join(
        [
            f"BERT space, preset {settings.preset}; loss with inherited weights on "
            f"{settings.batches * settings.batch_size} held-out sequences. {settings.seeds} pairs.",
            table(
                ["children scored", "evolution", "random", "difference (95 % interval)", "wins"],
                rows,
            ),
            f"Without a search: {trivial}.",
            "This compares searches by the score that they search by; whether that score ranks "
            "children well when they are trained alone is another question.",
        ]
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("search_methods", settings, arguments, measure, report, draw)


if __name__ == "__main__":
    main()
