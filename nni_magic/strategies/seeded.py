"""What all strategies have in common: settings, a seed, a training in this process, its end."""

from __future__ import annotations

import dataclasses
import inspect
import logging
import secrets
from typing import Any, ClassVar, cast

import nni_bootstrap  # noqa: F401
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy

from ..supernet.checkpoint import guard
from ..supernet.distributed import require_own_process
from ..supernet.loaders import VALIDATION, late
from ..supernet.ranks import ending_together
from .settings import MethodSettings
from .shrinking import Shrinking

__all__ = ["Seeded", "check_hooks"]

_logger = logging.getLogger(__name__)


class Seeded(OneShotStrategy):
    """A strategy of NNI with typed settings and a seed.

    Attributes
    ----------
    settings : MethodSettings
        The settings, with the seed that was given or drawn.
    shrinking : Shrinking or None
        Deletes candidates after every epoch.
    """

    settings_class: ClassVar[type[MethodSettings]] = MethodSettings
    finds_child: ClassVar[bool] = False
    """Whether the training itself chooses a child, so that none has to be searched."""
    shrinking: Shrinking | None = None

    def _settle(self, settings: dict[str, Any]) -> None:
        """Take settings by name, and draw a seed if none is given."""
        known = [field.name for field in dataclasses.fields(self.settings_class)]
        if unknown := [name for name in settings if name not in known]:
            accepted = ", ".join(inspect.signature(type(self)).parameters)
            raise TypeError(
                f"{type(self).__name__} has no setting {unknown[0]!r}; accepted are {accepted}"
            )
        self.settings = self.settings_class(**settings)
        if self.settings.seed is None:
            self.settings = dataclasses.replace(self.settings, seed=secrets.randbits(32))
            _logger.warning("No seed is given; drew %d, which repeats this run", self.seed)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the signature show the settings with their defaults."""
        super().__init_subclass__(**kwargs)
        named = {
            name: parameter
            for owner in reversed(cls.__mro__)
            if issubclass(owner, Seeded)
            for name, parameter in inspect.signature(owner.__init__).parameters.items()
            if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
            and "__init__" in vars(owner)
        }  # fmt: skip
        shown = inspect.signature(cls.settings_class).parameters.values()
        cls.__signature__ = inspect.Signature([*named.values(), *shown])

    @property
    def seed(self) -> int:
        """The seed that was given or drawn."""
        return cast(int, self.settings.seed)

    def mutate_evaluator(self, evaluator: Any) -> Any:
        if isinstance(evaluator, Lightning):
            require_own_process(evaluator.trainer.strategy)
            _check_trains(evaluator.trainer)
            self._datamodule = evaluator.datamodule
        mutated = super().mutate_evaluator(evaluator)
        guard(mutated.trainer.strategy)
        self._trainer = mutated.trainer
        return mutated

    def _run(self) -> None:
        try:
            with ending_together(self._trainer):
                super()._run()
        finally:
            # NNI puts the strategy's loaders over those of a DataModule, which is the user's.
            if self._datamodule is not None:
                for name in ("train_dataloader", "val_dataloader"):
                    vars(self._datamodule).pop(name, None)

    def val_dataloader(self, train_dataloader_fn: Any, val_dataloader_fn: Any) -> Any:
        # Not to continue, as validation always starts over, but to be iterated late: inside the
        # block in which the global random generators are kept.
        return late(val_dataloader_fn(), VALIDATION)


def check_hooks(hooks: Any) -> None:
    """Raise a ``TypeError`` unless hooks are a list of functions, or ``None``."""
    if hooks is not None and not (isinstance(hooks, list) and all(map(callable, hooks))):
        raise TypeError(f"mutation_hooks is {hooks!r}; accepted are lists of functions")


def _check_trains(trainer: Any) -> None:
    """Make sure that there is a training: without one no child has a score."""
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if getattr(trainer, name) == 0:
            raise ValueError(
                f"{name} of the evaluator's trainer is 0; accepted are others, as the supernet "
                "would not be trained"
            )
