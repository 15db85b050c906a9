"""The site of the documentation is built without a warning, and its links lead somewhere."""

import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT


class Page(HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, path):
        super().__init__()
        self.anchors, self.links = set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors.add(given.get("id"))
        self.links += [given[name] for name in ("href", "src") if given.get(name)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    words = ["build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_links_of_the_site_lead_somewhere(site):
    pages = {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if url.fragment and target in pages:
                assert url.fragment in pages[target].anchors, f"{path.relative_to(site)}: {link}"


@pytest.mark.slow
def test_the_site_has_files_of_the_repository_and_the_reference(site):
    shown = site / "repository/experiments/results/rank_correlation_bert_8x4_cpu2_20261130.html"
    assert "Kendall" in shown.read_text()
    code = (site / "repository/nni_magic/supernet/chain.py.html").read_text()
    assert "ChangedInPlace" in code
    reference = (site / "reference/strategies.html").read_text()
    assert "<math" in reference and ":math:" not in reference and ":class:" not in reference
