"""A study of rank correlation that really trains, is stopped, and goes on."""

import json

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image
from studies import PLAN, plan_of

from experiments.studies.ranking import __main__ as rank_correlation
from experiments.studies.study import Study
from nni_magic.supernet.checkpoint import CHECKPOINT_KEY, read_checkpoint
from nni_magic.support.files import read_json, write_json
from nni_magic.tasks.language.corpus import open_corpus

SMALL = {
    "children": {"n": 3, "steps": 2, "repeated": 1, "seeds": [0, 1]},
    "supernets": {
        "spos": {"strategy": "spos", "steps": 4, "seeds": [0]},
        "magic_at": {
            "strategy": "magic_at", "steps": 4, "seeds": [1],
            "options": {"align_every": 2, "warmup_epochs": 1}, "learning_rate": 1e-4,
        },
    },
}  # fmt: skip
FILES = {
    "children/000_seed0.json", "children/001_seed0.json", "children/002_seed0.json",
    "children/000_seed1.json", "supernets/spos_seed0.json", "supernets/magic_at_seed1.json",
}  # fmt: skip


def study_of(corpus, folder, **changes):
    folder.mkdir(exist_ok=True)
    plan = plan_of(folder, corpus, **{**SMALL, **changes})
    return Study(plan, folder / "runs", corpus / "cache")


def results(study):
    found = {}
    for path in sorted(study.output.rglob("*.json")):
        record = read_json(path)
        record.pop("cpu_seconds", None)
        found[str(path.relative_to(study.output))] = record
    return found


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    study = study_of(corpus, tmp_path_factory.mktemp("finished"))
    study.work()
    return study


def test_everything_of_the_plan_is_there(finished):
    assert results(finished).keys() == FILES
    assert list(finished.missing()) == []
    assert not list(finished.output.rglob("*.lock"))
    for name, record in results(finished).items():
        if name.startswith("supernets"):
            assert len(record["scores"]) == 3
            checkpoint = read_checkpoint((finished.output / name).with_suffix(".ckpt"))
            assert checkpoint[CHECKPOINT_KEY]["turns"][-1]["child"] == record["last_child"]
            assert checkpoint["global_step"] == 4
            terms = checkpoint[CHECKPOINT_KEY]["terms"]
            anchor = terms["alignment_loss"]["target"]["anchor"]["sample"] if terms else None
            assert record.get("anchor") == anchor
            assert (anchor is None) == ("spos" in name)


def test_study_that_was_stopped_ends_the_same(finished, corpus, tmp_path, monkeypatch):
    study = study_of(corpus, tmp_path / "stopped")
    train_supernet = study.train_supernet

    def stopped(name, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "train_supernet", stopped)
    with pytest.raises(KeyboardInterrupt):
        study.work()
    assert len(results(study)) == 4
    monkeypatch.setattr(study, "train_child", stopped)  # children are not trained again
    monkeypatch.setattr(study, "train_supernet", train_supernet)
    study.work()
    assert results(study) == results(finished)


def test_checkpoint_is_there_only_when_it_is_complete(corpus, tmp_path, monkeypatch):
    study = study_of(corpus, tmp_path / "killed")

    save_checkpoint = pl.Trainer.save_checkpoint

    def killed(trainer, path, **options):
        if not options:  # the training's own, after an epoch
            return save_checkpoint(trainer, path)
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        study.train_supernet("spos", 0)
    assert not study.checkpoint("spos", 0).exists()
    monkeypatch.undo()
    study.train_supernet("spos", 0)
    assert [path.name for path in study.checkpoint("spos", 0).parent.iterdir()] == [
        "spos_seed0.ckpt"
    ]


def test_more_children_are_scored_and_no_supernet_is_trained_again(
    finished, corpus, tmp_path, monkeypatch
):
    few = {**SMALL["children"], "n": 2}
    begun = study_of(corpus, tmp_path / "more", children=few)
    begun.work()
    study = study_of(corpus, tmp_path / "more")  # one child more
    assert {path.name for path, _ in study.missing()} == {
        "002_seed0.json", "spos_seed0.json", "magic_at_seed1.json",
    }  # fmt: skip
    monkeypatch.setattr(study, "train_supernet", None)
    study.work()
    assert results(study) == results(finished)


def test_more_children_without_the_weights_that_score_them_are_refused_before_any_training(
    corpus, tmp_path, monkeypatch
):
    few = {**SMALL["children"], "n": 2}
    study_of(corpus, tmp_path / "more", children=few).work()
    study = study_of(corpus, tmp_path / "more")
    study.checkpoint("magic_at", 1).unlink()
    before = results(study)
    with pytest.raises(ValueError, match="supernet 'magic_at' of seed 1 came without its weights"):
        study.work()
    assert results(study) == before
    study.supernet_file("magic_at", 1).unlink()  # as the error says
    study.work()
    assert list(study.missing()) == []


def test_supernet_that_another_process_has_finished_is_not_trained(finished, monkeypatch):
    path = finished.supernet_file("spos", 0)
    before = path.read_text()
    missing = finished.missing
    late = [dict(missing()), {path: None}]  # at first it was missing
    monkeypatch.setattr(finished, "missing", lambda: late.pop() if len(late) > 1 else late[0])
    finished.work()
    assert path.read_text() == before


@pytest.mark.parametrize(("change", "message"), [
    ({"space": {**PLAN["space"], "hidden": 16}},
     r"children/000_seed0.json' was made with other settings: space.hidden is 8 there, and 16 he"),
    ({"children": {**SMALL["children"], "steps": 3}}, r"json' .* children.steps is 2 there, and 3"),
    ({"children": {**SMALL["children"], "seed": 1}}, r"children/000.* sample.layer_. is '"),
    ({"training": {**PLAN["training"], "learning_rate": 0.1}}, r"training.learning_rate is 0.001 "),
    ({"options": {"corpus": ["sotu"]}}, r"options.corpus is \['/.* there, and \['sotu'\] here"),
    ({"score_rows": 128}, r"score_rows is 64 there, and 128 here"),
    ({"epoch_steps": 1}, r"supernets/.*_seed..json' .*: epoch_steps is 2 there, and 1 here"),
    ({"supernets": {"spos": {"strategy": "magic_t", "steps": 4, "seeds": [0]}}},
     r"supernets/spos_seed0.json' .*: supernets.strategy is 'spos' there, and 'magic_t' here"),
    ({"supernets": {"spos": {"strategy": "spos", "steps": 6, "seeds": [0]}}},
     r"supernets.steps is 4 there, and 6 here"),
    ({"supernets": {"spos": {**SMALL["supernets"]["spos"], "decay": False}}},
     r"supernets.decay is True there, and False here"),
    ({"supernets": {"magic_at": {**SMALL["supernets"]["magic_at"], "learning_rate": 1e-3}}},
     r"supernets.learning_rate is 0.0001 there, and 0.001 here"),
    ({"supernets": {"magic_at": {
        **SMALL["supernets"]["magic_at"], "options": {"align_every": 1, "warmup_epochs": 1}}}},
     r"supernets.options.align_every is 2 there, and 1 here"),
    ({"supernets": {"magic_at": {
        **SMALL["supernets"]["magic_at"], "options": {"k": 1, "warmup_epochs": 1}}}},
     r"supernets.options.k is None there, and 1 here"),
])  # fmt: skip
def test_results_of_another_plan_are_named(finished, corpus, tmp_path, change, message):
    study = study_of(corpus, tmp_path / "other")
    study.plan = plan_of(tmp_path, corpus, **{**SMALL, **change})
    study.children = study.plan.children.draw(study.domain.make_space())
    study.output = finished.output
    with pytest.raises(ValueError, match=message):
        study.work()


def test_values_for_the_report_change_no_result(finished, corpus, tmp_path):
    spos = {**SMALL["supernets"]["spos"], "values": {"k": 6}}
    finished.plan, before = (
        plan_of(tmp_path, corpus, **{**SMALL, "supernets": {"spos": spos}}), finished.plan,
    )  # fmt: skip
    assert list(finished.missing()) == []
    finished.plan = before


@pytest.mark.parametrize("name", ["children/000_seed0.json", "supernets/spos_seed0.json"])
def test_result_without_settings_is_named(finished, name):
    path = finished.output / name
    whole = path.read_text()
    write_json(path, {k: v for k, v in json.loads(whole).items() if k != "made_with"})
    try:
        with pytest.raises(ValueError, match=rf"{name}' does not record the settings that it was"):
            finished.work()
    finally:
        path.write_text(whole)


def test_epoch_of_more_steps_than_data_raises_at_once(corpus, tmp_path):
    supernets = {"spos": {"strategy": "spos", "steps": 9000, "seeds": [0]}}
    with pytest.raises(ValueError, match=r"epoch_steps is 9000, but the training data have \d+ st"):
        study_of(corpus, tmp_path / "long", supernets=supernets, epoch_steps=9000)


def test_repeated_training_is_of_the_same_child_and_another_start(finished):
    first, second = (results(finished)[f"children/000_seed{seed}.json"] for seed in (0, 1))
    assert first["made_with"] == second["made_with"]
    assert first["made_with"]["sample"] == finished.children[0]
    assert first["params"] == second["params"]
    assert first["val_loss"] != second["val_loss"]


def test_results_name_the_device(finished):
    assert {record["device"] for record in results(finished).values()} == {"cpu"}


def test_text_of_ones_own_is_named_by_its_digest(corpus, tmp_path):
    (tmp_path / "plan").mkdir()
    plan = plan_of(tmp_path / "plan", **SMALL)  # of sotu
    arguments = ["--plan", str(tmp_path / "plan" / "plan.yml"), "--threads", "1",
                 "--runs", str(tmp_path / "runs"), "--output", str(tmp_path / "out")]  # fmt: skip
    given = [*arguments, "--cache", str(corpus / "cache"), "--data", str(corpus)]
    rank_correlation.main(given)
    digest = open_corpus(corpus).digest
    for record in results(Study(plan, tmp_path / "runs", corpus / "cache", corpus)).values():
        assert record["made_with"]["data"]["corpus"] == digest
        assert record["made_with"]["options"] == {"corpus": ["sotu"]}
    with pytest.raises(ValueError, match=rf"seed0.json' .*: data.corpus is '{digest}' there, and"):
        rank_correlation.main([*arguments, "--cache", str(tmp_path / "cache")])
    rank_correlation.main([*given, "--report"])
    assert list((tmp_path / "out").glob("*.md"))


@pytest.mark.parametrize("method", ["made_child", "made_supernet"])
def test_results_on_the_data_of_the_plan_do_not_depend_on_their_place(finished, method):
    argument = finished.children[0] if method == "made_child" else "spos"
    assert "data" not in getattr(finished, method)(argument)


def test_children_of_a_domain_without_benchmark_are_to_be_trained(finished):
    with pytest.raises(NotImplementedError, match="children of Bert are to be trained"):
        finished.domain.published(finished.children[0])


def test_unreadable_images_are_not_part_of_the_settings(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for i in range(40):
                pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / name / f"{i}.png")
    (tmp_path / "data" / "train" / "a" / "bad.png").write_bytes(b"no image")
    options = {"dataset": "imagefolder", "resolution": 8, "skip_unreadable": True}
    plan = plan_of(tmp_path, domain="proxyless", space={}, options=options, **SMALL)
    study = Study(plan, tmp_path, tmp_path, tmp_path / "data")
    assert len(study.domain.describe()["unreadable"]) == 1
    assert study.made_supernet("spos")["data"].keys() == {
        "dataset", "classes", "images", "images_digest",
    }  # fmt: skip


def test_folder_for_digits_is_refused(tmp_path):
    plan = plan_of(tmp_path, domain="proxyless", space={}, options={}, **SMALL)
    with pytest.raises(ValueError, match=r"data is '.*', but dataset is 'digits', .*; fashion_mni"):
        Study(plan, tmp_path, tmp_path, tmp_path)


def test_ground_truth_and_scores_share_no_text(finished, monkeypatch):
    data = finished.domain.data
    validation = data.validation
    rows = []

    class Watched(torch.utils.data.Dataset):
        def __len__(self):
            return len(validation)

        def __getitem__(self, index):
            rows.append(index)
            return validation[index]

    monkeypatch.setitem(
        finished.domain.__dict__, "data", type(data)(**{**vars(data), "validation": Watched()})
    )
    checkpoint = finished.checkpoint("spos", 0)
    finished.score(checkpoint, finished.children[:1])
    scored = set(rows)
    rows.clear()
    finished.train_child(0, 0)
    assert scored == set(range(64))
    assert set(rows) == set(range(64, len(validation)))


def test_images_are_scored_with_and_without_calibration(tmp_path):
    plan = plan_of(
        tmp_path, domain="proxyless", space={"candidates": ["mb3_3x3", "zero"]},
        options={"dataset": "digits", "held_out": 0.1}, **SMALL,
    )  # fmt: skip
    study = Study(plan, tmp_path / "runs", tmp_path / "cache")
    study.work()
    assert results(study).keys() == FILES
    found = results(study)["supernets/spos_seed0.json"]
    assert len(found["scores"]) == len(found["uncalibrated"]) == 3
    assert found["scores"] != found["uncalibrated"]
    assert 0 <= results(study)["children/000_seed0.json"]["val_accuracy"] <= 1
