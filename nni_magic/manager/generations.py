"""The search of an experiment, kept in files between the trials that carry it on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from nni.mutable import Sample

from ..children.json_samples import json_form
from ..children.samples import digest
from ..scoring.scored import ScoredChild
from ..search.population import Population
from ..support.errors import naming
from ..support.files import read_record, write_json
from ..support.made_with import read_result

__all__ = ["Generations", "Report"]

Report = dict[str, float]


class Generations:
    """The generations scored so far.

    The population after the last whole generation lies in ``search.json``. Where every child has a
    trial of its own, their scores lie in ``generation_3/child_7.json`` until all are there; then
    whichever trial sees it completes the generation. Two that do so at once write the same.

    Parameters
    ----------
    folder
        Where the files lie.
    population
        As it is before the first generation; it is brought to the state of the files.
    made_with
        All that scores depend on, where the folder is not that of one experiment: it is kept with
        the search, which is not continued with others.

    Raises
    ------
    ValueError
        If a file is damaged, or of a search made with something else.
    """

    def __init__(
        self, folder: Path, population: Population, made_with: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.population = population
        self.reports: dict[str, Report] = {}  # by the number of the generation
        self._made_with = {} if made_with is None else {"made_with": made_with}
        file, kinds = folder / "search.json", {"reports": Mapping, "population": Mapping}
        if made_with is None:
            state = read_record(file, **kinds)
        else:
            state = read_result(file, made_with, **kinds)
        if state is not None:
            with naming(repr(str(file))):
                self._load(state)

    def _load(self, state: Mapping[str, Any]) -> None:
        reports = state["reports"]
        for number, report in reports.items():
            if not number.isdecimal() or not _is_report(report):
                raise ValueError(
                    f"its 'reports' has {report!r} for {number!r}; accepted are a generation's "
                    "numbers by their names"
                )
        self.population.load_state_dict(state["population"])
        if self.population.generation != len(reports):
            raise ValueError(
                f"its 'reports' are of {len(reports)} generations, and its 'population' of "
                f"{self.population.generation}"
            )
        self.reports = dict(reports)

    def report(self, scores: Sequence[float]) -> Report:
        """Sum up the present generation: ``default`` is the best score known.

        The report is empty while no child has a score that is a finite number.
        """
        best = min if self.population.mode == "min" else max
        scored = _finite(scores)
        known = scored + _finite(child.score for child in self.population.best())
        if not known:
            return {}
        own = {"generation_best": best(scored), "generation_mean": mean(scored)} if scored else {}
        return {"default": best(known), **own, "children": len(scored)}

    def complete(self, generation: int, scores: Sequence[float]) -> Report:
        """Tell the population the scores of a generation, in the order asked, and write it."""
        report = self.report(scores)
        self.population.tell(self.population.ask(), scores)
        self.reports[str(generation)] = report
        population = json_form(self.population.state_dict())
        write_json(
            self.folder / "search.json",
            {**self._made_with, "reports": self.reports, "population": population},
        )
        return report

    def unscored(self, generation: int, child: int) -> Sample | None:
        """The child of that number, if there is one and its score is not written yet."""
        if str(generation) in self.reports:
            return None
        children = self.population.ask()
        if child > len(children) or not math.isnan(self._kept(generation)[child - 1]):
            return None
        return children[child - 1]

    def keep(self, generation: int, child: int, score: float) -> None:
        """Write the score of one child, and complete the generation if it was the last."""
        sample = self.population.ask()[child - 1]
        record = {"sample": json_form(sample), "digest": digest(sample), "score": score}
        write_json(self._file(generation, child), record)
        scores = self._kept(generation)
        if not any(map(math.isnan, scores)):
            self.complete(generation, scores)

    def child_report(self, generation: int, child: int) -> Report:
        """Sum up for one child: ``default`` is its score; beside it the best score known.

        Where a space runs out of children, there may be none of that number; then both are the
        best score known.
        """
        open_scores = [] if str(generation) in self.reports else self._kept(generation)
        report = self.report(open_scores)
        if not report:
            return {}
        record = self._record(generation, child)
        own = report["default"] if record is None else record["score"]
        return {"default": own, "best": report["default"]}

    def _kept(self, generation: int) -> list[float]:
        """Scores of the generation's children, in the order asked; NaN where none is written."""
        scores = []
        for child, sample in enumerate(self.population.ask(), start=1):
            record = self._record(generation, child)
            same = record is not None and record["digest"] == digest(sample)
            scores.append(record["score"] if record and same else math.nan)
        return scores

    def complete_before(self, generation: float) -> None:
        """Complete earlier generations without the children whose trials failed."""
        numbers = [int(path.name.split("_")[1]) for path in self.folder.glob("generation_*")]
        for number in sorted(numbers):
            if number < generation and str(number) not in self.reports:
                self.complete(number, self._kept(number))

    def ranked(self) -> list[ScoredChild]:
        """Children with a finite score, best first."""
        return [child for child in self.population.best() if math.isfinite(child.score)]

    def _record(self, generation: int, child: int) -> dict[str, Any] | None:
        """What is written of a child: its digest, and its score, which is finite."""
        return read_record(self._file(generation, child), digest=str, score=float)

    def _file(self, generation: int, child: int) -> Path:
        return self.folder / f"generation_{generation}" / f"child_{child}.json"


def _is_report(report: Any) -> bool:
    return isinstance(report, dict) and all(type(one) in (int, float) for one in report.values())


def _finite(scores: Iterable[float]) -> list[float]:
    return [score for score in scores if math.isfinite(score)]
