"""Settings kept with a result, so that it is not taken for that of other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import pytorch_lightning as pl

from ..support.files import read_json

__all__ = ["MadeWith", "check_same", "read_result"]


def check_same(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Make sure that a result was made with our settings.

    Raises
    ------
    ValueError
        If it was not. The message names the result, the first differing setting and its values.

    Examples
    --------
    >>> check_same("'a.json'", {"space": {"hidden": 8}}, {"space": {"hidden": 16}})
    Traceback (most recent call last):
    ValueError: 'a.json' was made with other settings: space.hidden is 8 there, and 16 here
    """
    there, here = _flat(theirs), _flat(json.loads(json.dumps(ours)))
    for setting in here | there:
        if there.get(setting) != here.get(setting):
            raise ValueError(
                f"{name} was made with other settings: {setting} is {there.get(setting)!r} there, "
                f"and {here.get(setting)!r} here"
            )


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Give nested settings one name each.

    >>> _flat({"space": {"hidden": 8, "n_layers": 4}, "domain": "bert"})
    {'space.hidden': 8, 'space.n_layers': 4, 'domain': 'bert'}
    """
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        whole = prefix + name
        flat |= _flat(value, f"{whole}.") if isinstance(value, Mapping) else {whole: value}
    return flat


def read_result(path: Path, made_with: Mapping[str, Any]) -> Any:
    """Read the JSON file of a result, which has its settings under ``made_with``.

    Parameters
    ----------
    path
        The file; ``None`` is given if it is not there.
    made_with
        The settings that it must have been made with.

    Raises
    ------
    ValueError
        If it does not record its settings, or records others.
    """
    if (found := read_json(path)) is None:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("made_with"), dict):
        raise ValueError(f"{str(path)!r} does not record the settings that it was made with")
    check_same(repr(str(path)), found["made_with"], made_with)
    return found


class MadeWith(pl.Callback):
    """Keeps the settings of a training in its checkpoint, and refuses one of other settings.

    Parameters
    ----------
    checkpoint
        Named in the error.
    settings
        In types that JSON knows.
    """

    def __init__(self, checkpoint: Path, settings: Mapping[str, Any]) -> None:
        self.checkpoint = checkpoint
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._compared = False

    def state_dict(self) -> dict[str, Any]:
        return self.settings

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        check_same(repr(str(self.checkpoint)), state_dict, self.settings)
        self._compared = True

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a checkpoint without settings, for which Lightning does not ask us to load."""
        if trainer.ckpt_path is not None and not self._compared:
            raise ValueError(
                f"{str(self.checkpoint)!r} does not record the settings that it was made with"
            )
