"""``nni-magic export`` writes a child in another form."""

import hugging
import images
import pytest

from nni_magic.programs import export
from nni_magic.programs.main import main


def test_a_child_of_text_becomes_a_folder_of_hugging_face(tmp_path, capsys):
    child = hugging.exported(tmp_path)
    main(["export", "--child", str(child)])
    assert capsys.readouterr().out.splitlines()[-1] == f"written: {child / 'hugging_face'}"
    assert (child / "hugging_face" / "model.safetensors").is_file()
    main(["export", "--child", str(child), "--output", str(tmp_path / "mine")])
    assert (tmp_path / "mine" / "README.md").is_file()


def test_the_onnx_file_is_quantized(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(export, "write_int8", lambda *given: asked.append(given) or "there")
    _, child = images.exported(tmp_path)
    main(["export", "--child", str(child), "--to", "int8"])
    assert asked == [(child / "child.onnx", None)]
    assert capsys.readouterr().out == "written: there\n"


@pytest.mark.parametrize(("words", "message"), [
    ("", "error: child is missing; it is given as --child"),
    ("--child nowhere", "error: folder is 'nowhere', without child.json; accepted are"),
    ("--child CHILD --to paper", "error: to is 'paper'; accepted are"),
    ("--child CHILD --to int8", "error: source is '"),
    ("--child CHILD", "error: child is '"),  # of images
])  # fmt: skip
def test_a_mistake_is_one_line(words, message, tmp_path, capsys):
    _, child = images.exported(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", *words.replace("CHILD", str(child)).split()])
    out = capsys.readouterr().out
    assert out.startswith(message)
    assert out.count("\n") == 1
