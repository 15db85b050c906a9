"""Write the YAML file of an experiment into a folder of the user's, ready for ``nnictl create``.

::

    nni-magic example
    nni-magic example bert_search my_folder
    nnictl create --config my_folder/bert_search.yml

The first lists the examples. What an experiment writes lies in ``runs`` beside its file.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import yaml

from ..support.errors import check_choice
from ..support.files import atomic_file
from .settings import ExampleSettings

__all__ = ["examples", "run", "write"]


def examples() -> dict[str, str]:
    """Texts of all examples by their names."""
    folder = files(__package__) / "examples"
    found = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    return {name.removesuffix(".yml"): found[name] for name in sorted(found)}


def write(name: str, folder: Path) -> Path:
    """Write an example; gives its path.

    Raises
    ------
    ValueError
        If there is no such example, or a file of its name is there already.
    """
    texts = examples()
    check_choice("example", name, texts)
    path = folder / f"{name}.yml"
    if path.exists():
        raise ValueError(f"{str(path)!r} is there already; move it away, or choose another folder")
    with atomic_file(path) as file:
        file.write(texts[name].encode())
    return path


def run(settings: ExampleSettings) -> None:
    """Write an example, or list them."""
    if settings.name is None:
        for name, text in examples().items():
            print(f"{name:<18} {yaml.safe_load(text)['experimentName']}")
        return
    path = write(settings.name, settings.folder)
    print(f"Wrote {path}; start it with: nnictl create --config {path}")
