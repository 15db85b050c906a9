"""Write an exported child in another form.

::

    nni-magic export --child children/1_<digest>                  # for transformers
    nni-magic export --child children/1_<digest> --to int8        # child_int8.onnx

The first writes a folder for ``from_pretrained`` of a child of text, the second quantizes the
``child.onnx`` of any child.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import nni_bootstrap  # noqa: F401

from ..export.int8 import write_int8
from ..export.record import read_record
from .settings import ExportSettings

__all__ = ["run"]


def run(settings: ExportSettings) -> None:
    """Write, and say where.

    Raises
    ------
    FileNotFoundError
        If the child's folder is none, or lacks a file.
    ValueError
        If the child cannot be written in this form.
    ModuleNotFoundError
        If the form needs an extra that is not installed.
    """
    read_record(settings.child)
    written = _FORMS[settings.to](settings.child, settings.output)
    print(f"written: {written}")


def _hugging_face(child: Path, output: Path | None) -> Path:
    # Only now, as it needs an extra.
    package = importlib.import_module("nni_magic.tasks.language.hugging_face")
    written: Path = package.write_folder(child, output)
    return written


def _int8(child: Path, output: Path | None) -> Path:
    return write_int8(child / "child.onnx", output)


_FORMS = {"huggingface": _hugging_face, "int8": _int8}
