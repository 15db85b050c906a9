"""Settings in YAML files, read so that nothing in them is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

__all__ = ["read_settings"]


def read_settings(name: str, path: Path) -> dict[Any, Any]:
    """Read a YAML file of settings by their names.

    Parameters
    ----------
    name
        Of the option that the file is given as.
    path
        The file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no YAML, holds no settings, or one of them twice.
    """
    refusal = f"{name} is {str(path)!r}; accepted is a YAML file of settings"
    if not path.is_file():
        raise FileNotFoundError(refusal)
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _OnceEach)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a date of month 13
        raise ValueError(f"{refusal}, and it is none: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{refusal}, and it holds {found!r}")
    return found


class _OnceEach(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML's own loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        written = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in written if written.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(
                None, None, f"key {twice!r} is there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)
