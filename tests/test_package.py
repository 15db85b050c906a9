"""What is installed: a wheel in a fresh environment, and an archive of sources that runs tests."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path

import nnictl
import pytest
import yaml
from nnictl import free_port
from packaging.requirements import Requirement

import nni_magic

ROOT = Path(__file__).parents[1]
NOT_COPIED = (".git", ".venv*", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "runs")


def run(*command, cwd, **environment):
    """Run a program outside the repository; gives what it prints."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**kept, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(kind, source, target):
    """Build from a folder of sources with the backend that ``pyproject.toml`` names."""
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))"
    return target / run(sys.executable, "-c", code, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def sdist(folder):
    source = folder / "copy"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return build("sdist", source, folder)


@pytest.fixture(scope="module")
def unpacked(sdist, folder):
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    [found] = (folder / "unpacked").iterdir()
    return found


@pytest.fixture(scope="module")
def wheel(unpacked, folder):
    """Built from the archive, as a package index's users would."""
    return build("wheel", unpacked, folder)


@pytest.fixture(scope="module")
def fresh(wheel, folder):
    """Programs of an environment with the wheel; what it needs comes from the present one."""
    venv.create(folder / "fresh", symlinks=True)
    programs = folder / "fresh" / "bin"
    install = ["--python", programs / "python", "install", "--quiet", "--no-deps", "--no-index"]
    run(sys.executable, "-m", "pip", *install, wheel, cwd=folder)
    # Only now, because pip would find another nni-magic there and remove it.
    [packages] = (folder / "fresh").glob("lib/python*/site-packages")
    (packages / "present.pth").write_text(sysconfig.get_path("purelib"))
    nnictl = programs / "nnictl"
    nnictl.write_text(f"#!{programs}/python\nfrom nni.tools.nnictl.nnictl import parse_args\n"
                      "parse_args()\n")  # fmt: skip
    nnictl.chmod(0o755)
    return programs


@pytest.fixture
def environment(fresh, tmp_path):
    """Variables for a program of the fresh environment."""
    return {"PATH": f"{fresh}:{os.environ['PATH']}", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}


GROUPS = (
    "always", "nlp", "huggingface", "datasets", "teacher", "pareto", "onnx", "plots", "docs",
    "test",
)  # fmt: skip


def requirements(groups=GROUPS):
    """What ``setup.cfg`` asks for: ``always``, or with an extra."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    texts = {**config["options.extras_require"], "always": config["options"]["install_requires"]}
    assert set(texts) == set(GROUPS)
    lines = [line for group in groups for line in texts[group].splitlines()]
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def declared(*groups):
    return {_name(requirement.name) for requirement in requirements(groups)}


def _name(distribution):
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(folder, at_once):
    """Distributions that the modules of a folder import; ``at_once``: when they are imported."""
    known = packages_distributions()
    own = {path.stem for path in (ROOT / "tests").iterdir()}
    own |= {"nni_magic", "search_spaces", "experiments", "nni_bootstrap", "tests"}
    found = set()
    for path in (ROOT / folder).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body if at_once else ast.walk(tree):
            if isinstance(node, ast.Import):
                names = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = {node.module}
            else:
                continue
            names -= {"somewhere"}  # what a test only says that it imports
            tops = {name.partition(".")[0] for name in names} - own - sys.stdlib_module_names
            found |= {_name(known[top][0]) if top in known else top for top in tops}
    return found


def test_direct_imports_are_declared():
    always = declared("always")
    for_users = declared(*GROUPS[:-2])
    everything = for_users | declared("docs", "test")
    for package in ("nni_magic", "search_spaces"):
        assert imported(package, at_once=False) - for_users == set()
    of_extras = {"tokenizers", "transformers", "huggingface-hub", "pymoo", "safetensors"}
    assert imported("nni_magic", at_once=True) - always <= of_extras
    assert imported("experiments", at_once=False) - everything == set()
    assert imported("tests", at_once=False) - everything == set()


def test_tested_versions_are_accepted():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    tested = {_name(name): number for name, number in (line.split("==") for line in lines)}
    for requirement in requirements():
        if _name(requirement.name) in tested:  # setuptools is no library and is not pinned
            assert requirement.specifier.contains(tested[_name(requirement.name)]), requirement


def test_the_archive_holds_what_its_tests_need(unpacked):
    for name in ("tests", "experiments", "nni_magic", "search_spaces", "docs"):
        ours = {path.relative_to(ROOT) for path in (ROOT / name).rglob("*") if path.is_file()}
        theirs = {path.relative_to(unpacked) for path in (unpacked / name).rglob("*")}
        kept = {path for path in ours if path.suffix not in {".pyc", ".ckpt", ".lock"}}
        kept = {path for path in kept if path.parts[:2] != ("experiments", "runs")}
        assert kept - theirs == set()
    for name in ("nni_bootstrap.py", "README.md", "LICENSE", "Makefile", "constraints.txt",
                 "CITATION.cff", "mkdocs.yml"):  # fmt: skip
        assert (unpacked / name).is_file()


def test_changelog_and_citation_are_of_this_version():
    heading = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert heading[1] == citation["version"] == nni_magic.__version__


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    [info] = {top for top in tops if top.endswith(".dist-info")}
    assert tops - {info} == {"nni_magic", "search_spaces", "nni_bootstrap.py"}
    sources = [path for top in ("nni_magic", "search_spaces") for path in (ROOT / top).rglob("*")]
    kept = {path.relative_to(ROOT).as_posix() for path in sources if path.is_file()}
    assert names >= {name for name in kept if not name.endswith(".pyc")}
    assert {"nni_magic/py.typed", "search_spaces/py.typed"} <= names
    assert [name for name in names if re.match(r"nni_magic/programs/examples/\w+\.yml", name)]


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/METADATA")]
        about = Parser().parsestr(archive.read(name).decode())
        entries = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert (about["Name"], about["Author"]) == ("nni-magic", "The nni-magic authors")
    assert about["Keywords"] and about["License-File"] == "LICENSE"
    assert "Typing :: Typed" in about.get_all("Classifier")
    urls = dict(url.split(", ") for url in about.get_all("Project-URL"))
    assert urls["Paper"] == "https://proceedings.mlr.press/v162/xu22h.html"
    needed = [Requirement(text) for text in about.get_all("Requires-Dist")]
    bounded = {r.name for r in needed if any(s.operator == "<" for s in r.specifier)}
    assert bounded >= {"nni", "pytorch-lightning", "torchmetrics", "torch"}
    assert re.search(r"\[console_scripts\]\nnni-magic = nni_magic\.programs", entries)


def test_the_wheel_is_what_is_imported(fresh, tmp_path):
    code = """if True:
        import importlib.metadata, importlib.util
        for name in ("nni_magic", "search_spaces", "nni_bootstrap"):
            print(importlib.util.find_spec(name).origin)
        import nni_magic
        print(importlib.metadata.version("nni-magic") == nni_magic.__version__)
    """
    *origins, version = run(fresh / "python", "-c", code, cwd=tmp_path).split()
    assert [Path(origin).is_relative_to(fresh.parent) for origin in origins] == [True] * 3
    assert version == "True"


ORDERS = [
    "nni_magic.strategies, search_spaces",
    pytest.param("search_spaces, nni_magic.search", marks=pytest.mark.slow),
    pytest.param("nni_magic.tasks, nni_bootstrap, nni", marks=pytest.mark.slow),
    pytest.param("nni_magic.manager.trial, torch", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("names", ORDERS)
def test_any_import_of_the_wheel_may_come_first(names, fresh, tmp_path):
    code = f"""if True:
        import {names}
        from nni_magic.strategies import MagicAT
        from search_spaces import BertSpace
        print(MagicAT.__module__, BertSpace.__name__)
    """
    out = run(fresh / "python", "-c", code, cwd=tmp_path)
    assert out.splitlines()[-1] == "nni_magic.strategies.magic_at BertSpace"


def test_the_program_answers_in_an_empty_folder(fresh, tmp_path, environment):
    out = run(fresh / "nni-magic", "--help", cwd=tmp_path, **environment)
    assert {"demo", "example", "search-space"} <= set(re.findall(r"[\w-]+", out))
    assert list(tmp_path.iterdir()) == []


SMALL = {
    "epochs": 2, "epoch-steps": 3, "batch-size": 4, "warmup-steps": 2, "warmup-epochs": 1,
    "anchor-interval": 2, "population": 2, "validation-batches": 1,
}  # fmt: skip
SMALL_IF_GIVEN = {"search-children": 4, "retrain-epochs": 1}


def written_example(fresh, folder, environment, name):
    """An example as ``nni-magic example`` writes it, made so small that it ends in a minute."""
    run(fresh / "nni-magic", "example", name, cwd=folder, **environment)
    text = (folder / f"{name}.yml").read_text()
    assert str(ROOT) not in text and "experiments." not in text
    (folder / "corpus").mkdir()
    for number in range(8):
        words = f"document {number} says some words again " * 60
        (folder / "corpus" / f"{number}.txt").write_text(words)
    config = yaml.safe_load(text)
    command = re.sub(r"--corpus \S+", f"--corpus {folder / 'corpus'}", config["trialCommand"])
    for option, value in SMALL_IF_GIVEN.items():
        command = re.sub(rf"--{option} \S+", f"--{option} {value}", command)
    command = " ".join([command, *(f"--{option} {value}" for option, value in SMALL.items())])
    return {**config, "trialCommand": command}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_runs_outside_the_repository(fresh, tmp_path, environment):
    config = written_example(fresh, tmp_path, environment, "bert_search")
    config["tuner"]["classArgs"] |= {"generations": 1, "top_k": 1, "baselines": ["random_1"]}
    (tmp_path / "small.yml").write_text(yaml.safe_dump(config))
    given = ["demo", "--experiment", "small.yml", "--port", free_port()]
    out = run(fresh / "nni-magic", *given, cwd=tmp_path, **environment)
    assert out.count("succeeded after") == 4  # supernet, one generation, one child, the baseline
    assert f"Files: {tmp_path / 'runs'}" in out


@pytest.mark.slow
def test_a_written_example_runs_through_nnictl(fresh, tmp_path, environment, monkeypatch):
    monkeypatch.setattr(nnictl, "NNICTL", fresh / "nnictl")
    config = written_example(fresh, tmp_path, environment, "bert_strategies")
    config |= {"maxTrialNumber": 1}
    with nnictl.NnictlExperiment(tmp_path, config, **environment) as experiment:
        [job] = experiment.wait_for(lambda jobs: jobs and jobs[0].status in nnictl.ENDED)
        assert job.status == "SUCCEEDED", (Path(job.logPath) / "trial.stdout").read_text()
    assert experiment.left == []


@pytest.mark.slow
def test_the_archive_tests_itself(unpacked):
    files = ["test_architecture.py", "children/test_samples.py", "support/test_errors.py",
             "scoring/test_leaderboard.py", "experiments/studies/test_plan.py"]  # fmt: skip
    options = ["-q", "-n0", "-p", "no:cacheprovider"]
    out = run(sys.executable, "-m", "pytest", *options, *(f"tests/{file}" for file in files),
              cwd=unpacked)  # fmt: skip
    assert re.search(r"^\d+ passed", out.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_newcomer_gets_from_an_empty_folder_to_an_exported_child_of_their_text(
    fresh, tmp_path, environment
):
    # The wheel is installed: the first of at most five commands.
    texts = [path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))]
    (tmp_path / "my_text.txt").write_text("\n\n".join(texts))
    train = ("train bert --strategy magic_at --corpus my_text.txt --epochs 2 --epoch-steps 15 "
             "--search-children 50 --validation-batches 1 --export --output mine")  # fmt: skip
    out = run(fresh / "nni-magic", *train.split(), cwd=tmp_path, **environment)
    assert '"val_loss"' in out
    [child] = (tmp_path / "mine" / "children").iterdir()
    code = f"""if True:
        import nni_magic
        child = nni_magic.load({str(child)!r})
        print(*child.model(**child.preprocess("A supernet trains <mask> children.")).shape)
    """
    last = run(fresh / "python", "-c", code, cwd=tmp_path, **environment).splitlines()[-1]
    batch, length, vocabulary = map(int, last.split())
    assert (batch, vocabulary) == (1, 1024) and length > 5
    visible = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert visible == {"my_text.txt", "mine", "runs"}  # the home folder is the same here


PROJECT = '''from nni.nas.strategy import RandomOneShot as Strategy

import torch
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.experiment import NasExperiment
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from torch import nn
from torch.utils.data import TensorDataset


class MySpace(ModelSpace):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(
            LayerChoice([nn.Linear(8, 8), nn.Identity()], label=f"block_{n}") for n in range(6)
        ))
        self.head = nn.Linear(8, 3)

    def forward(self, rows):
        return self.head(self.blocks(rows))


if __name__ == "__main__":
    data = TensorDataset(torch.randn(60, 8), torch.randint(3, (60,)))
    evaluator = Classification(
        num_classes=3, max_epochs=3,
        train_dataloaders=DataLoader(data, batch_size=10), val_dataloaders=DataLoader(data),
    )
    experiment = NasExperiment(MySpace(), evaluator, Strategy())
    experiment.run()
    print(type(experiment.strategy).__name__, experiment.export_top_models(formatter="dict"))
'''


@pytest.mark.slow
def test_a_project_of_nni_searches_by_magic_at_when_one_line_changes(fresh, tmp_path, environment):
    theirs = "from nni.nas.strategy import RandomOneShot as Strategy"
    ours = "from nni_magic.strategies import MagicAT as Strategy"
    assert PROJECT.count(theirs) == 1
    (tmp_path / "project.py").write_text(PROJECT.replace(theirs, ours))
    out = run(fresh / "python", "project.py", cwd=tmp_path, **environment)
    [found] = re.findall(r"^MagicAT (\[.*\])$", out, re.M)
    [child] = ast.literal_eval(found)
    assert child.keys() == {f"block_{n}" for n in range(6)}
