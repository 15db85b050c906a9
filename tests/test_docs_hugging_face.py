"""What docs/hugging_face.md shows goes from a child to a classifier."""

import re
from pathlib import Path

import hugging

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
