"""Time of a sample: drawing a child model and setting the supernet's path to it, ours and NNI's.

::

    python -m experiments.benchmarks.sampling

The supernet is a BERT space of 26 blocks of 4 candidates. Its layers are narrow, which changes
nothing here: a draw depends on the modules, which are those of the full size, and not on their
weights. Compared in pairs:

- the whole sample: ``resample()`` of NNI's ``RandomSamplingLightningModule`` and of ours, with the
  uniform sampler (SPOS, MAGIC-A) and the gradual one (MAGIC-T, MAGIC-AT);
- the draw alone: NNI's ``random()`` of every choice, and the samplers' ``next()``.

The parts of a sample are timed as well, to show where its time goes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nni.nas.evaluator.pytorch import LightningModule
from nni.nas.oneshot.pytorch.sampling import RandomSamplingLightningModule
from nni.nas.oneshot.pytorch.strategy import RandomOneShot

from experiments.benchmarks.pairs import alternate, ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from nni_magic.samplers import GradualSampler, Sampler, UniformSampler
from nni_magic.strategies.module import SupernetModule
from nni_magic.strategies.settings import SupernetSettings
from search_spaces import BertSpace

SAMPLERS: dict[str, type[Sampler]] = {"uniform": UniformSampler, "gradual": GradualSampler}
TARGET = ("whole sample, gradual", 1 / 100)

Draw = Callable[[], Any]


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings."""
    parser = report_parser(__doc__)
    parser.add_argument("--layers", type=int, default=26, help="choice blocks of 4 candidates")
    parser.add_argument("--repetitions", type=int, default=21, help="pairs")
    parser.add_argument("--nni-draws", type=int, default=20, help="draws in a repetition of NNI's")
    parser.add_argument("--draws", type=int, default=1000, help="draws in a repetition of ours")
    return parser.parse_args(arguments)


def make_supernet(layers: int) -> BertSpace:
    """The module tree of the full-size space with narrow layers, turned into a supernet."""
    space = BertSpace(
        n_layers=layers,
        hidden=16,
        vocab_size=64,
        max_length=8,
        embedding_size=8,  # factorised, as in the full-size space
        candidates=("mha2", "ffn", "conv3", "conv5"),
    )
    return RandomOneShot().mutate_model(space)


def make_modules(
    supernet: BertSpace, seed: int
) -> tuple[RandomSamplingLightningModule, dict[str, SupernetModule]]:
    """NNI's Lightning module, and ours with every sampler, around one supernet."""
    evaluator = LightningModule()
    theirs = RandomSamplingLightningModule(evaluator)
    theirs.set_model(supernet)
    ours = {}
    for name, sampler in SAMPLERS.items():
        ours[name] = SupernetModule(
            evaluator,
            sampler(supernet, seed=seed),
            method=name,
            settings=SupernetSettings(seed=seed),
        )
        ours[name].set_model(supernet)
    return theirs, ours


def comparisons(
    theirs: RandomSamplingLightningModule, ours: dict[str, SupernetModule]
) -> dict[str, tuple[Draw, Draw]]:
    """What is compared: ours first, NNI's second."""
    mutables = list(theirs.model.simplify().values())

    def random() -> list[Any]:
        return [mutable.random() for mutable in mutables]

    whole: dict[str, tuple[Draw, Draw]] = {
        f"whole sample, {name}": (module.resample, theirs.resample) for name, module in ours.items()
    }
    alone: dict[str, tuple[Draw, Draw]] = {
        f"draw alone, {name}": (module.sampler.next, random) for name, module in ours.items()
    }
    return whole | alone


def parts(
    theirs: RandomSamplingLightningModule, ours: dict[str, SupernetModule]
) -> tuple[dict[str, Draw], dict[str, Draw]]:
    """Parts of a sample that no comparison shows: of ours, and of NNI's."""
    path = ours["uniform"].sampler.next()
    walk = ours["gradual"].sampler
    neighbours = itertools.cycle([walk.next(), walk.next()])
    return {
        "ours: set the same path again": lambda: ours["uniform"].router.set(path),
        "ours: set a path one block away": lambda: ours["gradual"].router.set(next(neighbours)),
    }, {"NNI: walk through the modules": lambda: list(theirs.supernet_modules())}


def microseconds(draw: Draw, n: int) -> float:
    """Mean time of ``n`` calls, in microseconds, after one that is not timed."""
    draw()
    began = time.perf_counter()
    for _ in range(n):
        draw()
    return round((time.perf_counter() - began) / n * 1e6, 3)


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Time everything, one repetition of all in turn; times are in microseconds a sample."""
    theirs, ours = make_modules(make_supernet(settings.layers), settings.seed)
    pairs = comparisons(theirs, ours)
    own_parts, nni_parts = parts(theirs, ours)
    single = [(own_parts, settings.draws), (nni_parts, settings.nni_draws)]
    times: dict[str, dict[str, list[float]]] = {name: {"ours": [], "nni": []} for name in pairs}
    part_times: dict[str, list[float]] = {name: [] for name in own_parts | nni_parts}
    for turn in range(-1, settings.repetitions):
        for name, (own, nnis) in pairs.items():
            own_time, nni_time = alternate(
                partial(microseconds, own, settings.draws),
                partial(microseconds, nnis, settings.nni_draws),
                turn,
            )
            if turn >= 0:  # the first turn warms up
                times[name]["ours"].append(own_time)
                times[name]["nni"].append(nni_time)
        for draws, n in single:
            for name, draw in draws.items():
                value = microseconds(draw, n)
                if turn >= 0:
                    part_times[name].append(value)
    return summaries(times, part_times)


def summaries(
    times: dict[str, dict[str, list[float]]], part_times: dict[str, list[float]]
) -> dict[str, Any]:
    """Raw times with their summaries and, pair by pair, the ratio of ours to NNI's."""
    measurements = {name: _summaries(**raw) for name, raw in times.items()}
    name, limit = TARGET
    return {
        "measurements": measurements,
        "parts": {
            name: {"unit": "us", "values": values, "summary": summarise(values)}
            for name, values in part_times.items()
        },
        "targets": [
            {
                "measurement": name,
                "ratio_at_most": limit,
                "verdict": verdict(summarise(measurements[name]["ratio"]), at_most=limit),
            }
        ],
    }


def _summaries(ours: list[float], nni: list[float]) -> dict[str, Any]:
    inverse = ratios(nni, ours)
    ratio = ratios(ours, nni)
    return {
        "unit": "us",
        "ours": ours,
        "nni": nni,
        "ratio": ratio,
        "summary": {
            "ours": summarise(ours),
            "nni": summarise(nni),
            "ratio": summarise(ratio),
            "nni_to_ours": summarise(inverse),
        },
    }


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    compared = [
        [
            name,
            text(entry["summary"]["ours"]),
            text(entry["summary"]["nni"]),
            text(entry["summary"]["nni_to_ours"]),
        ]
        for name, entry in results["measurements"].items()
    ]
    single = [[name, text(entry["summary"])] for name, entry in results["parts"].items()]
    [target] = results["targets"]
    return "\n\n".join(
        [
            f"{settings.layers} blocks of 4 candidates, {settings.repetitions} pairs, "
            f"{settings.draws} draws of ours and {settings.nni_draws} of NNI's in each.",
            table(["", "ours, µs", "NNI, µs", "NNI / ours"], compared),
            "The whole sample draws a child and sets the path; the draw alone sets none.",
            table(["part", "µs"], single),
            f"Target: the {target['measurement']} (MAGIC-T), takes at most 1/100 of NNI's: "
            f"{target['verdict']}.",
        ]
    )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("sampling", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
