"""Let the site carry those files of the repository that its pages link to.

The repository has no public address yet, so a link from a page out of ``docs/`` has nowhere to lead
but into the site itself: Markdown becomes a page, a picture is copied, any other file is shown as a
page of code, and a folder as a list of what is in it. In the repository the same links lead to the
files themselves.
"""

import re
from collections.abc import Iterator
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
AS_THEY_ARE = {".png", ".svg"}
LANGUAGES = {".py": "python", ".yml": "yaml", ".json": "json", ".cfg": "ini"}
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def in_site(path: Path) -> str:
    """Place of a file in the site, below its root."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    place = f"repository/{path.relative_to(ROOT).as_posix()}"
    if path.is_dir():
        return f"{place}/index.md"
    return place if path.suffix in {".md", *AS_THEY_ARE} else f"{place}.md"


def in_repository(place: str) -> Path:
    """Inverse of :func:`in_site`, for Markdown; what is shown as code links nowhere."""
    own = place.removeprefix("repository/")
    return DOCS / place if own == place else ROOT / own


def linked(text: str, source: Path) -> Iterator[Path]:
    """Files of the repository that a text links to; ``source`` is its own file."""
    for _, target, _ in LINK.findall(text):
        path = (source.parent / target).resolve()
        if path.exists() and not path.is_relative_to(DOCS):
            yield path


def shown(path: Path) -> str:
    """Page for a file that is no Markdown, or for a folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        rows = [f"- `{entry.name}{'/' * entry.is_dir()}`" for entry in sorted(path.iterdir())]
        return "\n".join([f"# {name}/", "", *rows, ""])
    language = LANGUAGES.get(path.suffix, "text")
    return f"# {name}\n\n````{language}\n{path.read_text(encoding='utf-8')}````\n"


def on_files(files: Files, config: Any) -> Files:
    """Add what is linked to, and what that links to."""
    waiting = [DOCS / file.src_uri for file in files.documentation_pages()]
    while waiting:
        source = waiting.pop()
        for path in linked(source.read_text(encoding="utf-8"), source):
            place = in_site(path)
            if files.get_file_from_path(place) is not None:
                continue
            if path.suffix in {".md", *AS_THEY_ARE}:
                files.append(File.generated(config, place, abs_src_path=str(path)))
            else:
                files.append(File.generated(config, place, content=shown(path)))
            if path.suffix == ".md":
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to where the files are in the site."""
    place = page.file.src_uri
    if (source := in_repository(place)).exists():
        return LINK.sub(partial(_moved, source, place), markdown)
    return markdown


def _moved(source: Path, place: str, found: re.Match[str]) -> str:
    path = (source.parent / found[2]).resolve()
    if not path.exists():  # not ours, and MkDocs says what is wrong with it
        return found[0]
    return found[1] + relpath(in_site(path), Path(place).parent) + found[3]
