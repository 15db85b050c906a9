"""Time of a sample inside a budget of FLOPs, beside a training step and NNI's own filter.

::

    python -m experiments.benchmarks.constrained_sampling

Both sides draw from the same children with the same probabilities:

- *ours*: the filter as users give it. Costs are looked up in tables, and uniform samples come from
  a count of those inside (:mod:`nni_magic.children.budgeted`);
- *NNI*: its ``RangeProfilerFilter`` called as it is, which evaluates the profiler's expression for
  every proposal. A tight budget rejects most of them, and the time of a sample is that of all
  proposals until one is inside.

They are timed in turns, and with them a training step: forward, backward and SGD of a drawn child
on random images, in plain PyTorch, which is the least that a step takes. Last, latency predicted
by a table (:class:`nni_magic.search.LatencyTable`) is compared with that of whole children.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.oneshot.pytorch.profiler import RangeProfilerFilter
from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
from nni.nas.profiler.pytorch.flops import FlopsProfiler

from experiments.benchmarks.pairs import alternate, ratios, summarise, text, verdict
from experiments.benchmarks.reporting import report_parser, run_benchmark, table
from nni_magic.samplers import GradualSampler, Sampler, UniformSampler
from nni_magic.search.latency import LatencyTable, table_error
from nni_magic.supernet.connection import as_supernet
from search_spaces import ProxylessNASSpace

SAMPLERS: dict[str, type[Sampler]] = {"uniform": UniformSampler, "gradual": GradualSampler}
SPACES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "imagenet": {"resolution": 64, "width": 0.25, "n_classes": 10},
}
TARGET = 5 / 100


def parse_args(arguments: list[str]) -> argparse.Namespace:
    """Read the settings.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """
    parser = report_parser(__doc__)
    add = parser.add_argument
    add("--spaces", nargs="+", choices=SPACES, default=list(SPACES), help="presets, made small")
    add("--resolution", type=int, help="of the images; by default 28 and 64 pixels")
    add("--shares", type=float, nargs="+", default=[0.5, 0.05], help="of children inside a budget")
    add("--repetitions", type=int, default=11, help="pairs")
    add("--draws", type=int, default=200, help="samples in a repetition")
    add("--steps", type=int, default=5, help="training steps in a repetition")
    add("--batch-size", type=int, default=32)
    add("--latency-children", type=int, default=10, help="whole children to compare a table with")
    settings = parser.parse_args(arguments)
    for share in settings.shares:
        if not 0 < share < 1:
            raise ValueError(f"shares has {share}; accepted are numbers between 0 and 1")
    return settings


def make_space(name: str, settings: argparse.Namespace) -> ModelSpace:
    """A preset at a small size, with torch's global seed."""
    torch.manual_seed(settings.seed)
    size = {} if settings.resolution is None else {"resolution": settings.resolution}
    return ProxylessNASSpace.preset(name, **{**SPACES[name], **size})


def images(space: Any, batch_size: int) -> torch.Tensor:
    """Random images of the size that a space is for."""
    return torch.randn(batch_size, space.in_channels, space.resolution, space.resolution)


class Training:
    """A supernet that is trained on one batch over and over."""

    def __init__(self, space: Any, batch_size: int) -> None:
        self.supernet = as_supernet(space)
        self.images = images(space, batch_size)
        self.labels = torch.arange(batch_size) % 10
        self.optimizer = torch.optim.SGD(self.supernet.parameters(), 0.01)
        self.modules = [m for m in self.supernet.modules() if isinstance(m, BaseSuperNetModule)]

    def step(self, sampler: Sampler) -> float:
        """Train the next child; gives the seconds that it takes after the draw."""
        child = sampler.next()
        began = time.perf_counter()
        for module in self.modules:
            module.resample(memo=child)
        self.optimizer.zero_grad()
        torch.nn.functional.cross_entropy(self.supernet(self.images), self.labels).backward()
        self.optimizer.step()
        return time.perf_counter() - began


def microseconds(draw: Callable[[], Any], n: int) -> float:
    """Mean time of a call."""
    began = time.perf_counter()
    for _ in range(n):
        draw()
    return (time.perf_counter() - began) / n * 1e6


def compare(
    space: ModelSpace, name: str, budget: RangeProfilerFilter, training: Training,
    settings: argparse.Namespace,
) -> dict[str, Any]:  # fmt: skip
    """Times of a sampler inside a budget: ours, with NNI's filter, and of a training step."""
    make = partial(SAMPLERS[name], space, seed=settings.seed)
    ours, nni = make(filter=budget), make(filter=lambda sample: budget(sample))
    trained = make(filter=budget)
    times: dict[str, list[float]] = {"ours": [], "nni": [], "step": []}
    for turn in range(-1, settings.repetitions):  # turn -1 warms up
        pair = alternate(
            partial(microseconds, ours.next, settings.draws),
            partial(microseconds, nni.next, settings.draws),
            turn,
        )
        step = sum(training.step(trained) for _ in range(settings.steps)) / settings.steps * 1e6
        if turn >= 0:
            for side, value in zip(times, (*pair, step), strict=True):
                times[side].append(round(value, 3))
    shares = {side: ratios(times[side], times["step"]) for side in ("ours", "nni")}
    return {"unit": "us", **times, "share_of_a_step": shares}


def latency(space: Any, settings: argparse.Namespace) -> dict[str, Any]:
    """A latency table against whole children, one image at a time."""
    example = images(space, 1)
    measured = LatencyTable.measure(space, example, repeats=settings.repetitions)
    error = table_error(
        measured, space, example, n_children=settings.latency_children, seed=settings.seed
    )
    return {
        "unit": "ms",
        "predicted": error.predicted,
        "measured": error.measured,
        "mean_absolute_percentage_error": error.mean_absolute_percentage_error,
        "kendall_tau": error.kendall_tau,
        "table": measured.to_json(),
    }


def measure(settings: argparse.Namespace) -> dict[str, Any]:
    """Compare on all spaces, with all budgets and samplers."""
    results: dict[str, Any] = {}
    for preset in settings.spaces:
        space = make_space(preset, settings)
        profiler = FlopsProfiler(space, images(space, 2))
        draw = UniformSampler(space, seed=settings.seed)
        costs = [profiler.profile(draw.next()) for _ in range(400)]
        training = Training(space, settings.batch_size)
        budgets = []
        for share in settings.shares:
            budget = RangeProfilerFilter(profiler, max=float(np.quantile(costs, share)))
            samplers = {name: compare(space, name, budget, training, settings) for name in SAMPLERS}
            budgets.append({"share": share, "max": budget.max_value, "samplers": samplers})
            print(f"{preset}: done with {share:.0%} of the children", flush=True)
        results[preset] = {"budgets": budgets, "latency": latency(space, settings)}
    return {"spaces": results, "targets": targets(results)}


def targets(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Verdicts on the share of a training step that a sample takes."""
    return [
        {
            "space": space,
            "children_inside": budget["share"],
            "sampler": name,
            "share_at_most": TARGET,
            "verdict": verdict(summarise(times["share_of_a_step"]["ours"]), at_most=TARGET),
        }
        for space, result in results.items()
        for budget in result["budgets"]
        for name, times in budget["samplers"].items()
    ]


def report(settings: argparse.Namespace, results: dict[str, Any]) -> str:
    """The results as Markdown."""
    verdicts = iter(results["targets"])
    rows = [
        [
            space, f"{budget['share']:.0%}", name,
            *(text(summarise(times[side])) for side in ("ours", "nni")),
            text(summarise(value / 1000 for value in times["step"])),
            *(
                text(summarise(100 * value for value in times["share_of_a_step"][side]))
                for side in ("ours", "nni")
            ),
            next(verdicts)["verdict"],
        ]
        for space, result in results["spaces"].items()
        for budget in result["budgets"]
        for name, times in budget["samplers"].items()
    ]  # fmt: skip
    tables = [
        [
            space,
            f"{result['latency']['mean_absolute_percentage_error']:.1f}",
            f"{result['latency']['kendall_tau']:.2f}",
        ]
        for space, result in results["spaces"].items()
    ]
    return "\n\n".join([
        f"Presets of the ProxylessNAS space; batches of {settings.batch_size} images, "
        f"{settings.repetitions} pairs of {settings.draws} samples and {settings.steps} steps. "
        "Both sides draw from the same children with the same probabilities.",
        table(
            ["space", "children inside", "sampler", "ours, µs", "NNI's filter, µs", "step, ms",
             "ours, % of a step", "NNI's, % of a step", f"ours at most {TARGET:.0%}"],
            rows,
        ),
        f"Latency of {settings.latency_children} random children, one image at a time, predicted "
        "by a table and measured whole:",
        table(["space", "mean absolute error, %", "Kendall's τ"], tables),
    ])  # fmt: skip


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print and write the report; gives the results."""
    arguments = sys.argv[1:] if arguments is None else arguments
    settings = parse_args(arguments)
    return run_benchmark("constrained_sampling", settings, arguments, measure, report)


if __name__ == "__main__":
    main()
