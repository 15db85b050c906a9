"""The pipeline's trial program on text and on images, one stage after the other in this process."""

import json
import math
import shutil
from functools import partial

import pytest
import teachers
import torch
from reading import domain_of, settings_of

import nni_magic
from nni_magic.children.samples import distance
from nni_magic.export import FORMATS, export_child
from nni_magic.manager.pipeline import Pipeline
from nni_magic.programs import exporting, train
from nni_magic.programs.pipeline import Stages, run_trial
from nni_magic.programs.reports import pipeline_table
from nni_magic.tasks.registry import TASKS

SMALL = (
    "--strategy magic_at --epochs 2 --epoch-steps 4 --batch-size 4 --warmup-steps 2 "
    "--warmup-epochs 1 --anchor-interval 2 --population 6 --validation-batches 1 --retrain-epochs 1"
)
IMAGES = (
    "--strategy magic_t --epochs 1 --epoch-steps 2 --batch-size 16 --warmup-steps 1 "
    "--population 3 --validation-batches 1 --retrain-epochs 1 --channels-last"
)


def stages_of(settings, trial, folder, parameters):
    """The pipeline of a trial with these parameters, and its stages."""
    output = folder / "trial"
    output.mkdir(exist_ok=True)
    trial.parameters = parameters
    pipeline = Pipeline(trial, folder / "shared")
    return pipeline, Stages(domain_of(settings), settings, trial, pipeline.folder, output)


@pytest.fixture
def work(corpus, tmp_path, trial):
    """Makes what a trial with these parameters works with."""

    def make(more="", **parameters):
        where = ["--corpus", str(corpus), "--cache", str(corpus / "cache")]
        settings = settings_of("pipeline", "bert", [*where, *SMALL.split(), *more.split()])
        return stages_of(settings, trial, tmp_path, parameters)

    return make


def run(work, **parameters):
    pipeline, stages = work(**parameters)
    return stages.run(pipeline)


def test_stages_follow_each_other_to_the_final_table(work, tmp_path):
    run(work, stage="supernet")
    first = run(work, stage="search", generation=1)
    second = run(work, stage="search", generation=2)
    assert (first["children"], second["children"]) == (6, 6)
    assert second["default"] <= first["default"]
    found = run(work, stage="retrain", rank=1)
    baseline = run(work, stage="retrain", baseline="bert")
    assert found["params"] <= baseline["params"]
    assert math.isfinite(baseline["inherited"])
    by_chance = run(work, stage="retrain", baseline="random_1")
    assert by_chance["params"] <= baseline["params"]

    [child] = (tmp_path / "shared" / "children").iterdir()
    record = json.loads((child / "child.json").read_text())
    assert (record["params"], record["flops"], record["score"]) == (
        found["params"], found["flops"], found["default"],
    )  # fmt: skip
    read = nni_magic.load(child)
    batch = read.preprocess(["abc def", "ab"])
    program = torch.export.load(child / "child.pt2").module()
    torch.testing.assert_close(program(**batch), read.model(**batch))
    table = pipeline_table(tmp_path / "shared")
    assert "found, rank 1" in table
    assert "baseline bert" in table
    assert "random 1" in table
    assert "mha4, ffn, mha4, ffn, mha4, ffn, mha4, ffn" in table


def supernet_weights(folder):
    checkpoint = torch.load(folder / "supernet.ckpt", map_location="cpu", weights_only=False)
    return checkpoint["state_dict"]


def test_supernet_is_that_of_the_seed_whatever_is_built_first(work, corpus, trial, tmp_path):
    run(work, stage="supernet")
    alone = supernet_weights(tmp_path / "shared")
    (tmp_path / "shared").rename(tmp_path / "alone")
    run(work, stage="supernet", baselines=["random_1", "random_2"])
    beside = supernet_weights(tmp_path / "shared")
    own = ["--corpus", str(corpus), "--cache", str(corpus / "cache"), "--population", "6",
           "--output", str(tmp_path / "train")]  # fmt: skip
    settings = settings_of("train", "bert", [*own, *SMALL.split()])
    train.run(domain_of(settings), settings, trial)
    trained = supernet_weights(tmp_path / "train")
    for name, weight in alone.items():
        assert torch.equal(weight, beside[name]) and torch.equal(weight, trained[name])


def test_supernet_imitates_a_teacher_and_is_searched_without_it(work, tmp_path):
    teacher = teachers.written(tmp_path / "teacher")
    run(work, stage="supernet", more=f"--teacher {teacher}")
    names = supernet_weights(tmp_path / "shared")
    assert any(name.startswith("term_weights.teacher_hidden") for name in names)
    shutil.rmtree(teacher)
    assert run(work, stage="search", generation=1)["children"] == 6


def test_children_have_no_more_parameters_than_the_baseline(work):
    _, stages = work(stage="search", generation=1)
    baseline = stages.domain.baseline()
    assert list(baseline.values()) == ["mha4", "ffn"] * 4
    children = stages.population().ask()
    space = stages.domain.make_space()

    def params(sample):
        return sum(p.numel() for p in space.freeze(sample).parameters())

    assert all(params(child) <= params(baseline) for child in children)
    assert any(distance(child, baseline) > 1 for child in children)


def test_random_baselines_are_always_the_same_and_not_those_searched_first(work):
    _, stages = work(stage="search", generation=1)
    drawn = [stages.baseline(f"random_{n}") for n in (1, 2, 3)]
    assert drawn == [work(stage="supernet")[1].baseline(f"random_{n}") for n in (1, 2, 3)]
    assert drawn[0] != drawn[1] != drawn[2]
    assert drawn != stages.population().ask()[:3]


@pytest.mark.parametrize("name", ["random_0", "random_01", "random_", "random_1000", "random"])
def test_random_baseline_of_no_number_is_named(work, name):
    _, stages = work(stage="search", generation=1)
    message = f"baseline is '{name}'; accepted are 'bert', 'random_1 to random_999'"
    with pytest.raises(ValueError, match=message):
        stages.baseline(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--strategy cream",
            "strategy is 'cream'; accepted are 'spos', 'magic_t', 'magic_a', 'mag",
        ),
        ("--preset huge", "preset is 'huge'; accepted are 'base', 'compression', 'analysis', 'ti"),
        ("--population many", "population is 'many'; accepted are whole numbers"),
        ("--population 0", "population is 0; accepted are whole numbers from 1 to 1000000"),
        ("--retrain-epochs 0 --warmup-steps 0", "retrain_epochs is 0; accepted are whole numbers"),
        ("--retrain-epochs 1 --warmup-steps 5", "warmup_steps is 5; accepted are 0 to 4, because "),
        ("--n-drop 12", "unrecognized arguments: --n-drop 12"),
    ],
)
def test_wrong_setting_is_named(words, message):
    with pytest.raises(ValueError, match=message):
        settings_of("pipeline", "bert", f"{SMALL} {words}")


def test_strategy_must_be_given():
    with pytest.raises(ValueError, match="strategy is None; accepted are 'spos', 'magic_t'"):
        settings_of("pipeline", "bert", "")


def test_stages_without_an_experiment_are_refused(monkeypatch):
    monkeypatch.delenv("NNI_OUTPUT_DIR", raising=False)
    with pytest.raises(ValueError, match="are the trials of an experiment: write one with nni-mag"):
        run_trial(TASKS["bert"], settings_of("pipeline", "bert", SMALL))


def test_strategy_that_finds_a_child_by_itself_is_refused_at_the_start(work, tmp_path):
    message = r"strategy is 'gaea', which finds one child by itself; accepted .* are spos, magic_t"
    with pytest.raises(ValueError, match=message):
        run(work, more="--strategy gaea", stage="supernet")
    assert not (tmp_path / "shared" / "supernet.ckpt").exists()


@pytest.mark.parametrize("task", [
    {"stage": "supernet", "baselines": ["bert", "random_1", "gpt"]},
    {"stage": "retrain", "baseline": "gpt"},
], ids=["before hours are spent", "where it is trained"])  # fmt: skip
def test_unknown_baseline_is_named(work, task, tmp_path):
    with pytest.raises(ValueError, match="baseline is 'gpt'; accepted are 'bert'"):
        run(work, **task)
    assert not (tmp_path / "shared" / "supernet.ckpt").exists()


def test_search_that_leaves_no_text_to_test_on_is_refused_at_the_start(work, tmp_path):
    with pytest.raises(ValueError, match=r"validation_batches is 99 of 4 rows, .*none is left"):
        run(work, more="--validation-batches 99", stage="supernet")
    assert not (tmp_path / "shared" / "supernet.ckpt").exists()


# Images


def run_images(trial, tmp_path, more="", **parameters):
    settings = settings_of("pipeline", "proxyless", f"{IMAGES} {more}")
    pipeline, stages = stages_of(settings, trial, tmp_path, parameters)
    return stages, stages.run(pipeline)


# Programs of a convolutional child take half a minute to write.
@pytest.mark.parametrize("formats", [(), pytest.param(tuple(FORMATS), marks=pytest.mark.slow)])
def test_stages_on_images_follow_each_other_to_the_final_table(
    formats, trial, tmp_path, monkeypatch
):
    export = partial(export_child, formats=formats)
    monkeypatch.setattr(exporting, "export_child", export)
    run_images(trial, tmp_path, stage="supernet")
    _, searched = run_images(trial, tmp_path, stage="search", generation=1)
    assert searched["children"] == 3
    work, found = run_images(trial, tmp_path, stage="retrain", rank=1)
    assert found["flops"] <= work.domain.filter["max"]
    _, baseline = run_images(trial, tmp_path, stage="retrain", baseline="mobilenet_v2")
    assert baseline["flops"] == 401_600

    [folder] = (tmp_path / "shared" / "children").iterdir()
    record = json.loads((folder / "child.json").read_text())
    assert (record["params"], record["score"]) == (found["params"], found["default"])
    assert record["provenance"]["data"]["unreadable"] == []
    read = nni_magic.load(folder)
    models = [read.model]
    if formats:
        models.append(torch.export.load(folder / "child.pt2").module())
    images, labels = work.domain.data.test.__getitems__(range(360))
    raw = work.domain.data.test.source.images[torch.as_tensor(work.domain.data.test.indices)]
    assert torch.equal(read.preprocess(list(raw)), images)
    for model in models:
        hits = (model(images).argmax(1) == labels).float().mean().item()
        assert found["accuracy"] == pytest.approx(hits, abs=1 / 360)
    table = pipeline_table(tmp_path / "shared")
    assert "found, rank 1" in table
    assert "8 mb6_3x3" in table


def test_unknown_baseline_of_images_is_named(trial, tmp_path):
    with pytest.raises(ValueError, match="baseline is 'bert'; accepted are 'mobilenet_v2'"):
        run_images(trial, tmp_path, stage="retrain", baseline="bert")


def test_candidates_without_the_baselines_are_refused_at_the_start(trial, tmp_path):
    with pytest.raises(ValueError, match=r"baseline mobilenet_v2: .* is 'mb6_3x3'; accepted are"):
        run_images(trial, tmp_path, more="--candidates mb3_3x3 mb3_5x5", stage="supernet")
