"""Every snippet of the README and the docs runs, in the order in which a reader runs it."""

import itertools
import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from nni.nas.experiment import NasExperiment
from pages import PAGES, ROOT, snippets
from PIL import Image

from nni_magic.programs import fields, main, options
from nni_magic.programs.example import examples
from nni_magic.strategies.registry import METHODS
from nni_magic.tasks.registry import task

SMALLER = {"max_epochs=15": "max_epochs=1", "generations=2": "generations=1, population=4"}
"""What the quick start trains and searches here; it is run as it is in a slow test."""
ELSEWHERE = {"docs/architecture.md", "docs/hugging_face.md", "docs/tutorials/glue.md"}
"""Pages whose Python other modules, tests/test_docs_*.py, run with more asserted."""
BY_PAGE = {
    page: [snippet for snippet in found if snippet.why is None]
    for page, found in itertools.groupby(snippets("python"), lambda each: each.page)
    if page not in ELSEWHERE
}


@pytest.fixture
def page_module(monkeypatch, tmp_path):
    """A module in which the snippets of one page run, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # where NNI keeps its experiments
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    started, run_it = [], NasExperiment.run

    def run_and_remember(experiment):
        started.append(experiment)
        return run_it(experiment)

    monkeypatch.setattr(NasExperiment, "run", run_and_remember)
    before = dict(METHODS)
    yield module
    for experiment in started:
        experiment.stop()
    for name in METHODS.keys() - before.keys():
        del METHODS[name]
    fields.strategy_options.cache_clear()


def run(found, module):
    for snippet in found:
        # Empty lines, so that an error names the line of the page.
        code = "\n" * snippet.line + snippet.code
        exec(compile(code, snippet.page, "exec"), module.__dict__)


@pytest.mark.parametrize("page", [page for page in BY_PAGE if page != "docs/quickstart.md"])
def test_python_of_a_page_runs(page, page_module):
    found = BY_PAGE[page]
    if page == "README.md":
        [quick_start] = found
        code = quick_start.code
        for shown, small in SMALLER.items():
            assert code.count(shown) == 1
            code = code.replace(shown, small)
        found = [quick_start._replace(code=code)]
    run(found, page_module)


@pytest.mark.slow
def test_quick_start_runs_as_it_is_shown(page_module):
    run(BY_PAGE["README.md"], page_module)
    assert page_module.ranked[0].score > 0.5  # of ten classes
    assert {path.name for path in page_module.folder.iterdir()} >= {"weights.pt", "child.onnx"}


def test_quick_start_is_short_and_the_same_in_both_places():
    [[one], [other]] = BY_PAGE["README.md"], BY_PAGE["docs/quickstart.md"]
    assert one.code == other.code
    assert len(one.code.splitlines()) <= 25


def test_readme_is_short():
    assert len(PAGES["README.md"].read_text().splitlines()) <= 120


COMMANDS = [
    pytest.param(line, snippet.why, id=f"{snippet.page}: {line}")
    for snippet in snippets("console")
    for line in snippet.code.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize(("line", "why"), COMMANDS)
def test_command_is_one_that_there_is(line, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line, comments=True)
    program, rest = Path(words[0]).name, words[1:]
    if program == "nni-magic":
        check_nni_magic(rest)
    elif program == "nnictl":
        assert why and rest[0] in {"create", "stop", "resume"}
        assert Path(rest[-1]).stem in examples()
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.M)
    elif program == "pip":
        check_extras(rest)
    elif program == "python" and rest[0] == "-m":
        check_module(rest[1])
    else:
        assert why or program == "pre-commit"


SMALL_TASK = "--batch-size 4 --validation-batches 1 --threads 1"
SMALL = {
    "train": f"{SMALL_TASK} --epochs 1 --epoch-steps 3 --warmup-steps 1 --retrain-epochs 1 "
    "--search-children 4 --population 2",
    "pareto": f"{SMALL_TASK} --generations 1 --population 4",
}


def write_text(folder):
    folder.mkdir()
    for number in range(40):
        text = f"Document {number} says something, and says it once more. " * 40
        (folder / f"{number}.txt").write_text(text)


def write_images(folder):
    for split, animal, number in itertools.product(["train", "test"], ["cat", "dog"], range(20)):
        path = folder / split / animal / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 50).convert("RGB").save(path)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "write"), [("text", write_text), ("images", write_images)])
def test_commands_of_a_tutorial_run_at_small_size(name, write, tmp_path, monkeypatch, trial):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / f"my_{name}")
    page = f"docs/tutorials/{name}.md"
    shown = [s for s in snippets("console") if s.page == page and s.why is None]
    for line in "".join(snippet.code for snippet in shown).splitlines():
        _, program, *words = shlex.split(line)
        main.main([program, *words, *SMALL[program].split()])
    written = {path.name for path in (tmp_path / "runs/mine").iterdir()}
    assert written >= {"best_child.json", "results.json", "supernet.ckpt", "metrics.csv"}
    assert (tmp_path / "runs/mine/retrained").is_dir()
    if name == "text":
        assert (tmp_path / "runs/front/front.png").is_file()


def check_nni_magic(words):
    """Read the settings as the program does, to the point where it would start."""
    name, *words = words
    program = main.PROGRAMS[name]
    if ">" in words:
        words = words[: words.index(">")]
    more = {"task": task(words.pop(0)).settings} if program.takes_task else {}
    settings = options.read(program.settings, words, **more)
    if name == "example" and settings.name is not None:
        assert settings.name in examples()


def check_extras(words):
    text = (ROOT / "setup.cfg").read_text()
    for extra in re.search(r"\[(.*)\]", " ".join(words))[1].split(","):
        assert f"\n{extra} =\n" in text


def check_module(name):
    path = ROOT / name.replace(".", "/")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_yaml_of_the_pages_holds_settings_of_the_programs():
    for snippet in snippets("yaml"):
        space = yaml.safe_load(snippet.code).get("searchSpace", {})
        assert space.keys() <= fields.strategy_options().keys() | {"strategy"}, snippet.page


def test_every_snippet_is_in_a_language_that_is_tested_or_says_why_it_is_not_run():
    for snippet in snippets():
        tested = snippet.language in {"python", "console", "yaml", "text"}
        assert tested or snippet.why, f"{snippet.page}:{snippet.line}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_notebook_runs_from_start_to_end(page_module):
    path = ROOT / "docs" / "ten_minutes.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"cell {number}", "exec")
            exec(code, page_module.__dict__)
    assert page_module.best.score > 0.5  # of ten classes
    assert (page_module.folder / "child.onnx").is_file()
