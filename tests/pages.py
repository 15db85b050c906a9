"""The pages of the documentation, and the snippets that they show."""

import re
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FILES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES = {path.relative_to(ROOT).as_posix(): path for path in FILES}
"""Every page by its path in the repository."""

SNIPPET = re.compile(
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>\w*)\n(?P<code>.*?)^(?P=indent)(?P=fence)\n"
    r"(?:\n? *<!-- not run: (?P<why>[^>]+) -->\n)?",
    re.M | re.S,
)


class Snippet(NamedTuple):
    """A block of code of a page; ``why`` it is not run, where the page says so behind it."""

    page: str
    line: int
    language: str
    code: str
    why: str | None


def snippets(*languages):
    """All snippets, or those in some languages, page by page and in their order."""
    for page, path in PAGES.items():
        text = path.read_text(encoding="utf-8")
        for found in SNIPPET.finditer(text):
            if not languages or found["language"] in languages:
                line = text[: found.start()].count("\n") + 1
                yield Snippet(page, line, found["language"], dedent(found["code"]), found["why"])
