"""Links of the README and the docs lead to pages, files and headings that there are."""

import re

import pytest
import yaml
from pages import PAGES, ROOT

from nni_magic.strategies.registry import METHODS

LINK = re.compile(r"\]\(([^)\s:]+)\)")
CODE = re.compile(r"^```.*?^```$", re.M | re.S)


def anchors(text):
    """Anchors of the headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.M)
    plain = (re.sub(r"[^\w\s-]", "", heading.lower()).strip() for heading in headings)
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    path = PAGES[page]
    for link in LINK.findall(CODE.sub("", path.read_text(encoding="utf-8"))):
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    named = set(re.findall(r"[\w/]+\.md", yaml.safe_dump(config["nav"])))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert pages - named == set()
    assert named - pages == {"repository/CHANGELOG.md"}


def test_reference_has_every_strategy_and_its_settings():
    texts = [path.read_text() for page, path in PAGES.items() if page.startswith("docs/reference/")]
    shown = re.findall(r"^::: (\S+)$", "\n".join(texts), re.M)
    assert len(set(shown)) == len(shown)
    for name in shown:
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file(), name
    of_methods = {row.strategy.partition(":")[0] for row in METHODS.values()}
    of_settings = {row.settings.__module__ for row in METHODS.values()}
    assert of_methods | of_settings <= set(shown)
