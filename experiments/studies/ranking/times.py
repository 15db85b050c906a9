"""Time that the training of a supernet takes, in trainings of the baseline on the same machine.

Supernets of one study may be trained on several machines, so that the seconds of their records are
not to be compared.
"""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.space import RawFormatModelSpace

from experiments.studies.measurements import Measurements
from experiments.studies.ranking.comparisons import METHODS
from experiments.studies.study import NEVER, Study
from experiments.studies.trainings import VALIDATION_BATCHES

__all__ = ["Times", "TrainingTime", "training_time"]

BASELINE = METHODS[0]


class Times(Measurements):
    """Measures how long every method of a plan trains with its first seed.

    Right before and after, the baseline is trained for an epoch, as a machine's speed changes. Its
    own time is what it took before the first epoch, and as many epochs as it has.

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
        before = training_time(self.study, BASELINE, seed, 1)
        own = training_time(self.study, name, seed, self._epochs(name))
        after = training_time(self.study, BASELINE, seed, 1)
        seconds, n = own.start + own.epochs, self._epochs(BASELINE)
        baseline = sum(one.start + n * one.epochs for one in (before, after)) / 2
        self.save(
            name, seed, {"cpu_seconds": seconds, "baseline": baseline, "ratio": seconds / baseline}
        )

    def _epochs(self, name: str) -> int:
        return self.study.plan.supernets[name].steps // self.study.plan.epoch_steps


class TrainingTime(pl.Callback):
    """CPU time of a training since this was made, in seconds.

    Attributes
    ----------
    start : float
        Until the first epoch.
    epochs : float
        Of all epochs, with their validation.
    """

    def __init__(self) -> None:
        self._began = time.process_time()

    def on_train_start(self, *args: Any) -> None:
        now = time.process_time()
        self.start, self._began = now - self._began, now

    def on_train_end(self, *args: Any) -> None:
        self.epochs = time.process_time() - self._began


def training_time(study: Study, name: str, seed: int, epochs: int) -> TrainingTime:
    """Train a supernet for so many epochs, and take the time."""
    planned = study.plan.supernets[name]
    space, strategy = study.domain.seeded_space(seed), planned.make_strategy(seed)
    taken = TrainingTime()
    trainer = {
        "max_steps": -1, "max_epochs": epochs, "limit_train_batches": study.plan.epoch_steps,
        "limit_val_batches": VALIDATION_BATCHES, "callbacks": [taken],
    }  # fmt: skip
    evaluator = study.evaluator(
        planned.steps if planned.decay else NEVER, seed, trainer, planned.learning_rate
    )
    strategy(RawFormatModelSpace.from_model(space, evaluator), SequentialExecutionEngine())
    return taken
