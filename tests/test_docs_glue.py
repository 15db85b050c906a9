"""What docs/tutorials/glue.md shows goes from a text to a classifier."""

import re
import shlex
from pathlib import Path

import pytest
from test_docs_snippets import write_text

from nni_magic.programs.main import main

PAGE = Path(__file__).parents[1] / "docs/tutorials/glue.md"
SMALL = (
    "--epochs 2 --epoch-steps 4 --batch-size 8 --search-children 4 --population 2 --threads 1 "
    "--validation-batches 1 --pretrain-steps 20 --fine-tune-epochs 8"
)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_page_makes_a_classifier(tmp_path, monkeypatch, trial):
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "my_text")
    names = {}
    for language, code in re.findall(r"```(python|console)\n(.*?)```", PAGE.read_text(), re.S):
        if language == "python":
            exec(compile(code, str(PAGE), "exec"), names)
        elif code.startswith("nni-magic"):
            main([*shlex.split(code)[1:], *SMALL.split()])
    assert names["labels"] == ["1", "0"]
    table = (tmp_path / "runs/glue/table.md").read_text()
    assert [line.split()[1] for line in table.splitlines()[2:5]] == ["found", "bert", "random"]
