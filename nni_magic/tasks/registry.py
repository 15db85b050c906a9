"""All tasks by name: a new one is a file with its domain, one with its settings, and a row here.

Reading the rows loads neither torch nor NNI.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..support.errors import check_choice
from .language.settings import BertSettings
from .settings import TaskSettings
from .vision.settings import ProxylessSettings

if TYPE_CHECKING:
    from .domain import Domain

__all__ = ["TASKS", "Task", "task"]


@dataclass(frozen=True)
class Task:
    """One row: what is trained on what.

    Parameters
    ----------
    name
        On command lines.
    domain
        Where its class is, as ``module:class``.
    settings
        Class of the domain's settings.
    summary
        What it is, in a line.
    """

    name: str
    domain: str
    settings: type[TaskSettings]
    summary: str

    def load(self) -> type[Domain]:
        """Import the domain's class."""
        module, _, name = self.domain.partition(":")
        found: type[Domain] = getattr(importlib.import_module(module), name)
        return found


HERE = __package__
TASKS: dict[str, Task] = {
    row.name: row
    for row in (
        Task("bert", f"{HERE}.language.bert:Bert", BertSettings,
             "the BERT space, by masked-language modelling on text"),
        Task("proxyless", f"{HERE}.vision.proxyless:Proxyless", ProxylessSettings,
             "the ProxylessNAS space, by classifying images"),
    )
}  # fmt: skip
"""Every task by its name."""


def task(name: str) -> Task:
    """Find a task.

    Raises
    ------
    ValueError
        If there is none of this name.

    Examples
    --------
    >>> task("go")
    Traceback (most recent call last):
    ValueError: task is 'go'; accepted are 'bert', 'proxyless'
    """
    check_choice("task", name, TASKS)
    return TASKS[name]
