"""Time that the training of a supernet takes, in trainings of the baseline on the same machine.

Supernets of one study may be trained on several machines, so that the seconds of their records are
not to be compared.
"""

from __future__ import annotations

import time
from typing import Any

from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from experiments.studies.measurements import Measurements
from experiments.studies.ranking.comparisons import METHODS
from experiments.studies.study import Study

__all__ = ["Times", "training_seconds"]

BASELINE = METHODS[0]


class Times(Measurements):
    """Measures how long every method of a plan trains with its first seed.

    The baseline is trained right behind each of them, as a machine's speed changes.

    Parameters
    ----------
    study
        Has the plan; nothing needs to be trained.
    """

    def __init__(self, study: Study) -> None:
        planned = study.plan.supernets
        first = {name: one.seeds[:1] for name, one in planned.items()}
        super().__init__(study, study.output / "times", first if BASELINE in planned else {})

    def made_with(self, name: str) -> dict[str, Any]:
        made = self.study.made_supernet
        return {**made(name), "baseline": made(BASELINE)["supernets"]}

    def measure(self, name: str, seed: int) -> None:
        training_seconds(self.study, BASELINE, seed, 1)  # what is done once in a process
        seconds = training_seconds(self.study, name, seed)
        baseline = training_seconds(self.study, BASELINE, seed)
        self.save(
            name, seed, {"cpu_seconds": seconds, "baseline": baseline, "ratio": seconds / baseline}
        )


def training_seconds(study: Study, name: str, seed: int, epochs: int | None = None) -> float:
    """CPU time of a supernet's training, of all its epochs or so many, in seconds."""
    evaluator = study.supernet_evaluator(name, seed, {"max_epochs": epochs} if epochs else {})
    space = study.domain.seeded_space(seed)
    strategy = study.plan.supernets[name].make_strategy(seed)
    started = time.process_time()
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return time.process_time() - started
