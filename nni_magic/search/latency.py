r"""Latency of children from a table measured once, candidate by candidate, on the user's machine.

.. math:: t(\alpha) = t_{stem} + \sum_n t_n(\alpha_n) + t_{head}

holds for a chain (:mod:`nni_magic.supernet.chain`) as far as it does not matter to a step what ran
before it [Cai2019]. How far that is, :func:`table_error` tells: it measures whole children.

[Cai2019] Cai et al., ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,
ICLR 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.nn.pytorch import ModelSpace
from scipy.stats import kendalltau

from ..children.costs import CostSum, Summand
from ..children.json_samples import in_space, json_form
from ..children.samples import Candidates, candidates, check_sample
from ..samplers.uniform import UniformSampler
from ..supernet.hidden_states import Call
from ..support.errors import check_count, check_seed, naming
from .measurement import conditions, step_milliseconds
from .stand_alone import own_copy, stand_alone_child
from .timing import Prepare, example_call, fresh, median_milliseconds

__all__ = ["LatencyTable", "StepLatency", "TableError", "table_error"]


@dataclass(frozen=True)
class StepLatency:
    """Latency of one step of a chain.

    Attributes
    ----------
    candidates : dict
        Label to choices, of the labels that the step depends on; a stem and a head often have none.
    milliseconds : list of float
        For every combination of the choices, those of the last label changing fastest.
    """

    candidates: Candidates
    milliseconds: Sequence[float]


class LatencyTable(CostSum):
    """Predicts the latency of a child in milliseconds.

    It is a function of a sample, for the costs of :func:`~nni_magic.search.pareto_search`, and a
    profiler, for constraints: ``filter={"profiler": table, "max": 20}``.

    Parameters
    ----------
    steps
        What was measured, in the order of execution.
    conditions
        On what and how, see :meth:`measure`.

    Examples
    --------
    >>> block = StepLatency({"block": ["conv", "zero"]}, [2.5, 0.5])
    >>> table = LatencyTable([StepLatency({}, [1.0]), block], {"batch_size": 1})
    >>> table({"block": "zero"}), table.extremes()
    (1.5, (1.5, 3.5))
    """

    def __init__(self, steps: Sequence[StepLatency], conditions: Mapping[str, Any]) -> None:
        self.steps = list(steps)
        self.conditions = dict(conditions)
        self.candidates: Candidates = {k: v for step in steps for k, v in step.candidates.items()}
        fixed = [step.milliseconds[0] for step in steps if not step.candidates]
        super().__init__(sum(fixed), [_summand(step) for step in steps if step.candidates])

    def profile(self, sample: Sample) -> float:
        """Predict the latency of a child in milliseconds.

        Raises
        ------
        ValueError
            If the sample is of another space than the table, or holds a choice that is not in it.
        """
        try:
            check_sample(sample, self.candidates)
        except ValueError:  # it may be equal all the same: the table or the sample has been JSON
            with naming("the latency table does not know this child"):
                sample = in_space(sample, self.candidates)
        return super().profile(sample)

    def check_covers(self, candidates: Candidates) -> None:
        """Make sure that the table has the labels of a space, no others, and all their choices.

        Raises
        ------
        ValueError
            Naming the label, and the choices that the table has no time for.
        """
        super().check_covers(candidates)
        for label, choices in candidates.items():
            known = json_form(self.candidates.get(label, []))
            if unknown := [choice for choice in choices if json_form(choice) not in known]:
                raise ValueError(f"it has no time for {unknown} of label {label!r}, only {known}")

    @classmethod
    def measure(
        cls,
        space: ModelSpace,
        args: Any,
        *,
        batch_size: int = 1,
        device: str | torch.device = "cpu",
        repeats: int = 20,
    ) -> LatencyTable:
        """Measure stem, head and all candidates of all choice blocks of a chain.

        Each is taken out of the space as it is in a stand-alone child, and run on the hidden
        states that it gets there, in evaluation mode, without gradients and with torch's present
        number of threads.

        Parameters
        ----------
        space
            A model space that is no supernet yet; it stays as it is.
        args
            Example inputs as for NNI's profilers: a tensor, or a tuple of inputs that may end
            with a dict of further ones by name.
        batch_size
            Rows that a child is given at once; those of the example inputs over and over.
        device
            Where to measure.
        repeats
            Runs of each whose median is taken, see
            :func:`nni_magic.search.timing.median_milliseconds`.

        Returns
        -------
        LatencyTable
            Its ``conditions`` are ``device``, ``hardware``, ``threads``, ``batch_size``,
            ``repeats``, the shapes of the ``inputs`` and ``versions``.

        Raises
        ------
        ValueError
            If the space is a supernet or no chain, a candidate gives hidden states of another
            shape than the others, a step has more than 1,024 ways to be run, or a setting is out
            of its range.
        """
        check_count("batch_size", batch_size)
        check_count("repeats", repeats)
        device = _device(device)
        call = example_call(args, batch_size, device)
        measured = step_milliseconds(own_copy(space), call, device, repeats=repeats)
        return cls(
            [StepLatency(choices, milliseconds) for choices, milliseconds in measured],
            {"batch_size": batch_size, "repeats": repeats, **conditions(call, device)},
        )

    def to_json(self) -> dict[str, Any]:
        """The table in plain types."""
        return {"conditions": self.conditions, "steps": [asdict(step) for step in self.steps]}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LatencyTable:
        """Make the table anew from what :meth:`to_json` gave."""
        return cls([StepLatency(**step) for step in record["steps"]], record["conditions"])


@dataclass(frozen=True)
class TableError:
    """Latencies of children as a table predicts them and as measured, in milliseconds."""

    predicted: list[float]
    measured: list[float]

    @property
    def mean_absolute_percentage_error(self) -> float:
        """Mean distance between prediction and measurement, in percent of the measurement."""
        measured = np.array(self.measured)
        return float(100 * np.mean(np.abs(np.array(self.predicted) - measured) / measured))

    @property
    def kendall_tau(self) -> float:
        """Rank correlation (τ-b) of predicted and measured latencies."""
        return float(kendalltau(self.predicted, self.measured).statistic)


def table_error(
    table: LatencyTable, space: ModelSpace, args: Any, *, n_children: int = 20, seed: int
) -> TableError:
    """Measure random children whole and stand-alone, as the table's candidates were measured.

    Parameters
    ----------
    table
        Measured on this machine; its batch size, device and repeats are taken.
    space, args
        As for :meth:`LatencyTable.measure`.
    n_children
        How many, at least 2.
    seed
        Of the draw of children.

    Raises
    ------
    ValueError
        If the table is of another space, was measured with another number of threads, or there
        are less than 2 children.
    """
    check_count("n_children", n_children, at_least=2)
    check_seed("seed", seed)
    known, threads = table.conditions, torch.get_num_threads()
    if json_form(candidates(space)) != json_form(table.candidates):
        raise ValueError("the latency table is of another space: labels or choices differ")
    if known["threads"] != threads:
        raise ValueError(
            f"the latency table was measured with {known['threads']} threads; torch has {threads}"
        )
    device = _device(known["device"])
    call = example_call(args, known["batch_size"], device)
    sampler = UniformSampler(space, seed=seed)
    children = [sampler.next() for _ in range(n_children)]
    own = own_copy(space)
    tasks: list[Prepare] = [
        partial(_whole, stand_alone_child(own, child, device), call) for child in children
    ]
    with torch.inference_mode():
        measured = median_milliseconds(tasks, device, repeats=known["repeats"])
    return TableError([table(child) for child in children], measured)


def _device(device: Any) -> torch.device:
    """Make sure that torch can compute there, which not every device that it knows can."""
    try:
        torch.ones((), device=torch.device(device)).item()
        return torch.device(device)
    except (TypeError, RuntimeError, AssertionError) as error:  # of builds without that device
        why = str(error).partition("\n")[0]
        raise ValueError(
            f"device is {device!r}; accepted are those on which torch can compute here: {why}"
        ) from None


def _summand(step: StepLatency) -> Summand:
    ways = itertools.product(*step.candidates.values())
    known = dict(zip(map(_key, ways), step.milliseconds, strict=True))
    return Summand(step.candidates, partial(_looked_up, list(step.candidates), known))


def _looked_up(labels: list[str], known: dict[Any, float], sample: Sample) -> float:
    return known[_key([sample[label] for label in labels])]


def _key(choices: Any) -> Any:
    """Name choices in a table: lists, which cannot, as the tuples that JSON made them of."""
    if not isinstance(choices, (list, tuple)):
        return choices
    return tuple([_key(choice) for choice in choices])


def _whole(child: Callable[..., Any], call: Call) -> Callable[[], Any]:
    own = fresh(call)
    return partial(child, *own.args, **own.kwargs)
