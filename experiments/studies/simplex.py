r"""Steps that exponentiated gradient and projected gradient need over a simplex of k corners.

Both minimise, from the middle of the simplex to within 0.1 of the minimum,

.. math::
    f(\theta) = \tfrac{4}{2} (u^\top \theta)^2 - \theta_1, \qquad u_1 = 0,\; u_i = \pm 1

whose minimum is -1, at the first corner. Its gradient changes by at most 4 in the largest entry
where :math:`\theta` moves by 1 in the 1-norm, whatever k is, and by up to 4 (k - 1) in the 2-norm
where it moves by 1 in the 2-norm. By theory exponentiated gradient may so take steps of 1/4 and
needs O(log k) of them, and projected gradient 1/(4 (k - 1)), and O(k). Beside these steps, each
method has its best of a grid of powers of two::

    python -m experiments.studies.simplex
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from experiments.benchmarks.reporting import report_parser, table, write_report
from nni_magic.analysis import figures
from nni_magic.strategies.differentiable.simplex import ExponentiatedGradient
from nni_magic.support.errors import check_count

__all__ = ["exponentiated", "markdown", "measured", "projected", "random_signs", "steps_needed"]

STIFFNESS = 4.0
NEAR = 0.1
MOST_STEPS = 20_000
SIZES = tuple(2**n for n in range(2, 11))
GRID = tuple(2.0**n for n in range(-13, 4))

Step = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


def exponentiated(theta: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
    """A step of the strategy's own optimizer.

    >>> exponentiated(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 1.0).round(4)
    array([0.2689, 0.7311])
    """
    moved = torch.from_numpy(theta.copy())
    moved.grad = torch.from_numpy(gradient)
    ExponentiatedGradient([moved], lr=rate).step()
    return moved.numpy()


def projected(theta: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
    """A step of gradient descent, and the nearest point of the simplex.

    >>> projected(np.array([0.5, 0.5]), np.array([1.0, 0.0]), 0.5).round(4)
    array([0.25, 0.75])
    """
    moved = theta - rate * gradient
    falling = np.sort(moved)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(moved) + 1)
    return np.maximum(moved - excess[falling > excess][-1], 0)


METHODS: dict[str, tuple[Step, Callable[[int], float]]] = {
    "exponentiated gradient": (exponentiated, lambda k: 1 / STIFFNESS),
    "projected gradient": (projected, lambda k: 1 / (STIFFNESS * (k - 1))),
}
"""A step, and the rate that theory allows for a size."""


def steps_needed(step: Step, signs: np.ndarray, rate: float, most: int = MOST_STEPS) -> int | None:
    """Count steps until the function is near its minimum; ``None`` if they are more than ``most``.

    Parameters
    ----------
    step
        Of the method.
    signs
        u, ``(k,)``.
    rate
        Of the method.
    most
        When to give up.
    """
    theta = np.full(len(signs), 1 / len(signs))
    for n in range(most + 1):
        along = float(signs @ theta)
        if STIFFNESS / 2 * along**2 - theta[0] <= NEAR - 1:
            return n
        gradient = STIFFNESS * along * signs
        gradient[0] -= 1
        theta = step(theta, gradient, rate)
    return None


def measured(sizes: Sequence[int], seeds: int) -> list[dict[str, Any]]:
    """Median steps over seeds of every method and size, by theory's rate and by the best one."""
    rows = []
    for k in sizes:
        draws = [random_signs(k, seed) for seed in range(seeds)]
        for name, (step, allowed) in METHODS.items():
            by_theory = [steps_needed(step, signs, allowed(k)) for signs in draws]
            best = [_best(step, signs) for signs in draws]
            rows.append({
                "k": k, "method": name, "theory": by_theory, "best": [n for n, _ in best],
                "best_rates": [rate for _, rate in best],
            })  # fmt: skip
    return rows


def random_signs(k: int, seed: int) -> np.ndarray:
    """Draw u, ``(k,)``."""
    signs = np.random.default_rng([seed, k]).choice([-1.0, 1.0], size=k)
    signs[0] = 0
    return signs


def _best(step: Step, signs: np.ndarray) -> tuple[int, float]:
    fewest, at = MOST_STEPS, float("nan")
    for rate in reversed(GRID):
        needed = steps_needed(step, signs, rate, fewest - 1)
        if needed is not None:
            fewest, at = needed, rate
    return fewest, at


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the medians out."""
    found = {(row["k"], row["method"]): row for row in rows}
    sizes = sorted({row["k"] for row in rows})
    kinds = [(name, kind) for kind in ("theory", "best") for name in METHODS]
    return (
        f"Steps from the middle of a k-simplex to within {NEAR} of the minimum, the median over "
        "random functions, with the rate that theory allows and with the best of a grid.\n\n"
    ) + table(
        ["k", *(f"{name}, {kind}" for name, kind in kinds)],
        ([str(k), *(f"{_median(found[k, name][kind]):g}" for name, kind in kinds)] for k in sizes),
    )


def _median(counts: Sequence[int | None]) -> float:
    return median(float("inf") if n is None else n for n in counts)


def draw(rows: Sequence[dict[str, Any]], stem: Any) -> None:
    """Draw the medians over k, on logarithmic axes, into ``<stem>.png`` and ``<stem>.svg``."""
    figure, [panel] = figures.panels_of(1, 5.5, 3.5)
    for i, (name, kind) in enumerate((m, kind) for kind in ("theory", "best") for m in METHODS):
        own = [row for row in rows if row["method"] == name]
        medians = [_median(row[kind]) for row in own]
        look = {key: value for key, value in figures.style(i).items() if key != "capsize"}
        panel.plot([row["k"] for row in own], medians, label=f"{name}, {kind}", **look)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    figures.tidy(panel)
    figures.label_axes(figure, "corners of the simplex, k", "steps")
    figures.write_legend(figure, [panel])
    figures.save(figure, stem)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, draw and report."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = report_parser(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="corners, k")
    parser.add_argument("--seeds", type=int, default=5, help="random functions of each size")
    settings = parser.parse_args(arguments)
    try:
        check_count("seeds", settings.seeds)
        for size in settings.sizes:
            check_count("sizes", size, at_least=2)
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    torch.set_num_threads(settings.threads or 1)
    rows = measured(settings.sizes, settings.seeds)
    text = markdown(rows)
    print(text)
    program = "experiments.studies.simplex"
    path, _ = write_report("simplex", settings, arguments, {"rows": rows}, text, program=program)
    draw(rows, path.with_suffix(""))


if __name__ == "__main__":
    main()
