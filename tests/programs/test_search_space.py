"""``nni-magic search-space`` prints what NNI's tuners can search."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from spaces import ConvSpace
from training import Watch, classification, make, train

from nni_magic.programs.main import main

ROOT = Path(__file__).parents[2]


def run(path):
    return subprocess.run(
        [sys.executable, "-m", "nni_magic.programs", "search-space", "--checkpoint", str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_program_prints_the_space(tmp_path):
    train(make("spos"), ConvSpace(), classification(Watch(2, tmp_path / "x.ckpt")))
    done = run(tmp_path / "x.ckpt")
    assert done.returncode == 0, done.stderr
    choices = {"_type": "choice", "_value": list(ConvSpace.CANDIDATES)}
    assert json.loads(done.stdout) == {f"block_{n}": choices for n in range(1, 5)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "error: checkpoint is .*, which is not a file"),
        (b"", "error: checkpoint .* cannot be read"),
    ],
)
def test_program_says_what_is_wrong_in_one_line(content, message, tmp_path, capsys):
    path = tmp_path / "x.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["search-space", "--checkpoint", str(path)])
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (1, "")
    [line] = errors.splitlines()
    assert re.match(message, line)
