"""The pipeline's trial program on images, one stage after the other in this process."""

import json
from functools import partial

import pytest
import torch
from nni.nas.space import model_context

from nni_magic.export import FORMATS, export_child
from nni_magic.manager.pipeline import Pipeline
from nni_magic.programs import proxyless_search, search_pipeline
from nni_magic.programs.reports import pipeline_table
from nni_magic.tasks.vision.proxyless import Proxyless

SMALL = (
    "--strategy magic_t --epochs 1 --epoch-steps 2 --batch-size 16 --warmup-steps 1 "
    "--population 3 --search-batches 1 --retrain-epochs 1 --channels-last"
)


def run(trial, tmp_path, more="", **parameters):
    settings = proxyless_search.parse_args([*SMALL.split(), *more.split()])
    settings.output = tmp_path / "trial"
    settings.output.mkdir(exist_ok=True)
    trial.parameters = parameters
    pipeline = Pipeline(trial, tmp_path / "shared")
    work = proxyless_search.ProxylessPipeline(Proxyless(settings), trial, pipeline.folder)
    return work, work.run(pipeline)


# Programs of a convolutional child take half a minute to write.
@pytest.mark.parametrize("formats", [(), pytest.param(tuple(FORMATS), marks=pytest.mark.slow)])
def test_stages_follow_each_other_to_the_final_table(formats, trial, tmp_path, monkeypatch):
    export = partial(export_child, formats=formats)
    monkeypatch.setattr(search_pipeline, "export_child", export)
    run(trial, tmp_path, stage="supernet")
    _, searched = run(trial, tmp_path, stage="search", generation=1)
    assert searched["children"] == 3
    work, found = run(trial, tmp_path, stage="retrain", rank=1)
    assert found["flops"] <= work.domain.filter["max"]
    _, baseline = run(trial, tmp_path, stage="retrain", baseline="mobilenet_v2")
    assert baseline["flops"] == 401_600

    [folder] = (tmp_path / "shared" / "children").iterdir()
    record = json.loads((folder / "child.json").read_text())
    assert (record["params"], record["score"]) == (found["params"], found["default"])
    assert record["provenance"]["data"]["unreadable"] == []
    with model_context(record["sample"]):
        child = work.domain.make_space()
    child.load_state_dict(torch.load(folder / "weights.pt", weights_only=True))
    models = [child.eval()]
    if formats:
        models.append(torch.export.load(folder / "child.pt2").module())
    images, labels = work.domain.data.test.__getitems__(range(360))
    for model in models:
        hits = (model(images).argmax(1) == labels).float().mean().item()
        assert found["accuracy"] == pytest.approx(hits, abs=1 / 360)
    table = pipeline_table(tmp_path / "shared")
    assert "found, rank 1" in table
    assert "8 mb6_3x3" in table


def test_unknown_baseline_is_named(trial, tmp_path):
    with pytest.raises(ValueError, match="baseline is 'bert'; accepted is mobilenet_v2"):
        run(trial, tmp_path, stage="retrain", baseline="bert")


def test_candidates_without_the_baselines_are_refused_at_the_start(trial, tmp_path):
    with pytest.raises(ValueError, match=r"baseline mobilenet_v2: .* is 'mb6_3x3'; accepted are"):
        run(trial, tmp_path, more="--candidates mb3_3x3 mb3_5x5", stage="supernet")
