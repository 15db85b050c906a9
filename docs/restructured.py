"""Turn the reStructuredText in docstrings into Markdown, for the reference.

Docstrings have roles (``:class:`X```), ``.. math::``, simple tables and citations; mkdocstrings
reads Markdown. Formulas become MathML, which browsers draw by themselves.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe
from latex2mathml.converter import convert

TABLE = re.compile(r"^(=+(?: +=+)+) *\n((?:.+\n)+?)\1 *(?=\n\s*\n|\s*\Z)", re.M)
FORMULA = re.compile(r"^( *)\.\. math::(.*(?:\n(?:\1 +\S.*|(?=\n\1 +\S)))*)", re.M)
ROLE = re.compile(r":(\w+):`~?\.?([^`]+)`")
CITATION = re.compile(r"^( *)\.\. (\[\w+\])", re.M)
MODULES = ("nni_magic.", "search_spaces.")


class Restructured(griffe.Extension):
    """Extension of griffe, which reads the sources for mkdocstrings."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Turn all docstrings of a package."""
        for member in _objects(pkg):
            if member.docstring is not None:
                member.docstring.value = markdown(member.docstring.value)


def markdown(text: str) -> str:
    """Turn one docstring."""
    text = TABLE.sub(lambda found: _table(found[1], found[2]), text)
    text = FORMULA.sub(lambda found: f"{found[1]}{_formula(found[2], 'block')}", text)
    text = ROLE.sub(_role, text)
    text = CITATION.sub(r"\1\2", text)
    return re.sub(r"^( *)::\n", "", text, flags=re.M).replace("::\n\n", ":\n\n")


def _objects(parent: Any) -> Iterator[Any]:
    yield parent
    for member in parent.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _table(rule: str, body: str) -> str:
    """A simple table; it has a head where a rule stands below its first row."""
    starts = [found.start() for found in re.finditer("=+", rule)]
    rows: list[list[str]] = []
    lines = body.splitlines()
    for line in lines:
        if line.strip() == rule.strip():
            continue
        cells = [line[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
        if cells[0] or not rows:
            rows.append(cells)
        else:  # a row that goes on
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    if not any(line.strip() == rule.strip() for line in lines):
        rows.insert(0, [" "] * len(starts))
    rows.insert(1, ["---"] * len(starts))
    return "\n".join(f"| {' | '.join(c.replace('|', '&#124;') for c in row)} |" for row in rows)


def _formula(text: str, display: str) -> str:
    return convert(" ".join(text.split()), display=display)


def _role(found: re.Match[str]) -> str:
    role, name = found.groups()
    if role == "math":
        return _formula(name.replace("&#124;", "|"), "inline")
    shown = f"<code>{name.rpartition('.')[2] if role != 'mod' else name}</code>"
    if not name.startswith(MODULES):
        return shown
    return f'<autoref optional identifier="{name}">{shown}</autoref>'
