"""Settings that every task has: the training, the machine, and how children are scored.

They are frozen, checked when they are made, and read without torch or NNI. A task adds those of
its data and its space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from ..strategies.settings import SupernetSettings
from ..support.errors import check_choice, check_count, check_number
from ..support.kinds import check_kinds

WARMUP_STEPS = 80
"""The default of a warm-up where the training is long enough."""
MOST_SEED = 2**32 - 1
"""The largest seed that Lightning takes."""
MOST_AT_ONCE = 1024
"""Most threads, processes or devices: above it some machines crash instead of refusing."""
Precision = Literal[
    "32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed", "transformer-engine",
    "transformer-engine-float16", "64", "32", "16", "bf16",
]  # fmt: skip
"""Names that Lightning has for precisions."""
Distributed = Literal["auto", "ddp_find_unused_parameters_true"]
"""Those of Lightning's strategies that a supernet can be trained with."""
MOST_SECONDS = 7 * 24 * 3600
"""The longest wait, a week."""
_DEVICES = r"auto|-1|[1-9]\d*|\d+(,\d+)*,|\d+(,\d+)+"

__all__ = ["Machine", "Scoring", "TaskSettings", "Training"]


@dataclass(frozen=True, kw_only=True)
class Training:
    """Settings of a training, be it of a supernet or of a child.

    Parameters
    ----------
    seed
        Makes a run repeatable.
    epochs
        Epochs of a supernet's training.
    epoch_steps
        Optimizer steps in an epoch.
    batch_size
        Rows in a batch, on one device.
    accumulate
        Batches whose gradients are added up for one optimizer step.
    learning_rate
        The peak of the learning rate; from there it falls to 0.
    warmup_steps
        Optimizer steps until the learning rate is at its peak; by default 80, but at most a fifth
        of the training's.
    weight_decay
        Weight decay of all parameters but biases and norms.
    """

    seed: int = 0
    epochs: int = 5
    epoch_steps: int = 100
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 3e-3
    warmup_steps: int | None = None
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("epochs", "epoch_steps", "batch_size", "accumulate"):
            check_count(name, getattr(self, name))
        check_count("seed", self.seed, at_least=0, at_most=MOST_SEED)
        if self.warmup_steps is not None:
            check_count("warmup_steps", self.warmup_steps, at_least=0)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, at_least=0)

    def warmup_for(self, epochs: int) -> int:
        """Optimizer steps of the warm-up in a training of so many epochs.

        Examples
        --------
        >>> Training(epoch_steps=100).warmup_for(5), Training(epoch_steps=5).warmup_for(1)
        (80, 1)
        """
        if self.warmup_steps is None:
            return min(WARMUP_STEPS, epochs * self.epoch_steps // 5)
        return self.warmup_steps

    def check_warmup(self, **epochs: int) -> None:
        """Make sure that the warm-up ends within a training of so many epochs.

        Raises
        ------
        ValueError
            If it does not, naming the setting that the epochs are given as.
        """
        [(name, n)] = epochs.items()
        if self.warmup_for(n) > n * self.epoch_steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}; accepted are 0 to {n * self.epoch_steps}, "
                f"because {name} is {n} and epoch_steps {self.epoch_steps}"
            )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Settings of the hardware.

    Parameters
    ----------
    workers
        Processes that load data.
    threads
        Threads of torch on the CPU; with 0 torch chooses.
    processes
        Processes in which a search scores children on the CPU, with a thread each.
    devices
        How many devices or which ones, as Lightning takes them.
    nodes
        Machines with as many devices each, on which torchrun or srun starts the program.
    precision
        Precision of numbers, as Lightning takes it, such as ``bf16-mixed``.
    distributed
        Lightning's strategy; for several devices ``ddp_find_unused_parameters_true``.
    rank_timeout
        Seconds that the process of a device waits for another that has stopped, before both end.
    sync_batchnorm
        Take BatchNorm's statistics over the batches of all devices.
    """

    workers: int = 0
    threads: int = 0
    processes: int = 1
    devices: int | str = "auto"
    nodes: int = 1
    precision: Precision = "32-true"
    distributed: Distributed = "auto"
    rank_timeout: int = 600
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "threads"):
            check_count(name, getattr(self, name), at_least=0, at_most=MOST_AT_ONCE)
        for name in ("processes", "nodes"):
            check_count(name, getattr(self, name), at_most=MOST_AT_ONCE)
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("distributed", self.distributed, get_args(Distributed))
        check_count("rank_timeout", self.rank_timeout, at_most=MOST_SECONDS)
        if not _is_devices(str(self.devices)):
            raise ValueError(
                f"devices is {self.devices!r}; accepted are 'auto', a number of devices up to "
                f"{MOST_AT_ONCE}, -1 for all, and their numbers with commas, none of them twice, "
                "such as '0,1' or '2,'"
            )


def _is_devices(text: str) -> bool:
    named = [int(number) for number in text.split(",") if number.isdecimal()]
    at_most = [] if "," in text else named
    return (
        re.fullmatch(_DEVICES, text) is not None
        and len(set(named)) == len(named)
        and all(number <= MOST_AT_ONCE for number in at_most)
    )


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Settings of the score of a child, both in the supernet's training and in a search.

    Parameters
    ----------
    validation_batches
        Batches of the validation data on which a child is scored.
    calibration_batches
        Training batches on which a child's BatchNorm statistics are taken anew before it is
        scored; with 0 the supernet's are used, which fit no child.
    """

    validation_batches: int = SupernetSettings.validation_batches
    calibration_batches: int = SupernetSettings.calibration_batches

    def __post_init__(self) -> None:
        check_count("validation_batches", self.validation_batches)
        check_count("calibration_batches", self.calibration_batches, at_least=0)


@dataclass(frozen=True, kw_only=True)
class TaskSettings(Training, Machine, Scoring):
    """What a task is made from; each adds its data and its space.

    Parameters
    ----------
    cache
        Folder of prepared data, which all runs may share.
    """

    cache: Path = Path("runs/cache")

    def __post_init__(self) -> None:
        for concern in (Training, Machine, Scoring):
            concern.__post_init__(self)
        check_kinds(self)  # last, as a bound says more than a type

    def with_data(self, data: Path) -> Self:
        """Take other data, in a file or folder of the user.

        Raises
        ------
        ValueError
            If the data of these settings come from no file or folder.
        """
        raise NotImplementedError
