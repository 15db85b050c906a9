"""Data sets of Hugging Face, written as official files."""

import sys
from types import ModuleType

import pytest

from nni_magic.tasks.language.glue import GLUE, read_part
from nni_magic.tasks.language.hub_data import local_data
from nni_magic.tasks.language.squad import read_squad

TEXTS = {"sentence", "sentence1", "sentence2", "premise", "hypothesis", "question", "question1",
         "question2"}  # fmt: skip


def fake_datasets(monkeypatch, rows):
    """Make ``datasets`` a module that knows some rows, whatever is asked for; gives the calls."""
    calls = []
    module = ModuleType("datasets")

    def load_dataset(name, config, *, split):
        calls.append((name, config, split))
        if isinstance(rows, Exception):
            raise rows
        return rows

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def row(label, **more):
    return {name: f'a "{name}"\\' for name in TEXTS} | {"label": label, "idx": 0} | more


@pytest.mark.parametrize("name", GLUE)
def test_task_is_read_like_its_official_files(name, monkeypatch, tmp_path):
    calls = fake_datasets(monkeypatch, [row(1), row(0)])
    folder = local_data("hf:owner/glue", name, tmp_path)
    task = GLUE[name]
    parts = {part: read_part(task, folder / name, part) for part in ("train", *task.dev)}
    theirs = {"MNLI": ["premise", "hypothesis"], "MRPC": ["sentence1", "sentence2"]}
    for found in parts.values():
        assert [example.label for example in found] == [1, 0]
        names = theirs.get(name, task.texts)
        assert found[0].texts == tuple(f'a "{name}"\\' for name in names)
    config = {"SST-2": "sst2", "STS-B": "stsb"}.get(name, name.lower())
    splits = [part.replace("dev", "validation") for part in parts]
    assert calls == [("owner/glue", config, split) for split in splits]
    assert local_data("hf:owner/glue", name, tmp_path) == folder
    assert len(calls) == len(parts)  # what is there is not loaded again


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_questions_are_read_like_their_official_files(version, monkeypatch, tmp_path):
    answers = {"text": ["cat"], "answer_start": [4]}
    rows = [{"id": "1", "context": "the cat", "question": "who?", "answers": answers}]
    none = {"text": [], "answer_start": []}
    rows += [{"id": "2", "context": "the cat", "question": "why?", "answers": none}]
    fake_datasets(monkeypatch, rows)
    folder = local_data("hf:squad", f"SQuAD-{version}", tmp_path)
    first, second = read_squad(folder / f"SQuAD-{version}/dev-v{version}.json")
    assert (first.text, first.context, first.answers) == ("who?", "the cat", (("cat", 4),))
    assert second.answers == ()


def test_folder_is_given_as_it_is(tmp_path):
    assert local_data(tmp_path, "RTE", tmp_path / "cache") == tmp_path


def test_missing_package_names_the_local_layout(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = r"'hf:glue', .* nni-magic\[datasets\], or give a folder with RTE/train.tsv"
    with pytest.raises(ModuleNotFoundError, match=message):
        local_data("hf:glue", "RTE", tmp_path)


@pytest.mark.parametrize(("rows", "message"), [
    (ConnectionError("no network"), r"train part of RTE cannot be loaded \(no network\); accepted"),
    ([{"label": 0}], "row 0 of RTE's train has no column 'sentence1', only"),
    ([row(0, sentence2="a\tb")], r"row 0 of RTE's train has sentence2 'a\\tb'; accepted are texts"),
])  # fmt: skip
def test_data_that_cannot_be_had_are_told(rows, message, monkeypatch, tmp_path):
    fake_datasets(monkeypatch, rows)
    with pytest.raises(ValueError, match=message):
        local_data("hf:glue", "RTE", tmp_path)
    assert not list(tmp_path.rglob("*.tsv"))


def test_label_that_is_none_is_told_as_that_of_a_file(monkeypatch, tmp_path):
    fake_datasets(monkeypatch, [row(-1)])
    folder = local_data("hf:glue", "RTE", tmp_path)
    with pytest.raises(ValueError, match=r"train\.tsv:2: label is '-1'; accepted are 'entailment'"):
        read_part(GLUE["RTE"], folder / "RTE", "train")
