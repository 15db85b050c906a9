"""Where the trials of an experiment share files, on one machine or on several."""

from __future__ import annotations

import os
import socket
from pathlib import Path

__all__ = ["check_shared", "experiment_folder", "on_many_machines", "pipeline_folder"]


def on_many_machines() -> bool:
    """Whether trials of this experiment may run on other machines than this."""
    return os.environ.get("NNI_PLATFORM", "local") != "local"


def pipeline_folder(folder: str | os.PathLike[str] | None) -> Path:
    """The given folder, or on one machine by default :func:`experiment_folder`.

    Raises
    ------
    ValueError
        If the trial may run on any of several machines, and no folder is given.
    """
    if folder is None and on_many_machines():
        raise ValueError(
            f"the trial runs on NNI's platform {os.environ['NNI_PLATFORM']!r}, whose machines "
            "do not share the experiment's folder; give the pipeline a folder that all of "
            "them share (shared_folder)"
        )
    return experiment_folder() if folder is None else Path(folder)


def check_shared(folder: Path) -> None:
    """Refuse a folder in which other machines have done nothing.

    Raises
    ------
    ValueError
        If it has no result of the supernet's trial, and another machine may have written that.
    """
    if on_many_machines() and not (folder / "supernet.json").exists():
        raise ValueError(
            f"the pipeline's folder {str(folder)!r} on {socket.gethostname()} holds no "
            "supernet.json, which the supernet's trial has written; accepted are folders that "
            "all machines share (shared_folder)"
        )


def experiment_folder() -> Path:
    """Folder in NNI's folder of the experiment that its trials on one machine share.

    Raises
    ------
    ValueError
        If this process is not a trial of an experiment.
    """
    experiment = os.environ.get("NNI_EXP_ID")
    for parent in Path(os.environ.get("NNI_OUTPUT_DIR", "")).parents:
        if parent.name == experiment:
            return parent / "pipeline"
    raise ValueError("this is not a trial of an nnictl experiment; give the pipeline a folder")
