"""What is installed from a wheel is enough for the main job, outside of the repository."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info", "records", "runs")
SMALLER = {
    r"--corpus \S+": "--corpus {corpus}",
    r"--epochs \d+": "--epochs 2",
    r"--epoch-steps \d+": "--epoch-steps 3 --batch-size 4 --warmup-steps 2",
    r"--warmup-epochs \d+": "--warmup-epochs 1",
    r"--validation-batches \d+": "--validation-batches 1",
    r"--population \d+": "--population 3",
    r"--retrain-epochs \d+": "--retrain-epochs 1",
    r"generations: \d+": "generations: 1",
    r"top_k: \d+": "top_k: 1",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of programs of a fresh environment with the wheel, which sees what is installed."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(ROOT, folder / "source", ignore=LEFT_OUT)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*pip, "wheel", *options, str(source)], check=True, timeout=200)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    programs = folder / "env" / "bin"
    python = programs / "python"
    subprocess.run(
        [*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True, timeout=200
    )
    [packages] = (folder / "env" / "lib").glob("python*/site-packages")
    (packages / "present.pth").write_text(sysconfig.get_path("purelib") + "\n")
    nnictl = programs / "nnictl"
    nnictl.write_text(f"#!{python}\nfrom nni.tools.nnictl.nnictl import parse_args\nparse_args()\n")
    nnictl.chmod(0o755)
    return programs


def run(installed, folder, *words):
    """Run an installed program in a folder, with nothing else on the path; gives what it prints."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = os.pathsep.join([str(installed), os.defpath])
    environment = {**known, "PATH": path, "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(installed / words[0]), *words[1:]],
        cwd=folder, env=environment, text=True, timeout=280,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_runs_from_a_wheel_in_an_empty_folder(installed, corpus, tmp_path):
    where = "import nni_magic; print(nni_magic.__file__)"
    assert str(installed.parent) in run(installed, tmp_path, "python", "-c", where)

    run(installed, tmp_path, "nni-magic", "example", "bert_search", "mine")
    example = tmp_path / "mine" / "bert_search.yml"
    text = example.read_text()
    for pattern, small in SMALLER.items():
        text, found = re.subn(pattern, small.format(corpus=corpus), text)
        assert found, pattern
    example.write_text(text)
    out = run(installed, tmp_path, "nni-magic", "demo", "mine", "--port", "0")
    assert "| found, rank 1 |" in out
    assert "| baseline bert |" in out
    assert {path.name for path in tmp_path.joinpath("mine").iterdir()} == {
        "bert_search.yml",
        "runs",
    }
