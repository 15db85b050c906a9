"""Image children by their folder, as torchvision makes its models by their names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from nni.nas.nn.pytorch import ModelSpace

from ...export.record import build_recorded, read_record, recorded_space
from ...support.errors import check_choice, check_count

__all__ = ["child_model"]

_CLASSES = ("n_classes", "num_classes", "num_labels")
"""What spaces call the argument for the number of classes."""


def child_model(
    folder: str | Path, *, weights: str | None = "DEFAULT", num_classes: int | None = None
) -> ModelSpace:
    """Make an exported child as a plain module, to be used or trained on.

    How images are made for it says ``nni_magic.load(folder).preprocess``.

    Parameters
    ----------
    folder
        A folder ``<rank>_<digest>`` of an export.
    weights
        ``"DEFAULT"``: those of the export; None: new ones.
    num_classes
        Number of classes; where it is another than the child's, the weights of the classifier are
        new ones. Default: the child's.

    Returns
    -------
    torch.nn.Module
        In training mode, as torchvision gives its models.

    Raises
    ------
    FileNotFoundError
        If the folder is none of an exported child.
    ValueError
        If the child cannot be built anew, or its space has no argument for the classes.

    Examples
    --------
    ::

        model = child_model("children/1_<digest>", num_classes=37)
    """
    check_choice("weights", weights, ("DEFAULT", None))
    record = read_record(Path(folder))
    recorded_space(record)  # the record must say how it was made
    classes = {}
    if num_classes is not None:
        check_count("num_classes", num_classes)
        classes = {_name_of_classes(record): num_classes}
    model = build_recorded(record, **classes)
    if weights is not None:
        _load(model, torch.load(Path(folder) / "weights.pt", weights_only=True))
    return model


def _name_of_classes(record: Mapping[str, Any]) -> str:
    space = recorded_space(record)
    for name in _CLASSES:
        if name in record["space"]["kwargs"]:
            return name
    raise ValueError(
        f"{space.__name__} has no argument for the number of classes; accepted "
        f"are spaces with one of {', '.join(_CLASSES)}"
    )


def _load(model: ModelSpace, state: dict[str, torch.Tensor]) -> None:
    """Load what has the model's shapes; the last weights may have others, those of the classes."""
    own = model.state_dict()
    model.load_state_dict(
        {name: value if value.shape == own[name].shape else own[name]
         for name, value in state.items()}
    )  # fmt: skip
